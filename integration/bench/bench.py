"""opm beside its peers and beside the machine's limit, interleaved in one run, all seen from outside in the same way.

See README.md here for what each figure is. `run.sh` is what to call.
"""
import argparse, difflib, json, os, platform, signal, sys, tempfile, time

import chart, goals, peers
from figures import Seat
from figures.calls import calls
from figures.cold import cold, first
from figures.death import death
from figures.life import life
from figures.logs import logs_bulk, logs_lines
from figures.loop import loop
from figures.quiet import quiet
from figures.trees import trees
from ground import Ground
from table import Table
from tools import HERE, OUT, Tools

LETTERS = "abcdefghijk"
# What is run, for which letters, and with how many apps: each of the sizes, many (1,000), or none.
SCENARIOS = [
    (cold, "aj", "none"),
    (first, "a", "none"),
    (life, "bcdeh", "sizes"),
    (trees, "h", "many"),
    (death, "i", "many"),
    (calls, "b", "many"),
    (quiet, "f", "many"),
    (logs_bulk, "g", "none"),
    (logs_lines, "g", "none"),
    (loop, "k", "none"),
]


def chosen(known):
    """A comma list, of which each word must be known."""

    def parse(text):
        words = [word for word in text.split(",") if word]
        for word in words:
            if word not in known:
                near = difflib.get_close_matches(word, known, 1)
                raise argparse.ArgumentTypeError(f"unknown: '{word}'" + (f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(known)}"))
        return words

    return parse


def numbers(text):
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a comma list of numbers: '{text}'") from None


class Parser(argparse.ArgumentParser):
    def error(self, message):
        words = [word for word in message.split() if word.startswith("--")]
        near = difflib.get_close_matches(words[-1], self._option_string_actions, 1) if "unrecognized" in message and words else []
        super().error(message + (f"; did you mean '{near[0]}'?" if near else ""))


def arguments():
    parser = Parser(prog="run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--only", type=chosen(LETTERS), default=list(LETTERS), help="figures: b,c,d (all)")
    parser.add_argument("--peers", type=chosen(list(peers.KINDS)), default=list(peers.KINDS), help=f"who: {','.join(peers.KINDS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=numbers, default=[1, 100, 1000, 5000], help="how many apps: 1,100,1000,5000")
    parser.add_argument("--many", type=int, default=1000, help="how many apps in the figures that have one size")
    parser.add_argument("--crashes", type=int, default=20, help="in each round and size")
    parser.add_argument("--idle", type=float, default=30, help="seconds of quiet that are watched")
    parser.add_argument("--loop", type=float, default=10, help="seconds of a crash loop")
    parser.add_argument("--bulk", type=int, default=2_000_000, help="log lines, of 100 bytes, with large writes")
    parser.add_argument("--lines", type=int, default=1_000_000, help="log lines with a write for each")
    parser.add_argument("--patience", type=float, default=20, help="seconds for the crashes or calls of one peer in one round")
    parser.add_argument("--limit-seconds", type=float, default=150, help="of one peer in one scenario: then it is ended, and that is said")
    parser.add_argument("--into", help="a JSON file of an earlier run, to which this one's figures are added")
    parser.add_argument("--chart", help="draw the chart into this file")
    parser.add_argument("--publish", action="store_true", help="everything; writes results.json and chart.svg, which are committed")
    parser.add_argument("--opm", required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def sizes_of(which, args):
    return {"none": [0], "many": [args.many], "sizes": args.sizes}[which]


def measure(args, tools, here, table, gone):
    """One round: every scenario and size, with all peers one after the other."""
    for scenario, letters, which in SCENARIOS:
        if not set(letters) & set(args.only):
            continue
        for size in sizes_of(which, args):
            for name in here:
                kind, spot = peers.KINDS[name], (name, scenario.__name__, size)
                if spot in gone or not kind.joins(scenario.__name__):
                    continue
                why = f"{kind.too_many}" if kind.most and size > kind.most else one(args, tools, kind, scenario, size, table)
                if why:
                    gone[spot] = why
                    figure = next(letter for letter in letters if letter in args.only)
                    table.add(name, {"figure": figure, "what": f"did not come through: {scenario.__name__}", "apps": size or None, "note": why})


def one(args, tools, kind, scenario, size, table):
    ground = Ground(tools.folder, many=size >= 100)
    try:
        return ground.run(lambda tell: scenario(Seat(args, tools, kind, size, ground, tell)), args.limit_seconds, lambda told: table.add(kind.name, told))
    finally:
        kind.sweep(ground)
        ground.close()


def publish(args, table, host, now, whole):
    """Also what an interrupted run has seen is written; but only a whole one takes the place of what is committed."""
    path = args.into or os.path.join(OUT, f"bench-{now}.json")
    text = json.dumps(table.as_json(host) | {"goals": list(goals.judged(table))}, indent=1)
    for target in [path, *([os.path.join(HERE, "results.json")] if args.publish and whole else [])]:
        with open(target + ".new", "w") as file:
            file.write(text + "\n")
        os.replace(target + ".new", target)
    for target in {args.chart, os.path.join(HERE, "chart.svg") if args.publish and whole else None} - {None}:
        with open(target, "w") as file:
            file.write(chart.draw(table))
    return path


def main():
    args = arguments()
    if os.geteuid():
        sys.exit("bench: needs root, for cgroups")
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix=f"opm-b-{os.getpid()}-", dir=os.environ.get("OPM_BENCH_DIR", "/tmp")) as folder:
        tools = Tools(args.opm)
        tools.own_copy(folder)
        return bench(args, tools)


def bench(args, tools):
    here, missing = peers.found(args.peers, tools)
    table = Table.read(args.into) if args.into and os.path.exists(args.into) else Table()
    table.peers |= {name: {"version": version} for name, version in here.items()} | {name: {"skipped": why} for name, why in missing.items()}
    now, begin, gone = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), time.monotonic(), {}
    host = {"kernel": platform.release(), "cpus": os.cpu_count(), "load": os.getloadavg()[0], "at": now}
    whole = False
    try:
        for number in range(args.rounds):
            # The order is turned each round, so that a busy minute of the machine hits all.
            measure(args, tools, list(here) if number % 2 == 0 else list(reversed(here)), table, gone)
            print(f"bench: round {number + 1} of {args.rounds}, {time.monotonic() - begin:.0f} s", file=sys.stderr)
        whole = True
    finally:
        path = publish(args, table, host, now, whole)
    table.show(sys.stdout)
    goals.show(table, sys.stdout)
    print()
    for name, said in table.peers.items():
        print(f"{name:<12}{said.get('version') or 'skipped: ' + said['skipped']}")
    print(f"\n{host['cpus']} CPUs, Linux {host['kernel']}, load {host['load']:.1f}; figures in {path}")
    return 1 if any(who in ("opm", "limit") for who, *_ in gone) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
