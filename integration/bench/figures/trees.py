"""h: apps with trees (a child, and a grandchild that forked twice into a session of its own) are stopped; who survives?"""
from figures.life import stopped



def trees(seat):
    seat.peer.configure(seat.apps("tree"))
    seat.peer.boot()
    seat.peer.start()
    seat.stamps.some(3 * seat.size, 15)
    stopped(seat, "stop all with their trees", seat.peer.children(), seat.peer.stop)
    seat.add("h", "survivors of a double fork", "", len(seat.peer.children()), apps=seat.size)
