"""What was seen, by figure and peer; as rows, as text, and as JSON that later runs can be added to."""
import json, pathlib, statistics

YARDSTICKS = ("limit", "vfork", "hop", "cat", "pump")  # not supervisors: never the best peer


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


class Table:
    def __init__(self):
        self.values, self.notes, self.peers = {}, {}, {}

    def add(self, who, told):
        key = (told["figure"], told["what"], told.get("apps"))
        if "note" in told:
            self.notes.setdefault(key, {})[who] = told["note"]
        else:
            entry = self.values.setdefault(key, {"unit": told["unit"], "who": {}})
            entry["who"].setdefault(who, []).extend(told["values"])

    def stats(self, key, who):
        values = self.values.get(key, {"who": {}})["who"].get(who)
        if not values:
            return None
        found = {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}
        if len(values) >= 20:
            found |= {"p99": quantile(values, 0.99)}
        return found

    def keys(self):
        return sorted({*self.values, *self.notes}, key=lambda key: (key[0], key[1], key[2] or 0))

    def best(self, key):
        """The peer that did best, opm and the yardsticks aside; where less is not better, see `more`."""
        everybody = self.values.get(key, {"who": {}})["who"]
        peers = [who for who in everybody if who not in (*YARDSTICKS, "opm")]
        found = [(stats["median"], who) for who in peers if (stats := self.stats(key, who))]
        if not found:
            return None, None
        median, who = max(found) if more(self.values[key]["unit"]) else min(found)
        return who, median

    def rows(self):
        for key in self.keys():
            entry = self.values.get(key, {"unit": "", "who": {}})
            best, best_median = self.best(key)
            row = {"figure": key[0], "what": key[1], "apps": key[2], "unit": entry["unit"], "best_peer": best, "who": {}}
            for who in entry["who"]:
                if not (stats := self.stats(key, who)):
                    continue
                limit = self.stats(key, "limit") or self.stats(key, "pump")
                if limit and limit["median"]:
                    stats["of_limit"] = stats["median"] / limit["median"]
                if best_median:
                    stats["of_best_peer"] = stats["median"] / best_median
                row["who"][who] = stats
            row["notes"] = self.notes.get(key, {})
            yield row

    def as_json(self, host):
        raw = [{"figure": key[0], "what": key[1], "apps": key[2], **self.values[key]} for key in self.keys() if key in self.values]
        return {"host": host, "peers": self.peers, "rows": list(self.rows()), "raw": raw}

    @classmethod
    def read(cls, path):
        table, said = cls(), json.loads(pathlib.Path(path).read_text())
        table.peers = said["peers"]
        for entry in said["raw"]:
            table.values[entry["figure"], entry["what"], entry["apps"]] = {"unit": entry["unit"], "who": entry["who"]}
        for row in said["rows"]:
            if row["notes"]:
                table.notes[row["figure"], row["what"], row["apps"]] = row["notes"]
        return table

    def show(self, out):
        letter = None
        for row in self.rows():
            if row["figure"] != letter:
                letter = row["figure"]
                print(f"\n{letter:<47}{'median':>11}{'min':>11}{'max':>11}{'p99':>11}{'n':>5}{'of limit':>10}{'of best':>9}", file=out)
            apps = f", {row['apps']:,} apps" if row["apps"] is not None else ""
            print(f"{row['what']}{apps}{' [' + row['unit'] + ']' if row['unit'] else ''}", file=out)
            for who, stats in row["who"].items():
                cell = lambda name, shape: format(stats[name], shape) if name in stats else ""
                ratio = lambda name: f"{stats[name]:.2f}x" if name in stats else ""
                seen = f"{stats['median']:>13,.2f}{stats['min']:>11,.2f}{stats['max']:>11,.2f}{cell('p99', ',.2f'):>11}{stats['n']:>5}"
                print(f"    {who:<41}{seen}{ratio('of_limit'):>10}{ratio('of_best_peer'):>9}", file=out)
            for who, why in row["notes"].items():
                print(f"    {who:<41}  {why}", file=out)


def more(unit):
    return unit == "MB/s"
