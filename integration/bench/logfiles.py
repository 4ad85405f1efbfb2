"""The files of a log as opm keeps them, set aside and packed ones included; and what is awaited of them."""
import gzip, os, re, subprocess, sys, threading, time
from probe import pss


class Watching(threading.Thread):
    """The most memory that these processes had, looked at now and then."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.most, self.over = pids, 0, threading.Event()
        self.start()

    def run(self):
        while True:
            self.most = max(self.most, pss(self.pids))
            if self.over.wait(0.25):
                return

    def end(self):
        self.over.set()
        self.join()
        return self.most


def parts(folder, name):
    """The files of a log, oldest first."""
    own = re.compile(re.escape(name) + r"(\.\d{6,})?(\.zst|\.gz)?(\.new)?$")
    found = [(match[1] or "~", file) for file in os.listdir(folder) if (match := own.match(file))]
    return [os.path.join(folder, file) for _, file in sorted(found)]


def tail(folder, name):
    for path in reversed([path for path in parts(folder, name) if not path.endswith((".zst", ".gz", ".new"))]):
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 400))
                if end := file.read():
                    return end
        except FileNotFoundError:
            pass
    return b""


def until(condition, what, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"bench: {what} did not come within {seconds} s")
        time.sleep(0.002)
    return time.monotonic_ns()


def arrived(folder, name, lines):
    return until(lambda: b"%010d GET" % (lines - 1) in tail(folder, name), f"the last line of {name}")


def count(folder, name):
    """How many lines there are, each with its number once and in order; complains of the first that is not."""
    expected = 0
    for path in parts(folder, name):
        if path.endswith(".zst"):
            data = subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE, check=True).stdout
        elif path.endswith(".gz"):
            data = gzip.open(path).read()
        else:
            data = open(path, "rb").read()
        for number in re.findall(rb"(\d{10}) GET ", data):
            if int(number) != expected:
                sys.exit(f"bench: line {expected} of {name} is missing or in the wrong place: {int(number)} in {path}")
            expected += 1
    return expected


def packed(folder, names):
    """Waits until nothing is left to be packed: it is part of the bill."""
    unpacked = lambda path: re.search(r"\.\d{6,}$|\.new$", path)
    until(lambda: not any(unpacked(path) for name in names for path in parts(folder, name)), "the end of packing")
