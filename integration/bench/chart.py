"""The chart for the README: opm and the best peer beside the limit program, as ratios on a scale of powers of ten. Plain SVG, small,
readable on a light and on a dark page. Each bar ends in the figure itself."""
import math
from html import escape

# What is shown, in this order: figure, what, apps, how it is called. Where the limit has no figure, its place is taken by 1.
SHOWN = [
    ("a", "daemon cold start to first answer", None, "cold start to first answer"),
    ("b", "start all by one command and file", 1000, "start 1,000 apps from one file"),
    ("b", "start each by a command of its own", 1000, "start 1,000 apps by 1,000 commands"),
    ("c", "list all as JSON", 1000, "list 1,000 apps"),
    ("d", "crash to successor", 1, "crash to successor, alone"),
    ("d", "crash to successor", 1000, "crash to successor, among 1,000"),
    ("e", "memory of the supervisor (PSS)", 1000, "memory with 1,000 apps"),
    ("h", "stop all", 1000, "stop 1,000 apps"),
    ("i", "daemon death to serving all again", 1000, "daemon killed, 1,000 apps served again"),
    ("g", "64 KiB a write", None, "logs, 64 KiB a write"),
    ("g", "a write per line", None, "logs, a write per line"),
]
LEFT, WIDTH, BAR, GAP, TOP = 246, 330, 9, 12, 44
STYLE = """text{font:11px system-ui,sans-serif;fill:#333}.dim{fill:#888}.grid{stroke:#8884}.opm{fill:#1f6feb}.best{fill:#bf8700}.pm2{fill:#8888}
@media(prefers-color-scheme:dark){text{fill:#ddd}.dim{fill:#999}.opm{fill:#58a6ff}.best{fill:#d29922}}"""


def told(value, unit):
    if unit == "KiB" and value >= 1024:
        return f"{value / 1024:.1f} MiB"
    if unit == "ms" and value >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def rows(table):
    """For each: its name, and (who, class, how many times worse than the limit, the figure as text)."""
    for figure, what, apps, name in SHOWN:
        key = (figure, what, apps)
        limit = table.stats(key, "limit") or table.stats(key, "pump")
        if not limit or not table.stats(key, "opm"):
            continue
        unit, best = table.values[key]["unit"], table.best(key)[0]
        bars = []
        for who, kind in [("opm", "opm"), (best, "best"), ("pm2" if best != "pm2" else None, "pm2")]:
            if who and (stats := table.stats(key, who)):
                ratio = stats["median"] / limit["median"]
                bars.append((who, kind, 1 / ratio if unit == "MB/s" else ratio, told(stats["median"], unit)))
        yield name, told(limit["median"], unit), bars


def draw(table):
    shown = list(rows(table))
    most = max((bar[2] for _, _, bars in shown for bar in bars), default=10)
    decades = max(1, math.ceil(math.log10(most)))
    scale = lambda ratio: WIDTH * max(0.004, math.log10(max(ratio, 1)) / decades)
    out, y = [], TOP
    for name, limit, bars in shown:
        middle = y + (BAR + 2) * len(bars) / 2
        out.append(f'<text x="{LEFT - 8}" y="{middle:.0f}" text-anchor="end">{escape(name)}</text>')
        out.append(f'<text x="{LEFT - 8}" y="{middle + 11:.0f}" text-anchor="end" class="dim" style="font-size:9px">limit: {escape(limit)}</text>')
        for who, kind, ratio, text in bars:
            out.append(f'<rect x="{LEFT}" y="{y}" width="{scale(ratio):.1f}" height="{BAR}" class="{kind}"/>')
            out.append(f'<text x="{LEFT + scale(ratio) + 4:.1f}" y="{y + BAR}" style="font-size:9px">{escape(who)} {escape(text)}</text>')
            y += BAR + 2
        y += GAP
    for power in range(decades + 1):
        x = LEFT + WIDTH * power / decades
        out.append(f'<path d="M{x:.1f} {TOP - 6}V{y - GAP}" class="grid"/>')
        out.append(f'<text x="{x:.1f}" y="{TOP - 10}" text-anchor="middle" class="dim">{10**power:,}x</text>')
    who = '<tspan class="opm">opm</tspan>, <tspan class="best">the best peer</tspan>, PM2'
    out.append(f'<text x="{LEFT}" y="14">times the limit program: {who} (shorter is better)</text>')
    size = LEFT + WIDTH + 110
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {y}" width="{size}" height="{y}">'
    return f"{frame}<style>{STYLE}</style>{''.join(out)}</svg>\n"
