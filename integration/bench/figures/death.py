"""i: the daemon is killed; until it serves all its apps again, and who was lost or started twice."""
from collections import Counter
from ground import now
from probe import Ends
from peers.base import Cannot

WHAT = "daemon death to serving all again"


def death(seat):
    peer = seat.peer
    peer.configure(seat.apps())
    peer.boot()
    peer.start()
    before = {pid for _, pid, _ in seat.stamps.some(seat.size, 15)}
    try:
        daemon = peer.daemon()
        hold = Ends([daemon] if daemon else [])
        begin = now()
        hold.kill()
        hold.wait(10)
        peer.revive()
        seat.add("i", WHAT, "ms", (now() - begin) / 1e6, apps=seat.size)
    except Cannot as why:
        return seat.note("i", WHAT, why, apps=seat.size)
    names = Counter(map(name_of, peer.children()))
    seat.add("i", "duplicates after it", "", sum(count - 1 for count in names.values()), apps=seat.size)
    seat.add("i", "apps lost by it", "", seat.size - len(names), apps=seat.size)
    seat.add("i", "apps disturbed by it", "", len(before - set(peer.children())), apps=seat.size)


def name_of(pid):
    return open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")[2]
