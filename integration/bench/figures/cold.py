"""a, j: from nothing to the first answer; the first command that starts everything; a program start; a ping."""
from ground import now
from peers.base import Cannot



def cold(seat):
    peer = seat.peer
    peer.configure([])
    took = peer.boot()
    if seat.wants("a"):
        if took is None:
            seat.note("a", "daemon cold start to first answer", "nothing answers for all of it")
        else:
            seat.add("a", "daemon cold start to first answer", "ms", took)
    if seat.wants("j"):
        several(seat, "program start (--version)", peer.version)
        if took is not None:
            several(seat, "ping", peer.ping)


def several(seat, what, measure):
    try:
        for _ in range(5):
            took = measure()
            if took is None:
                return
            seat.add("j", what, "ms", took)
    except Cannot as why:
        seat.note("j", what, why)


def first(seat):
    """One command, where there is no daemon yet, until an app runs and the command has said so."""
    app = seat.app("app0")
    command = seat.peer.first(app)
    begin = now()
    said = command()
    at = seat.stamps.next()[0]
    seat.add("a", "first command, with which everything starts", "ms", max(said, (at - begin) / 1e6))


