"""h: apps with trees (a child, and a grandchild that forked twice into a session of its own) are stopped; who survives?"""
from figures.life import stopped

LETTERS = "h"


def trees(seat):
    seat.peer.configure(seat.apps("tree"))
    seat.peer.boot()
    seat.peer.start()
    seat.stamps.some(3 * seat.size, 15)
    took = stopped_trees(seat)
    seat.add("h", "stop all with their trees", "ms", *took, apps=seat.size)
    seat.add("h", "survivors of a double fork", "", len(seat.peer.children()), apps=seat.size)


def stopped_trees(seat):
    return stopped(seat, seat.peer.children(), seat.peer.stop)
