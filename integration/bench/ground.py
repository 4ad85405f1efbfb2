"""The ground that one rig stands on: a folder and a cgroup of its own, and a worker process that measures from within.

Whatever a peer starts, the worker included, is a member of that cgroup and ends with it: after a figure, a time limit or Ctrl-C alike.
The process that holds the ground is no member. A cgroup that was killed once is never used again: the kernel kills what is born there.
"""
import json, os, pathlib, random, resource, select, shutil, signal, sys, tempfile, time, traceback

now = time.monotonic_ns


def mount():
    with open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            left, right = line.split(" - ")
            if right.split()[0] == "cgroup2":
                return left.split()[4]
    sys.exit("bench: no cgroup2 mount on this machine: mount -t cgroup2 none /sys/fs/cgroup")


def members(cgroup):
    pids = []
    for path, _, files in os.walk(cgroup):
        if "cgroup.procs" in files:
            try:
                pids += [int(line) for line in open(os.path.join(path, "cgroup.procs"))]
            except OSError:
                pass
    return pids


def populated(cgroup):
    return "populated 1" in pathlib.Path(cgroup, "cgroup.events").read_text()


class Failed(Exception):
    """A peer could not do what a figure asked of it: what the table says instead of a number."""


class Ground:
    def __init__(self, below, many=False):
        """`below`: the run's own folder, which goes at its end. `many`: what lies on this ground stays until then, too. ext4 takes longer
        to make files where thousands were removed within the last minutes, and whoever came next would pay for it."""
        self.many = many
        self.folder = tempfile.mkdtemp(prefix="g-", dir=below)
        self.cgroup = os.path.join(mount(), f"opm-bench-{os.getpid()}-{random.randrange(1 << 30):x}")
        for part in ("", "worker", "peer"):
            os.mkdir(os.path.join(self.cgroup, part))
        self.worker = None

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def run(self, task, limit, told):
        """Runs `task(tell)` in a worker; what it tells is handed to `told`. Answers None, or why it did not come to its end."""
        news, end = os.pipe()
        gate, opened = os.pipe()
        self.worker = os.fork()
        if self.worker == 0:
            self._work(task, gate, end, (news, opened))
        os.close(end), os.close(gate)
        pathlib.Path(self.cgroup, "worker/cgroup.procs").write_text(str(self.worker))
        os.close(opened)
        deadline, left = time.monotonic() + limit, b""
        try:
            while True:
                if not select.select([news], [], [], max(0, deadline - time.monotonic()))[0]:
                    return f"not done within {limit:.0f} s"
                if not (some := os.read(news, 65536)):
                    return None
                *lines, left = (left + some).split(b"\n")
                for line in map(json.loads, lines):
                    if "failed" in line:
                        return line["failed"]
                    told(line)
        finally:
            os.close(news)

    def _work(self, task, gate, end, others):
        code = 0
        try:
            for fd in others:
                os.close(fd)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.setsid()
            os.read(gate, 1)  # until it is a member of its cgroup
            raise_descriptors()
            tell = lambda **what: os.write(end, json.dumps(what).encode() + b"\n")
            try:
                task(tell)
            except Failed as why:
                tell(failed=str(why))
            except Exception as error:
                traceback.print_exc()
                tell(failed=f"{type(error).__name__}: {error}")
        except BaseException:
            code = 1
        os._exit(code)

    def close(self):
        """Ends what is left, and removes all of it."""
        if os.path.isdir(self.cgroup):
            pathlib.Path(self.cgroup, "cgroup.kill").write_text("1")
            events, deadline = select.poll(), time.monotonic() + 30
            with open(os.path.join(self.cgroup, "cgroup.events")) as file:
                events.register(file, select.POLLPRI)
                while populated(self.cgroup) and time.monotonic() < deadline:
                    file.seek(0), file.read()
                    events.poll(20)
            if self.worker:
                os.waitpid(self.worker, 0)
            for path, _, _ in os.walk(self.cgroup, topdown=False):
                os.rmdir(path)
        if not self.many:
            shutil.rmtree(self.folder)


def raise_descriptors():
    """5,000 apps need more descriptors than a shell is given; the soft limit stays what it was, as on a plain machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(open("/proc/sys/fs/nr_open").read())
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 65536), max(hard, min(most, 1 << 17))))
    except (OSError, ValueError):
        pass
