"""f: what it costs when nothing happens, with many apps and nobody asking."""
import time
from probe import come_to_rest, cpu, switches



def quiet(seat):
    seat.peer.configure(seat.apps())
    seat.peer.boot()
    seat.peer.start()
    seat.stamps.some(seat.size, 15)
    pids = seat.peer.own()
    # What a start has to see to within its first seconds is over by then.
    come_to_rest(pids)
    begin, awake, used = time.monotonic(), switches(pids), cpu(pids)
    time.sleep(seat.args.idle)
    minutes = (time.monotonic() - begin) / 60
    seat.add("f", "context switches in quiet", "/min", (switches(pids) - awake) / minutes, apps=seat.size)
    seat.add("f", "CPU in quiet", "ms/min", (cpu(pids) - used) / minutes, apps=seat.size)
