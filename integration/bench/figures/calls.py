"""b: apps started by a command for each, one after the other."""
import time
from peers.base import Cannot

WHAT = "start each by a command of its own"


def calls(seat):
    """Those whose apps come from a file alone start what the file says is down."""
    peer, apps = seat.peer, seat.apps()
    peer.ready_for_calls(apps)
    took, until = [], time.monotonic() + seat.args.patience
    try:
        for app in apps:
            took.append(peer.start_one(app))
            if time.monotonic() > until:
                break
    except Cannot as why:
        return seat.note("b", WHAT, why, apps=seat.size)
    seat.stamps.some(len(took), 15)
    seat.add("b", WHAT, "ms", sum(took) / len(took) * seat.size, apps=seat.size)
    if len(took) < seat.size:
        seat.note("b", WHAT, f"reckoned from the first {len(took)} calls", apps=seat.size)
