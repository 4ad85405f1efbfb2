"""What the figures may ask of a supervisor. A peer that cannot do something says so with `Cannot`, and the table shows why."""
import os, socket, subprocess, time
from ground import Failed, members
from probe import CHILDREN, program, timed


class Missing(Exception):
    """Why a peer is not to be had here."""


class Cannot(Failed):
    """What a peer does not offer."""


class App:
    """One app as every peer is asked for it: the program with its arguments, and whether it shall come back at once after a kill."""

    def __init__(self, name, argv, default=False, once=False, log=None):
        self.name, self.argv = name, argv
        self.default = default  # the peer's own restart policy, untouched
        self.once = once  # not to be started again when it ends
        self.log = log  # into which file its output shall go


class Peer:
    name = ""
    rest = 0.03  # how long a run must last before the peer follows it at once: below this, its own waiting would be measured
    most = None  # more apps than this are not tried, and `too_many` says why
    too_many = ""
    policy = True  # whether it decides anything when an app fails

    @classmethod
    def joins(cls, scenario):
        """Whether a scenario makes sense for it at all."""
        return not scenario.startswith("logs") or hasattr(cls, "logger") or hasattr(cls, "again")

    @classmethod
    def find(cls, tools):
        """Finds or installs it: a line that says which version of what. Raises Missing."""
        raise NotImplementedError

    @classmethod
    def sweep(cls, ground):
        """Ends and removes what it has left outside of the ground. Called in any case, from outside of the worker."""

    def __init__(self, tools, ground, stamps):
        self.tools, self.ground, self.stamps = tools, ground, stamps
        self.env = {"PATH": os.environ["PATH"], "HOME": ground.folder, "LANG": "C.UTF-8"}

    # What every peer says for itself.

    def configure(self, apps):
        """Writes its files for these apps. Not part of any figure."""
        raise NotImplementedError

    def boot(self):
        """Has a supervisor without apps running that has answered once: the ms from nothing to that."""
        raise NotImplementedError

    def start(self):
        """One command that starts all that is configured."""
        raise NotImplementedError

    def list(self):
        raise Cannot("has no list of all")

    def ready_for_calls(self, apps):
        """Has a supervisor to which these apps can be given by a command for each."""
        self.configure([])
        self.boot()

    def start_one(self, app):
        raise Cannot("starts nothing by a command")

    def stop_one(self, app):
        raise NotImplementedError

    def stop(self):
        raise NotImplementedError

    def daemon(self):
        """The pid whose death is that of the daemon."""
        raise NotImplementedError

    def revive(self):
        """After the daemon's death: returns when it serves all its apps again, started by whom it is meant to be started by."""
        raise Cannot("has no daemon apart from the parents of its apps")

    def first(self, app):
        """Nothing runs: what is to be called so that one command leads to a first running app."""
        self.configure([app])
        return self.start

    def empty(self, app):
        """Throws away what the log file of an app holds. Who opened it for appending goes on at its beginning."""
        os.truncate(app.log, 0)

    def version(self):
        return None

    def ping(self):
        return None

    # What is the same for all.

    def run(self, *command, ok=True, seconds=None):
        return timed(list(command), self.env, ok, seconds)

    def daemonize(self, *command, **how):
        """Starts what shall stay. It is in the peer's cgroup from its first instruction."""
        command = [self.tools.into, os.path.join(self.ground.cgroup, "peer"), *command]
        return subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, start_new_session=True, **how)

    def into(self, *command, ok=True, seconds=None):
        """A command that leaves a daemon behind."""
        return self.run(self.tools.into, os.path.join(self.ground.cgroup, "peer"), *command, ok=ok, seconds=seconds)

    def everybody(self):
        return members(os.path.join(self.ground.cgroup, "peer"))

    def own(self):
        """The supervisor's processes: whatever is in its cgroup and is none of the supervised programs."""
        return [pid for pid in self.everybody() if program(pid) not in (None, *CHILDREN)]

    def children(self):
        return [pid for pid in self.everybody() if program(pid) in CHILDREN]


def ask(path, request, seconds=30):
    """One exchange over a Unix socket; tries until somebody accepts, for there is nothing else to wait on. The answer."""
    deadline = time.monotonic() + seconds
    while True:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.settimeout(max(0.1, deadline - time.monotonic()))
                client.connect(path)
                client.sendall(request)
                answer = b""
                while more := client.recv(65536):
                    answer += more
                if answer:
                    return answer
            except OSError as why:
                if time.monotonic() > deadline:
                    raise Failed(f"no answer within {seconds} s: {why}") from None
        time.sleep(0.0002)


def wait_for(paths, seconds=60):
    """Until these files exist: they are all that some peers say."""
    deadline = time.monotonic() + seconds
    for path in paths:
        while not os.path.exists(path):
            if time.monotonic() > deadline:
                raise Failed(f"{path} did not come within {seconds} s")
            time.sleep(0.001)
