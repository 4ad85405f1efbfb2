"""The limit program: what remains of a supervisor when everything is left out that can be left out. See limit.c."""
import os, subprocess
from ground import Failed, now
from probe import timed
from peers.base import Peer, ask


class Limit(Peer):
    name = "limit"
    how = ()
    policy = False

    @classmethod
    def joins(cls, scenario):
        return not scenario.startswith("logs")

    @classmethod
    def find(cls, tools):
        return "plain clone3 into a cgroup, exec, pidfd"

    def __init__(self, tools, ground, stamps):
        super().__init__(tools, ground, stamps)
        self.cgroup = os.path.join(ground.cgroup, "peer/limit")
        os.mkdir(self.cgroup)
        self.socket, self.file = ground.path("limit.sock"), ground.path("apps.tsv")
        self.apps = []

    def configure(self, apps):
        self.apps = apps
        open(self.file, "w").write("".join("\t".join(app.argv) + "\n" for app in apps))

    def ask(self, *order):
        return self.run(self.tools.limit, "ask", self.socket, *order)[0]

    def serve(self):
        begin = now()
        command = [self.tools.limit, "serve", self.socket, self.cgroup, self.file, *self.how]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        if not self.process.stdout.readline().startswith(b"started"):
            raise Failed("the limit program failed")
        return begin

    def boot(self):
        """It starts its apps as it boots; with none, that is its boot."""
        file, self.file = self.file, self.ground.path("none.tsv")
        open(self.file, "w").close()
        begin = self.serve()
        ask(self.socket, b"list")
        took = (now() - begin) / 1e6
        self.file = file
        return took

    def start(self):
        """With its own boot, for there is no other way to hand it a file."""
        if hasattr(self, "process"):
            self.ask("quit")
            self.process.wait()
            os.remove(self.socket)
        begin = self.serve()
        return (now() - begin) / 1e6

    def own(self):
        return [self.process.pid]

    def list(self):
        return self.ask("list")

    def start_one(self, app):
        return self.ask("start", *app.argv)

    def stop_one(self, app):
        return self.ask("stop", str([each.name for each in self.apps].index(app.name)))

    def stop(self):
        return self.ask("stop")

    def daemon(self):
        return None

    def revive(self):
        """What adoption cannot do without: reading who is in each cgroup, and a pidfd for each. And the first answer."""
        self.ask("adopt")
        ask(self.socket, b"list")

    def version(self):
        return timed([self.tools.limit, "version"])[0]

    def ping(self):
        return self.ask("none")


class Vfork(Limit):
    """The same, with the memory shared until exec: the child starts sooner, and the parent stands still meanwhile."""

    name = "vfork"
    how = ("vfork",)

    @classmethod
    def joins(cls, scenario):
        return scenario in ("life", "calls")

    @classmethod
    def find(cls, tools):
        return "the limit program with CLONE_VFORK and CLONE_VM"


class Hop(Limit):
    """The same, with a parent process between the kernel and the one that starts the successor: what a keeper costs."""

    name = "hop"
    how = ("hop",)

    @classmethod
    def joins(cls, scenario):
        return scenario == "life"

    @classmethod
    def find(cls, tools):
        return "the limit program with a keeper between it and its children"
