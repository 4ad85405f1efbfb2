#!/usr/bin/env python3
"""opm beside the bare minimum, interleaved in one run: how far from the machine's limit is it?

Every figure is taken from outside, the same way for both: wall time of a command from its start to its end, or the time from
a SIGKILL to the first instruction of the successor. Nothing is asked of opm but what its command line offers.
"""
import argparse, json, os, platform, random, signal, socket, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
now = time.monotonic_ns


def mount():
    for line in open("/proc/self/mountinfo"):
        left, right = line.split(" - ")
        if right.split()[0] == "cgroup2":
            return left.split()[4]
    sys.exit("bench: no cgroup2 mount on this machine: mount -t cgroup2 none /sys/fs/cgroup")


def everybody(cgroup):
    pids = []
    for path, _, files in os.walk(cgroup):
        if "cgroup.procs" in files:
            try:
                pids += [int(line) for line in open(os.path.join(path, "cgroup.procs"))]
            except OSError:
                pass
    return pids


def remove(cgroup):
    """Ends what is left in a subtree of this run's own, and removes it."""
    if not os.path.isdir(cgroup):
        return
    try:
        open(os.path.join(cgroup, "cgroup.kill"), "w").write("1")
    except OSError:
        pass
    deadline = time.monotonic() + 10
    while everybody(cgroup) and time.monotonic() < deadline:
        time.sleep(0.005)
    for path, _, _ in os.walk(cgroup, topdown=False):
        try:
            os.rmdir(path)
        except OSError:
            pass


def pss(pids):
    """KiB that these processes cost, shared pages shared fairly."""
    total = 0
    for pid in pids:
        for line in open(f"/proc/{pid}/smaps_rollup"):
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def switches(pids):
    """How often all threads of these processes were put on a CPU and taken off it."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            for line in open(f"/proc/{pid}/task/{task}/status"):
                if "ctxt_switches" in line:
                    total += int(line.split()[1])
    return total


class Stamps:
    """The pipe into which a supervised program says when it began."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "stamps")
        os.mkfifo(self.path)
        self.fd = os.open(self.path, os.O_RDWR)
        self.left = b""

    def next(self):
        while b"\n" not in self.left:
            self.left += os.read(self.fd, 4096)
        line, self.left = self.left.split(b"\n", 1)
        at, pid = line.split()
        return int(at), int(pid)


def timed(command, env=None, ok=True):
    begin = now()
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    took = (now() - begin) / 1e6
    if ok and done.returncode:
        sys.exit(f"bench: {' '.join(command)} ended with {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}")
    return took, done.stdout


class Opm:
    name = "opm"

    def __init__(self, args, folder, count, stamps):
        self.home = os.path.join(folder, "home")
        self.cgroup = os.path.join(mount(), f"opm-bench-{os.getpid()}-{random.randrange(1 << 30):x}")
        self.env = {"PATH": os.environ["PATH"], "HOME": folder, "LANG": "C.UTF-8", "OPM_HOME": self.home, "OPM_CGROUP": self.cgroup}
        self.bin = args.opm
        apps = [{"name": f"app{n}", "script": args.sleeper, "args": []} for n in range(count)]
        if stamps:
            apps.append({"name": "crasher", "script": args.sleeper, "args": [stamps.path], "min_uptime": "1ms", "max_restarts": 1000000})
        self.file = os.path.join(folder, "apps.json")
        json.dump({"apps": apps}, open(self.file, "w"))
        # A daemon that is there already, as on any day but the first.
        self.run("start", args.sleeper, "--name", "first")
        self.run("delete", "first")

    def run(self, *args):
        return timed([self.bin, *args], self.env)

    def start(self):
        return self.run("start", self.file)[0]

    def list(self):
        return self.run("ls", "--json")[0]

    def stop(self):
        return self.run("stop", "all")[0]

    def pids(self):
        status = json.loads(self.run("daemon", "status", "--json")[1])
        return [status["keeper_pid"], status["pid"]]

    def death(self):
        """From a SIGKILL of the daemon to its successor's first answer, on a connection made after the kill."""
        old = self.pids()[1]
        begin = now()
        os.kill(old, signal.SIGKILL)  # ours: its number was just read from the daemon that we started
        while True:
            try:
                client = socket.socket(socket.AF_UNIX)
                client.connect(os.path.join(self.home, "run/opm.sock"))
                client.sendall(b"GET /v1/ping HTTP/1.1\r\nhost: opm\r\nconnection: close\r\n\r\n")
                answer = b""
                while more := client.recv(65536):
                    answer += more
                if b" 200 " in answer and f'"pid":{old}'.encode() not in answer.replace(b" ", b"").replace(b"\r\n", b""):
                    return (now() - begin) / 1e6
            except OSError:
                pass
            time.sleep(0.0005)

    def reload(self):
        """The installed program takes over: from the command's start to its end, by when the next daemon has answered it."""
        return self.run("daemon", "reload")[0]

    def close(self):
        timed([self.bin, "kill"], self.env, ok=False)
        remove(self.cgroup)


class Limit:
    name = "limit"
    how = ()

    def __init__(self, args, folder, count, stamps):
        self.cgroup = os.path.join(mount(), f"opm-bench-{os.getpid()}-{random.randrange(1 << 30):x}")
        os.mkdir(self.cgroup)
        self.socket = os.path.join(folder, "limit.sock")
        self.bin = args.limit
        self.file = os.path.join(folder, "apps.tsv")
        lines = [args.sleeper] * count + ([f"{args.sleeper}\t{stamps.path}"] if stamps else [])
        open(self.file, "w").write("".join(f"{line}\n" for line in lines))

    def start(self):
        begin = now()
        self.process = subprocess.Popen([self.bin, "serve", self.socket, self.cgroup, self.file, *self.how], stdout=subprocess.PIPE)
        if not self.process.stdout.readline().startswith(b"started"):
            sys.exit("bench: the limit program failed")
        return (now() - begin) / 1e6

    def list(self):
        return timed([self.bin, "ask", self.socket, "list"])[0]

    def stop(self):
        return timed([self.bin, "ask", self.socket, "stop"])[0]

    def pids(self):
        return [self.process.pid]

    def death(self):
        """What adoption cannot do without: reading who is in each cgroup, and a pidfd for each."""
        return timed([self.bin, "ask", self.socket, "adopt"])[0]

    def reload(self):
        return None

    def close(self):
        if hasattr(self, "process"):
            timed([self.bin, "ask", self.socket, "quit"], ok=False)
            self.process.wait()
        remove(self.cgroup)


class Hop(Limit):
    """The same with a parent process between the kernel and the one that starts the successor: what a keeper costs."""

    how = ("hop",)


def crashes(stamps, times):
    """From SIGKILL to the first instruction of the successor, in milliseconds, some times over."""
    took = []
    _, pid = stamps.next()
    for _ in range(times):
        time.sleep(0.03)  # past min_uptime: the policy under test is "at once"
        hold = os.pidfd_open(pid)
        begin = now()
        signal.pidfd_send_signal(hold, signal.SIGKILL)
        at, pid = stamps.next()
        os.close(hold)
        took.append((at - begin) / 1e6)
    return took


class Table:
    def __init__(self):
        self.figures = {}

    def add(self, what, unit, who, *values):
        entry = self.figures.setdefault(what, {"unit": unit, "opm": [], "limit": []})
        entry[who] += [v for v in values if v is not None]

    def rows(self):
        for what, entry in self.figures.items():
            row = {"what": what, "unit": entry["unit"]}
            for who in ("opm", "limit"):
                if entry[who]:
                    row[who] = {"median": statistics.median(entry[who]), "min": min(entry[who]), "max": max(entry[who]), "n": len(entry[who])}
            if "opm" in row and "limit" in row and row["limit"]["median"]:
                row["ratio"] = row["opm"]["median"] / row["limit"]["median"]
            yield row

    def show(self):
        def cell(stats):
            return f"{stats['median']:9.2f} {stats['min']:9.2f} {stats['max']:9.2f}" if stats else " " * 20 + "-" + " " * 8

        print(f"\n{'':36} {'opm: median':>12} {'min':>6} {'max':>9}   {'limit: median':>14} {'min':>5} {'max':>9} {'ratio':>7}")
        for row in self.rows():
            ratio = f"{row['ratio']:6.1f}x" if "ratio" in row else ""
            print(f"{row['what'][:30]:30} {row['unit']:>4}  {cell(row.get('opm'))}    {cell(row.get('limit'))} {ratio:>7}")


def one(kind, count, args, table):
    with tempfile.TemporaryDirectory(prefix="opm-b-", dir="/tmp") as folder:
        stamps = Stamps(folder)
        rig = kind(args, folder, count, stamps)
        try:
            add = lambda what, unit, *values: table.add(what, unit, kind.name, *values)
            if kind is Opm:
                table.add("memory, 0 apps (PSS)", "KiB", "opm", pss(rig.pids()))
            add(f"start {count} apps", "ms", rig.start())
            add(f"memory, {count} apps (PSS)", "KiB", pss(rig.pids()))
            for _ in range(5):
                add(f"list {count} apps as JSON", "ms", rig.list())
            add(f"crash to successor, {count} apps", "ms", *crashes(stamps, args.crashes))
            add(f"daemon death to serving, {count} apps", "ms", rig.death())
            add(f"reload to serving, {count} apps", "ms", rig.reload())
            add(f"stop {count} apps", "ms", rig.stop())
            left = [pid for pid in everybody(rig.cgroup) if pid not in rig.pids()]
            if left:
                sys.exit(f"bench: {kind.name} said stopped, and {len(left)} processes live")
        finally:
            rig.close()


def hop(count, args, table):
    with tempfile.TemporaryDirectory(prefix="opm-b-", dir="/tmp") as folder:
        stamps = Stamps(folder)
        rig = Hop(args, folder, count, stamps)
        try:
            rig.start()
            table.add(f"crash through a keeper, {count}", "ms", "limit", *crashes(stamps, args.crashes))
        finally:
            rig.close()


def idle(args, table):
    """Wake-ups of a quiet daemon with 1,000 (or the largest number of) apps, nobody asking."""
    with tempfile.TemporaryDirectory(prefix="opm-b-", dir="/tmp") as folder:
        rig = Opm(args, folder, max(args.sizes), None)
        try:
            rig.start()
            pids = rig.pids()
            # Not a guess at when it is quiet: the first stretch without a single wake-up ends this, and it must come.
            deadline = time.monotonic() + 30
            last = switches(pids)
            while time.monotonic() < deadline:
                time.sleep(0.5)
                last, before = switches(pids), last
                if last == before:
                    break
            before = switches(pids)
            time.sleep(args.idle)
            table.add(f"idle wake-ups in {args.idle} s, {max(args.sizes)} apps", "", "opm", switches(pids) - before)
        finally:
            rig.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for tool in ("opm", "limit", "sleeper"):
        parser.add_argument(f"--{tool}", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=lambda text: [int(n) for n in text.split(",")], default=[100, 1000])
    parser.add_argument("--crashes", type=int, default=20)
    parser.add_argument("--idle", type=int, default=30)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    if os.geteuid():
        sys.exit("bench: needs root, for cgroups")
    table = Table()
    for number in range(args.rounds):
        # Interleaved, and the order turned each round, so that a busy minute of the machine hits both.
        for count in args.sizes:
            for kind in (Opm, Limit) if number % 2 == 0 else (Limit, Opm):
                one(kind, count, args, table)
            hop(count, args, table)
        for _ in range(5):
            table.add("program start (--version)", "ms", "opm", timed([args.opm, "--version"])[0])
            table.add("program start (--version)", "ms", "limit", timed([args.limit, "version"])[0])
        with tempfile.TemporaryDirectory(prefix="opm-b-", dir="/tmp") as folder:
            rig = Opm(args, folder, 0, None)
            try:
                for _ in range(5):
                    table.add("ping a running daemon", "ms", "opm", rig.run("ping")[0])
                timed([args.opm, "kill"], rig.env)
                begin = now()
                rig.run("start", args.sleeper, "--name", "cold")
                table.add("first start, no daemon yet", "ms", "opm", (now() - begin) / 1e6)
            finally:
                rig.close()
        print(f"bench: round {number + 1} of {args.rounds}", file=sys.stderr)
    if args.idle:
        idle(args, table)
    table.show()
    host = {"kernel": platform.release(), "cpus": os.cpu_count(), "load": os.getloadavg()}
    os.makedirs(os.path.dirname(args.out), exist_ok=True)
    json.dump({"host": host, "rounds": args.rounds, "figures": list(table.rows())}, open(args.out, "w"), indent=1)
    print(f"\n{host['cpus']} CPUs, Linux {host['kernel']}, load {host['load'][0]:.1f}; figures in {args.out}")


if __name__ == "__main__":
    main()
