"""What is read from outside about processes, the same way for everybody: memory, CPU time, switches, ends, and the children's stamps."""
import os, select, signal, subprocess, time
from ground import Failed, now

CHILDREN = ("sleeper", "writer")  # the supervised programs; whatever else lives in a peer's cgroup is the peer


def program(pid):
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return None


def pss(pids):
    """KiB that these processes cost, shared pages shared fairly."""
    total = 0
    for pid in pids:
        for line in open(f"/proc/{pid}/smaps_rollup"):
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def cpu(pids):
    """Milliseconds of all their threads, also of those that ended."""
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids) / 1e6


def switches(pids):
    """How often all threads of these processes were put on a CPU and taken off it."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            for line in open(f"/proc/{pid}/task/{task}/status"):
                if "ctxt_switches" in line:
                    total += int(line.split()[1])
    return total


def come_to_rest(pids):
    """Not a guess at when it is quiet: until the first 2.5 s without a single wake-up. Some never have that: then 10 s."""
    deadline, last = time.monotonic() + 10, switches(pids)
    while time.monotonic() < deadline:
        time.sleep(2.5)
        last, before = switches(pids), last
        if last == before:
            return


def timed(command, env=None, ok=True, seconds=None):
    """Wall time of a command in ms, from before its start to after its end, and its output."""
    begin = now()
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"'{' '.join(map(str, command[:4]))}' took more than {seconds} s")
    except OSError as why:
        raise Failed(f"'{command[0]}' cannot be executed: {why.strerror}")
    took = (now() - begin) / 1e6
    if ok and done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise Failed(f"'{os.path.basename(command[0])} {' '.join(map(str, command[1:3]))}' ended with {done.returncode}: {' / '.join(said[-3:])[:400]}")
    return took, done.stdout


class Stamps:
    """The FIFO into which every supervised program says when it began. What is not read waits there."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "stamps")
        os.mkfifo(self.path)
        self.fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            import fcntl

            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, 1 << 20)
        except OSError:
            pass
        self.left, self.ready = b"", []

    def _read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        *lines, self.left = (self.left + os.read(self.fd, 1 << 20)).split(b"\n")
        for line in lines:
            at, pid, name = line.split()
            self.ready.append((int(at), int(pid), name.decode()))
        return True

    def next(self, seconds=30):
        """The next that began: when (ns), pid, name."""
        deadline = time.monotonic() + seconds
        while not self.ready:
            if not self._read(max(0, deadline - time.monotonic())):
                raise Failed(f"no child began within {seconds:.0f} s")
        return self.ready.pop(0)

    def some(self, count, seconds):
        """The next `count` that began. A program that says nothing for so long is taken to have been lost."""
        found = []
        while len(found) < count:
            try:
                found.append(self.next(seconds))
            except Failed:
                raise Failed(f"{len(found)} of {count} children began, then none for {seconds:.0f} s") from None
        return found

    def drain(self):
        """What has been said up to now."""
        while self._read(0):
            pass
        said, self.ready = self.ready, []
        return said


class Ends:
    """Holds on processes, to kill them and to see their ends without any chance of a recycled number."""

    def __init__(self, pids):
        self.holds = {}
        for pid in pids:
            try:
                self.holds[os.pidfd_open(pid)] = pid
            except ProcessLookupError:
                pass

    def kill(self):
        for hold in self.holds:
            try:
                signal.pidfd_send_signal(hold, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def wait(self, seconds):
        """Until all have ended: those that have not within so many seconds."""
        left, poll, deadline = dict(self.holds), select.poll(), time.monotonic() + seconds
        for hold in left:
            poll.register(hold, select.POLLIN)
        while left and (ended := poll.poll(max(0, deadline - time.monotonic()) * 1000)):
            for hold, _ in ended:
                poll.unregister(hold)
                del left[hold]
        return list(left.values())

    def close(self):
        for hold in self.holds:
            os.close(hold)
