"""PM2, from npm, in a folder of the benchmark's own."""
import json, os, shutil
from probe import timed
from peers.base import Missing, Peer

PACKAGE = "pm2@7"


class Pm2(Peer):
    name = "pm2"

    @classmethod
    def find(cls, tools):
        node = shutil.which("node")
        if not node:
            raise Missing("there is no node here")
        folder = tools.peer("pm2")
        script = os.path.join(folder, "node_modules/pm2/bin/pm2")
        if not os.path.exists(script):
            tools.install(["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, PACKAGE])
        cls.command = (node, script)
        version = json.load(open(os.path.join(folder, "node_modules/pm2/package.json")))["version"]
        return f"PM2 {version}, Node {timed([node, '--version'])[1].decode().strip()}"

    def __init__(self, tools, ground, stamps):
        super().__init__(tools, ground, stamps)
        self.home, self.file = ground.path("pm2"), ground.path("pm2.json")
        self.env |= {"PM2_HOME": self.home}

    def pm2(self, *command, **how):
        return self.run(*self.command, *command, **how)

    def entry(self, app):
        entry = {"name": app.name, "script": app.argv[0], "args": app.argv[1:], "exec_interpreter": "none", "exec_mode": "fork"}
        if app.once:
            entry["autorestart"] = False
        elif not app.default:
            entry |= {"min_uptime": 100, "max_restarts": 1000000}
        if app.log:
            entry |= {"out_file": app.log}
        return entry

    def configure(self, apps):
        self.apps = apps
        json.dump({"apps": [self.entry(app) for app in apps]}, open(self.file, "w"))

    def boot(self):
        return self.into(*self.command, "ping")[0]

    def start(self):
        return self.pm2("start", self.file)[0]

    def list(self):
        return self.pm2("jlist")[0]

    def start_one(self, app):
        return self.pm2("start", app.argv[0], "--name", app.name, "--interpreter", "none", "--force", "--", *app.argv[1:])[0]

    def again(self, app):
        return self.pm2("restart", app.name)[0]

    def first(self, app):
        return lambda: self.into(*self.command, "start", app.argv[0], "--name", app.name, "--interpreter", "none", "--", *app.argv[1:])[0]

    def stop_one(self, app):
        return self.pm2("stop", app.name)[0]

    def stop(self):
        return self.pm2("stop", "all")[0]

    def daemon(self):
        self.pm2("save", "--force")
        return int(open(os.path.join(self.home, "pm2.pid")).read())

    def revive(self):
        """What its start-up script does at boot."""
        self.into(*self.command, "resurrect")

    def version(self):
        return self.pm2("--version")[0]

    def ping(self):
        return self.pm2("ping")[0]
