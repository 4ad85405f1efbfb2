"""opm itself: nothing is asked of it but what its command line and its API offer."""
import json, os
from ground import Failed
from probe import timed
from peers.base import Peer, ask


class Opm(Peer):
    name = "opm"

    @classmethod
    def find(cls, tools):
        return timed([tools.opm, "--version"])[1].decode().strip()

    def __init__(self, tools, ground, stamps):
        super().__init__(tools, ground, stamps)
        self.home, self.file = ground.path("home"), ground.path("apps.json")
        self.socket = os.path.join(self.home, "run/opm.sock")
        self.env |= {"OPM_HOME": self.home, "OPM_CGROUP": os.path.join(ground.cgroup, "peer/opm")}
        self.apps = []

    def opm(self, *command, **how):
        return self.run(self.tools.opm, *command, **how)

    def configure(self, apps):
        self.apps = apps
        json.dump({"apps": [self.entry(app) for app in apps]}, open(self.file, "w"))

    def entry(self, app):
        entry = {"name": app.name, "script": app.argv[0], "args": app.argv[1:]}
        if app.once:
            entry["restart"] = "never"
        elif not app.default:
            entry |= {"min_uptime": "1ms", "max_restarts": 1000000}
        if app.log:
            entry |= {"out_file": app.log, "log_max_size": "none"}
        return entry

    def boot(self):
        return self.opm("daemon", "start")[0]

    def start(self):
        return self.opm("start", self.file)[0]

    def list(self):
        return self.opm("ls", "--json")[0]

    def start_one(self, app):
        return self.opm("start", app.argv[0], "--name", app.name, "--", *app.argv[1:])[0]

    def again(self, app):
        return self.opm("restart", app.name)[0]

    def empty(self, app):
        self.opm("flush", app.name)

    def first(self, app):
        return lambda: self.start_one(app)

    def stop_one(self, app):
        return self.opm("stop", app.name)[0]

    def stop(self):
        return self.opm("stop", "all")[0]

    def daemon(self):
        return json.loads(self.opm("daemon", "status", "--json")[1])["pid"]

    def revive(self):
        """The keeper starts it; served is who gets all instances as online over a connection made after the death."""
        answer = ask(self.socket, b"GET /v1/instances HTTP/1.1\r\nhost: opm\r\nconnection: close\r\n\r\n")
        if (online := answer.count(b'"state":"online"')) != len(self.apps):
            raise Failed(f"{online} of {len(self.apps)} apps are online in its first answer: {answer[:200]!r}")

    def version(self):
        return timed([self.tools.opm, "--version"])[0]

    def ping(self):
        return self.opm("ping")[0]
