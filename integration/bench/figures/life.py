"""b, c, d, e, h: some apps are started together, looked at, listed, killed, and stopped."""
import time
from ground import Failed, now
from probe import Ends, come_to_rest, pss
from peers.base import Cannot



def life(seat):
    peer, size, stamps = seat.peer, seat.size, seat.stamps
    apps = seat.apps()
    peer.configure(apps)
    empty = None
    if peer.boot() is not None and seat.wants("e"):
        empty = at_rest(peer)
    begin = now()
    said = peer.start()
    born = stamps.some(size, 15)
    all_run = (born[-1][0] - begin) / 1e6
    if seat.wants("b"):
        # Both: the command has said so, and the last child has executed its first instruction.
        seat.add("b", "start all by one command and file", "ms", max(all_run, said), apps=size)
    if seat.wants("e"):
        memory(seat, empty)
    if seat.wants("c"):
        lists(seat)
    live = {name: (pid, at) for at, pid, name in born}
    if seat.wants("d"):
        crashes(seat, live)
        at_once(seat, live)
    if seat.wants("h"):
        stops(seat, apps, live)


def at_rest(peer):
    come_to_rest(peer.own())
    return pss(peer.own())


def memory(seat, empty):
    """At rest, before and after the start: what it goes on costing."""
    full = at_rest(seat.peer)
    if empty is not None:
        seat.add("e", "memory of the supervisor (PSS)", "KiB", empty, apps=0)
    seat.add("e", "memory of the supervisor (PSS)", "KiB", full, apps=seat.size)
    if seat.size >= 100:
        seat.add("e", "memory for each app", "KiB", (full - (empty or 0)) / seat.size, apps=seat.size)


def lists(seat):
    until = time.monotonic() + 3
    try:
        for done in range(5):
            if done and time.monotonic() > until:
                break
            seat.add("c", "list all as JSON", "ms", seat.peer.list(), apps=seat.size)
    except Cannot as why:
        seat.note("c", "list all as JSON", why, apps=seat.size)


def rested(seat, since):
    """Until a run is old enough to be followed at once: that is a peer's rule, and not what is measured."""
    time.sleep(max(0, seat.peer.rest - (now() - since) / 1e9))


def crashes(seat, live):
    """From a SIGKILL to the first instruction of the successor, one after another, going round among the apps."""
    names, until = list(live), time.monotonic() + seat.args.patience
    for number in range(seat.args.crashes):
        name = names[number * 7919 % len(names)]
        pid, since = live[name]
        rested(seat, since)
        hold = Ends([pid])
        begin = now()
        hold.kill()
        at, successor, who = seat.stamps.next(20)
        hold.close()
        if who != name:
            raise Failed(f"{name} was killed, and {who} began")
        live[name] = successor, at
        seat.add("d", "crash to successor", "ms", (at - begin) / 1e6, apps=seat.size)
        if time.monotonic() > until:
            break


def at_once(seat, live):
    if seat.size < 100:
        return
    rested(seat, max(since for _, since in live.values()))
    holds = Ends(pid for pid, _ in live.values())
    begin = now()
    holds.kill()
    born = seat.stamps.some(seat.size, 15)
    holds.close()
    for at, pid, name in born:
        live[name] = pid, at
    seat.add("d", "all killed at once, to the last successor", "ms", (max(at for at, _, _ in born) - begin) / 1e6, apps=seat.size)


def stops(seat, apps, live):
    if seat.size > 1:
        stopped(seat, "stop one", [live[apps[0].name][0]], lambda: seat.peer.stop_one(apps[0]))
    stopped(seat, "stop all", seat.peer.children(), seat.peer.stop)
    seat.add("h", "survivors of a stop", "", len(seat.peer.children()), apps=seat.size)


def stopped(seat, what, pids, command):
    """Until both: the command has come back, and none of these lives. What lives on for 3 s has survived."""
    holds = Ends(pids)
    begin = now()
    command()
    holds.wait(3)
    took = (now() - begin) / 1e6
    left = holds.wait(0)
    holds.close()
    if left:
        seat.note("h", what, f"{len(left)} live on after the command has come back", apps=seat.size)
    else:
        seat.add("h", what, "ms", took, apps=seat.size)
