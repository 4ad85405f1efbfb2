"""g: one app writes as fast as it can, and every line comes into a file: how fast, for how much CPU, and is each there?

It ends when the last byte can be seen in the file, not when the app has ended. CPU is that of the supervisor's processes, all threads.
Each figure is of several goes, and before each what the last one wrote is thrown away: logs that are rotated fill the memory of those
that went. A virtual machine whose host takes free memory back pays five times as much for a page of the page cache that it has to get
again, and who has to is chance: single goes then say little, many say what there is to compare. Nobody rotates here; `logs.py`
measures that.
"""
import mmap, os, select, shutil, subprocess, time
from ground import Failed, now
from peers.base import App
from probe import cpu

LINE = 100
GOES = 5


def logs_bulk(seat):
    capture(seat, "bulk", seat.args.bulk, "64 KiB a write")


def logs_lines(seat):
    capture(seat, "lines", seat.args.lines, "a write per line")


class Said:
    """The FIFO in which the writer says when it began and ended: "NAME begin NS CPU"."""

    def __init__(self, path):
        os.mkfifo(path)
        # Read without a buffer of Python's: select() knows nothing of lines that are there already.
        self.path, self.fd, self.left = path, os.open(path, os.O_RDWR | os.O_CLOEXEC), b""

    def wait(self, wanted, seconds=30):
        while True:
            line, found, rest = self.left.partition(b"\n")
            if found:
                self.left = rest
                _, what, at, used = line.decode().split()
                if what == wanted:
                    return int(at), int(used) / 1e3
            elif select.select([self.fd], [], [], seconds)[0]:
                self.left += os.read(self.fd, 65536)
            else:
                raise Failed(f"the writer did not say '{wanted}' within {seconds} s")


def capture(seat, how, lines, what):
    said = Said(seat.ground.path("said"))
    argv = [seat.tools.writer, how, str(lines), said.path]
    way = piped if hasattr(seat.peer, "logger") else managed
    for number, (path, begin, end, used) in enumerate(way(seat, argv, lines, said)):
        seat.add("g", "lines lost", "", lines - in_order(path, lines))
        if number:
            seat.add("g", what, "MB/s", lines * LINE * 1e3 / (end - begin))
            seat.add("g", f"{what}: CPU", "s/GB", used / 1e3 / (lines * LINE / 1e9))


def arrived(path, size, seconds=15):
    """Until the file is that long: what writes it tells nobody."""
    deadline = time.monotonic() + seconds
    while not os.path.exists(path) or os.path.getsize(path) < size:
        if time.monotonic() > deadline:
            raise Failed(f"{os.path.getsize(path) if os.path.exists(path) else 0} of {size} bytes came within {seconds} s")
        time.sleep(0.001)
    return now()


def in_order(path, lines):
    """How many lines there are, each in its place."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return sum(int(data[at : at + 10]) == at // LINE % lines for at in range(0, len(data) - LINE + 1, LINE))


def managed(seat, argv, lines, said):
    """The first go, which warms up, and those that count."""
    peer, path = seat.peer, seat.ground.path("app.log")
    app = App("app", argv, once=True, log=path)
    peer.configure([app])
    peer.boot()
    for number in range(1 + GOES):
        if number:
            peer.empty(app)
        before = cpu(peer.own())
        peer.again(app) if number else peer.start()
        begin, _ = said.wait("begin")
        said.wait("end")
        end = arrived(path, lines * LINE)
        yield path, begin, end, cpu(peer.own()) - before


def piped(seat, argv, lines, said):
    folder = seat.ground.path("log")
    for number in range(1 + GOES):
        if number:
            shutil.rmtree(folder)
        os.mkdir(folder)
        process = subprocess.Popen(["sh", "-c", f"{' '.join(argv)} | {seat.peer.logger(folder)}"], env=seat.peer.env)
        begin, _ = said.wait("begin")
        _, used = said.wait("end")
        end = arrived(f"{folder}/current", lines * LINE)
        _, status, spent = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        yield f"{folder}/current", begin, end, (spent.ru_utime + spent.ru_stime) * 1e3 - used
