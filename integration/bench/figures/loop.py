"""k: an app that fails at once, under the policy that a peer has when it is told nothing."""
import time
from probe import cpu



def loop(seat):
    peer = seat.peer
    if not peer.policy:
        return seat.note("k", "starts in a crash loop of 10 s", "has no policy")
    peer.configure([seat.app("loop", "crash", default=True)])
    peer.boot()
    before = {pid: cpu([pid]) for pid in peer.own()}
    begin = time.monotonic()
    peer.start()
    time.sleep(max(0, seat.args.loop - (time.monotonic() - begin)))
    used = sum(cpu([pid]) - before.get(pid, 0) for pid in peer.own())
    seat.add("k", "starts in a crash loop of 10 s", "", len(seat.stamps.drain()))
    seat.add("k", "CPU in a crash loop of 10 s", "ms", used)
