"""The goals of opm, as data: each is a ratio to a yardstick of the same run, or an absolute figure; and how it may grow with the number of apps."""

AT_MOST, AT_LEAST = "at most", "at least"

# figure, what, apps, which statistic, at most or at least, how much, of whom (None: absolute)
GOALS = [
    ("a", "daemon cold start to first answer", None, "median", AT_MOST, 5.0, "limit"),
    ("a", "first command, with which everything starts", None, "median", AT_MOST, 15.0, None),
    ("b", "start all by one command and file", 1000, "median", AT_MOST, 1.3, "limit"),
    ("b", "start each by a command of its own", 1000, "median", AT_MOST, 1.5, "limit"),
    ("c", "list all as JSON", 1000, "median", AT_MOST, 2.0, "limit"),
    ("c", "list all as JSON", 1000, "median", AT_MOST, 10.0, None),
    ("d", "crash to successor", 1, "median", AT_MOST, 1.5, "limit"),
    ("d", "crash to successor", 1000, "median", AT_MOST, 1.3, "limit"),
    ("d", "crash to successor", 1, "p99", AT_MOST, 5.0, None),
    ("d", "crash to successor", 1000, "p99", AT_MOST, 5.0, None),
    ("d", "all killed at once, to the last successor", 1000, "median", AT_MOST, 1.2, "limit"),
    ("e", "memory of the supervisor (PSS)", 0, "median", AT_MOST, 3 * 1024, None),
    ("e", "memory for each app", 1000, "median", AT_MOST, 4.0, None),
    ("e", "memory for each app", 5000, "median", AT_MOST, 3.5, None),
    ("f", "context switches in quiet", 1000, "max", AT_MOST, 0, None),
    ("g", "64 KiB a write", None, "median", AT_LEAST, 0.8, "pump"),
    ("g", "64 KiB a write: CPU", None, "median", AT_MOST, 1.2, "pump"),
    ("g", "a write per line", None, "median", AT_LEAST, 1.0, "pump"),
    ("g", "a write per line: CPU", None, "median", AT_MOST, 0.4, "pump"),
    ("g", "lines lost", None, "max", AT_MOST, 0, None),
    ("h", "stop one", 1000, "median", AT_MOST, 3.0, "limit"),
    ("h", "stop all with their trees", 1000, "median", AT_MOST, 2.5, "limit"),
    ("h", "survivors of a stop", 1000, "max", AT_MOST, 0, None),
    ("h", "survivors of a double fork", 1000, "max", AT_MOST, 0, None),
    ("i", "daemon death to serving all again", 1000, "median", AT_MOST, 100.0, None),
    ("i", "duplicates after it", 1000, "max", AT_MOST, 0, None),
    ("i", "apps lost by it", 1000, "max", AT_MOST, 0, None),
    ("i", "apps disturbed by it", 1000, "max", AT_MOST, 0, None),
    ("j", "program start (--version)", None, "median", AT_MOST, 2.0, None),
    ("j", "ping", None, "median", AT_MOST, 2.0, None),
    ("k", "CPU in a crash loop of 10 s", None, "median", AT_MOST, 15.0, None),
]

# figure, what, from how many apps to how many, by at most which factor: 50 is linear; a quarter more is still called flat
GROWTH = [
    ("b", "start all by one command and file", 100, 5000, 50.0),
    ("e", "memory of the supervisor (PSS)", 100, 5000, 50.0),
    ("h", "stop all", 100, 5000, 50.0),
    ("d", "crash to successor", 100, 5000, 1.25),
]


def judged(table):
    """Each goal with what was seen: met is True, False, or None where this run has no figure for it."""
    for figure, what, apps, stat, way, goal, whom in GOALS:
        key = (figure, what, apps)
        mine = (table.stats(key, "opm") or {}).get(stat)
        against = (table.stats(key, whom) or {}).get("median") if whom else None
        seen = mine if not whom else mine / against if mine is not None and against else None
        met = None if seen is None else seen <= goal if way == AT_MOST else seen >= goal
        unit = f"x of {whom}" if whom else table.values.get(key, {"unit": ""})["unit"]
        named = f"{what}{f', {apps:,} apps' if apps is not None else ''}{' (p99)' if stat == 'p99' else ''}"
        yield {"figure": figure, "what": named, "goal": f"{way} {goal:g}{unit if whom else ' ' + unit}".strip(), "seen": seen, "met": met}
    for figure, what, few, many, factor in GROWTH:
        grown = [growth(table, (figure, what), few, many, who) for who in ("opm", "limit")]
        met = None if grown[0] is None else grown[0] <= factor
        beside = f"; the limit grows {grown[1]:.2f}x" if grown[1] else ""
        yield {"figure": figure, "what": f"{what}, {few:,} to {many:,} apps", "goal": f"grows {AT_MOST} {factor:g}x{beside}", "seen": grown[0], "met": met}


def growth(table, key, few, many, who):
    first, last = table.stats((*key, few), who), table.stats((*key, many), who)
    return last["median"] / first["median"] if first and last and first["median"] else None


def show(table, out):
    print(f"\n{'goals':<72}{'seen':>10}", file=out)
    for goal in judged(table):
        said = {True: "met", False: "MISSED", None: "not measured"}[goal["met"]]
        seen = "" if goal["seen"] is None else f"{goal['seen']:.2f}"
        print(f"  {goal['figure']}  {goal['what']:<65}{seen:>12}  {said:<13} {goal['goal']}", file=out)
