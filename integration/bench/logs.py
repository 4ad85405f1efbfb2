#!/usr/bin/env python3
"""What capturing logs costs, beside the least that it can: interleaved in one run, as ratios of `sh -c 'app | cat > file'`.

A figure ends when the app's last line can be read in its file, not when the app has ended: what is still on its way was not
delivered. CPU time is that of opm's two processes, all threads, with packing; of `cat` and of the pump it is theirs alone.
Then every line is counted, in packed files too.

Each figure of throughput is that of a second go, right after the first: a host that takes back the free memory of a virtual machine
makes the page cache cost five times as much where it was not used for two seconds.
"""
import argparse, json, os, platform, random, statistics, subprocess, sys, tempfile
from ground import Ground
from logfiles import Watching, arrived, count, packed
from peers.opm import Opm
from tools import Tools

LINE = 100
NONE = ("--log-max-size", "none")
# How opm is asked, and whether all that was written is still there at the end: by default 10 files of 10 MiB are kept.
ASKED = {
    "opm raw": (("--log-mode", "raw", *NONE), True),
    "opm raw, as it comes": ((), False),
    "opm time": (("--log-mode", "time", *NONE), True),
    "opm json": (("--log-mode", "json", *NONE), True),
}
WAYS = ("file", "cat", "pump", *ASKED)
TICK = os.sysconf("SC_CLK_TCK")


def cpu(pids):
    """Seconds of all threads, also those that ended."""
    total = 0
    for pid in pids:
        fields = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


class Stamps:
    """The FIFO in which writers say when they began and ended."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "stamps")
        os.mkfifo(self.path)
        self.file = open(os.open(self.path, os.O_RDWR), "r")

    def next(self):
        """Who, what, when in ns, and its CPU time in seconds."""
        name, what, at, used = self.file.readline().split()
        return name, what, int(at), int(used) / 1e6

    def wait(self, wanted):
        while True:
            _, what, at, used = self.next()
            if what == wanted:
                return at, used


class Rig:
    """opm on a ground of its own."""

    def __init__(self, args):
        self.ground = Ground(args.dir)
        self.peer = Opm(Tools(args.opm), self.ground, None)
        self.home, self.env, self.run = self.peer.home, self.peer.env, self.peer.opm
        self.peer.configure([])
        self.peer.boot()

    def pids(self):
        status = json.loads(self.run("daemon", "status", "--json")[1])
        return [status["keeper_pid"], status["pid"]]

    def close(self):
        self.ground.close()


class Capture:
    """One way for one app's output to come into a file, once."""

    def __init__(self, args, folder, kind, lines):
        self.args, self.folder, self.stamps = args, folder, Stamps(folder)
        self.kind, self.lines = kind, lines
        self.writer = [args.writer, kind, str(lines), self.stamps.path]

    def figures(self, begin, end, used, memory):
        gigabytes = self.lines * LINE / 1e9
        return {"MB/s": gigabytes * 1e12 / (end - begin), "CPU s/GB": used and used / gigabytes, "PSS KiB": memory}

    def bare(self, way):
        path = os.path.join(self.folder, "app.log")
        into = {"file": f"> {path}", "cat": f"| cat > {path}", "pump": f"| {self.args.writer} pump {path}"}[way]
        for _ in range(2):
            if os.path.exists(path):
                os.remove(path)
            process = subprocess.Popen(["sh", "-c", f"{' '.join(self.writer)} {into}"])
            begin = self.stamps.wait("begin")[0]
            done, used = self.stamps.wait("end")
            end = done if way == "file" else arrived(self.folder, "app.log", self.lines)
            status, spent = os.wait4(process.pid, 0)[1:]
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode or os.path.getsize(path) != self.lines * LINE:
                sys.exit(f"bench: {way} failed")
        return self.figures(begin, end, way != "file" and spent.ru_utime + spent.ru_stime - used, None)

    def opm(self, flags, whole):
        rig = Rig(self.args)
        try:
            pids, logs, log = rig.pids(), os.path.join(rig.home, "logs"), "app-0-out.log"
            flags = ("--name", "app", "--restart", "never", "--env", "NAME=-", *flags)
            rig.run("start", self.writer[0], *flags, "--", *self.writer[1:])
            self.stamps.wait("end")
            arrived(logs, log, self.lines)
            packed(logs, [log])
            rig.run("flush", "app")
            before, watching = cpu(pids), Watching(pids)
            rig.run("restart", "app")
            begin = self.stamps.wait("begin")[0]
            self.stamps.wait("end")
            end = arrived(logs, log, self.lines)
            memory = watching.end()
            packed(logs, [log])
            used = cpu(pids) - before
            if whole and count(logs, log) != self.lines:
                sys.exit("bench: opm lost lines")
            return self.figures(begin, end, used, memory)
        finally:
            rig.close()


class Table:
    def __init__(self):
        self.values = {}

    def add(self, group, way, figures):
        for unit, value in figures.items():
            if value is not None and value is not False:
                self.values.setdefault((group, unit), {}).setdefault(way, []).append(value)

    def rows(self):
        for (group, unit), ways in self.values.items():
            base = statistics.median(ways["cat"]) if "cat" in ways else None
            for way, values in ways.items():
                row = {"what": f"{group}: {way}", "unit": unit, "median": statistics.median(values)}
                row |= {"min": min(values), "max": max(values), "n": len(values)}
                if base:
                    row["ratio"] = row["median"] / base
                yield row

    def show(self):
        print(f"\n{'':52} {'median':>10} {'min':>10} {'max':>10}  {'of cat':>7}")
        for row in self.rows():
            ratio = f"{row['ratio']:6.2f}x" if "ratio" in row else ""
            print(f"{row['what'][:42]:42} {row['unit']:>9} {row['median']:10.2f} {row['min']:10.2f} {row['max']:10.2f}  {ratio:>7}")


def folders(args):
    return tempfile.TemporaryDirectory(prefix="opm-l-", dir=args.dir)


def throughput(args, ways, table):
    for kind, lines in (("bulk", args.bulk), ("lines", args.lines)):
        for way in ways:
            with folders(args) as folder:
                capture = Capture(args, folder, kind, lines)
                figures = capture.opm(*ASKED[way]) if way in ASKED else capture.bare(way)
                table.add({"bulk": "64 KiB a write", "lines": "a write per line"}[kind], way, figures)


def many(args, how, table):
    """Many apps at a steady pace: what it costs, whether anyone is held up, and whether each line is there."""
    apps, lines = args.apps, args.rate * args.seconds
    names = [f"app{n}" for n in range(apps)]
    group = f"{apps} apps at {args.rate} lines/s"
    with folders(args) as folder:
        stamps = Stamps(folder)
        command = [args.writer, "paced", str(lines), str(args.rate), stamps.path]
        if how == "cat":
            logs, rig = folder, None
            run = lambda name: subprocess.Popen(["sh", "-c", f"NAME={name} {' '.join(command)} | cat > {folder}/{name}-0-out.log"])
            processes = [run(name) for name in names]
        else:
            rig = Rig(args)
            logs = os.path.join(rig.home, "logs")
            keys = {"opm": {}, "opm, rotated often": {"log_max_size": "128K", "log_keep": "none", "log_total": "none", "log_compress": "gzip"}}[how]
            spec = lambda name: {"name": name, "script": args.writer, "args": command[1:], "restart": "never", "env": {"NAME": name}, **keys}
            file = os.path.join(folder, "many.json")
            json.dump({"apps": [spec(name) for name in names]}, open(file, "w"))
        try:
            if rig:
                pids = rig.pids()
                rig.run("ls")
                before, watching = cpu(pids), Watching(pids)
                rig.run("start", file)
            late, ends = {}, {}
            while len(ends) < apps:
                name, what, at, used = stamps.next()
                if what == "late":
                    late[name] = at / 1e6
                elif what == "end":
                    ends[name] = used
            for name in names:
                arrived(logs, f"{name}-0-out.log", lines)
            if rig:
                memory = watching.end()
                packed(logs, [f"{name}-0-out.log" for name in names])
                used = cpu(pids) - before
            else:
                memory, used = None, -sum(ends.values())
                for process in processes:
                    spent = os.wait4(process.pid, 0)[2]
                    process.returncode = 0
                    used += spent.ru_utime + spent.ru_stime
            lost = sum(lines - count(logs, f"{name}-0-out.log") for name in names)
            figures = {"CPU s/GB": used / (apps * lines * LINE / 1e9), "lost": lost, "PSS KiB": memory}
            figures["late ms"] = max(late.values())
            table.add(group, how, figures)
        finally:
            if rig:
                rig.close()


def latency(args, how, table):
    """From the write to the follower: `opm logs -f`, beside `tail -f` of what `cat` writes."""
    with folders(args) as folder:
        clock = [args.writer, "clock", str(random.randrange(1 << 20))]
        watch = [args.writer, "watch", "20", str(args.clocks)]
        rig = process = None
        try:
            if how == "cat":
                path = os.path.join(folder, "app.log")
                open(path, "w").close()
                process = subprocess.Popen(clock, stdout=subprocess.PIPE)
                cat = subprocess.Popen(["cat"], stdin=process.stdout, stdout=open(path, "w"))
                process.stdout.close()
                follower = subprocess.Popen(["tail", "-n0", "-f", path], stdout=subprocess.PIPE)
            else:
                rig = Rig(args)
                rig.run("start", clock[0], "--name", "app", "--", *clock[1:])
                follower = subprocess.Popen([args.opm, "logs", "app", "-f", "--raw", "-n", "0"], env=rig.env, stdout=subprocess.PIPE)
            seen = subprocess.run(watch, stdin=follower.stdout, stdout=subprocess.PIPE, check=True).stdout.split()
            follower.kill()
            follower.wait()
            ages = sorted(int(age) / 1e3 for age in seen)
            if len(ages) != args.clocks:
                sys.exit(f"bench: {how}: {len(ages)} lines of {args.clocks} came")
            at = lambda share: ages[min(len(ages) - 1, int(len(ages) * share))]
            table.add("write to screen", how, {"p50 us": at(0.5), "p99 us": at(0.99)})
        finally:
            if process:
                process.kill()
                process.wait()
                cat.wait()
            if rig:
                rig.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for tool in ("opm", "sleeper", "writer"):
        parser.add_argument(f"--{tool}", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("throughput", "many", "latency"), help="not the others")
    parser.add_argument("--bulk", type=int, default=2_000_000, help="lines of the figure with large writes")
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines of the figure with a write for each")
    parser.add_argument("--apps", type=int, default=200)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--clocks", type=int, default=500, help="lines of the figure of the delay")
    parser.add_argument("--dir", default="/tmp", help="on which filesystem the logs are")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    if os.geteuid():
        sys.exit("bench: needs root, for cgroups")
    table = Table()
    for number in range(args.rounds):
        # Interleaved, and the order turned each round, so that a busy minute of the machine hits all.
        turn = lambda ways: ways if number % 2 == 0 else list(reversed(ways))
        if args.only in (None, "throughput"):
            throughput(args, turn(WAYS), table)
        if args.only in (None, "many"):
            for how in turn(["cat", "opm", "opm, rotated often"]):
                many(args, how, table)
        if args.only in (None, "latency"):
            for how in turn(["cat", "opm"]):
                latency(args, how, table)
        print(f"bench: round {number + 1} of {args.rounds}", file=sys.stderr)
    table.show()
    host = {"kernel": platform.release(), "cpus": os.cpu_count(), "load": os.getloadavg()}
    os.makedirs(os.path.dirname(args.out), exist_ok=True)
    json.dump({"host": host, "rounds": args.rounds, "figures": list(table.rows())}, open(args.out, "w"), indent=1)
    print(f"\n{host['cpus']} CPUs, Linux {host['kernel']}, load {host['load'][0]:.1f}; figures in {args.out}")


if __name__ == "__main__":
    main()
