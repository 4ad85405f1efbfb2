"""The benchmark's own test: every figure once with opm and the limit program, few apps, and what must be true of them. No time is asserted.

    integration/bench/run.sh --self-test
"""
import glob, json, os, pathlib, signal, subprocess, sys, tempfile, time, unittest
import xml.dom.minidom

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import goals
from ground import mount
from table import Table

OPM = os.environ["OPM_BIN"]
BENCH = [sys.executable, os.path.join(HERE, "bench.py"), "--opm", OPM]
FEW = ["--rounds", "1", "--sizes", "1,3", "--many", "3", "--idle", "0.5", "--crashes", "3", "--bulk", "20000", "--lines", "20000", "--loop", "1"]


def left_over(run):
    """What that run has in the world: its folders and cgroups bear its pid."""
    return glob.glob(os.path.join(mount(), f"opm-bench-{run.pid}-*")) + glob.glob(f"/tmp/opm-b-{run.pid}-*")


class Whole(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="opm-bench-test-")
        cls.json, cls.svg = os.path.join(cls.folder.name, "figures.json"), os.path.join(cls.folder.name, "chart.svg")
        command = [*BENCH, *FEW, "--peers", "opm,limit,pump,systemd", "--into", cls.json, "--chart", cls.svg]
        cls.run_of_all = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        cls.output = cls.run_of_all.communicate()[0]
        cls.said = json.loads(pathlib.Path(cls.json).read_text())

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def figure(self, what, who="opm", apps=3):
        found = [row for row in self.said["rows"] if row["what"] == what and row["apps"] in (apps, None)]
        self.assertTrue(found, f"no figure for {what}")
        return found[0]["who"][who]

    def test_it_comes_to_its_end_with_every_letter(self):
        self.assertEqual(self.run_of_all.returncode, 0, self.output)
        self.assertEqual("".join(sorted({row["figure"] for row in self.said["rows"] if "opm" in row["who"]})), "abcdefghijk")
        self.assertFalse([row for row in self.said["rows"] if row["what"].startswith("did not")])

    def test_every_goal_has_a_figure_that_is_measured(self):
        """At these sizes hardly one is judged; but each must be spelled as a figure is."""
        measured = {(row["figure"], row["what"]) for row in self.said["rows"]}
        for entry in goals.GOALS + goals.GROWTH:
            if entry[1] not in ("memory for each app", "all killed at once, to the last successor"):  # from 100 apps on
                self.assertIn(entry[:2], measured)

    def test_nobody_survives_is_lost_or_doubled(self):
        for what in ("survivors of a stop", "survivors of a double fork", "duplicates after it", "apps lost by it", "apps disturbed by it", "lines lost"):
            for who in ("opm",) if what == "lines lost" else ("opm", "limit"):
                self.assertEqual(self.figure(what, who)["max"], 0, what)

    def test_each_kill_had_its_successor(self):
        self.assertEqual(self.figure("crash to successor")["n"], 3)

    def test_who_is_not_here_is_said_with_the_reason(self):
        if not os.path.isdir("/run/systemd/system"):
            self.assertIn("manager", self.said["peers"]["systemd"]["skipped"])
            self.assertIn("skipped: systemd", self.output)

    def test_the_chart_is_one(self):
        xml.dom.minidom.parse(self.svg)
        self.assertIn(">opm ", pathlib.Path(self.svg).read_text())

    def test_figures_of_an_earlier_run_are_kept(self):
        again = Table.read(self.json)
        self.assertEqual(list(again.rows()), self.said["rows"])

    def test_nothing_is_left_over(self):
        self.assertEqual(left_over(self.run_of_all), [])


class Edges(unittest.TestCase):
    def test_unknown_words_are_errors_with_a_suggestion(self):
        for wrong, meant in ((["--peers", "opm,limt"], "limit"), (["--round", "3"], "--rounds"), (["--only", "z"], "there are a, b")):
            done = subprocess.run([*BENCH, *wrong], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2)
            self.assertIn(meant, done.stderr)

    def test_an_interrupt_in_the_middle_leaves_nothing(self):
        run = subprocess.Popen([*BENCH, "--peers", "opm", "--only", "f", "--many", "3", "--rounds", "1", "--idle", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while run.poll() is None and not glob.glob(os.path.join(mount(), f"opm-bench-{run.pid}-*/peer/opm/apps/*")):
            time.sleep(0.001)
        run.send_signal(signal.SIGINT)
        run.communicate()
        self.assertEqual(run.returncode, 130)
        self.assertEqual(left_over(run), [])


class Sums(unittest.TestCase):
    def test_a_goal_that_is_missed_is_called_so(self):
        table = Table()
        for who, value in (("opm", 40.0), ("limit", 10.0)):
            table.add(who, {"figure": "c", "what": "list all as JSON", "unit": "ms", "apps": 1000, "values": [value]})
        ratio, absolute = [goal for goal in goals.judged(table) if goal["what"] == "list all as JSON, 1,000 apps"]
        self.assertEqual((ratio["seen"], ratio["met"], absolute["met"]), (4.0, False, False))

    def test_growth_beyond_linear_is_missed(self):
        table = Table()
        for apps, value in ((100, 1.0), (5000, 60.0)):
            table.add("opm", {"figure": "h", "what": "stop all", "unit": "ms", "apps": apps, "values": [value]})
        grown = next(goal for goal in goals.judged(table) if goal["what"].startswith("stop all, 100 to"))
        self.assertEqual((grown["seen"], grown["met"]), (60.0, False))


if __name__ == "__main__":
    unittest.main()
