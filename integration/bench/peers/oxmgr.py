"""OxMgr: no registry has it, so it is built from its repository, or from the checkout that OXMGR_SOURCE names."""
import os, shutil, socket
from ground import Failed, now
from probe import timed
from peers.base import Peer

REPOSITORY = "https://github.com/Vladimir-Urik/OxMgr"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Oxmgr(Peer):
    name = "oxmgr"

    @classmethod
    def find(cls, tools):
        folder = tools.peer("oxmgr")
        cls.command = os.path.join(folder, "bin/oxmgr")
        if not os.path.exists(cls.command):
            source = os.environ.get("OXMGR_SOURCE")
            where = ["--path", source] if source else ["--git", REPOSITORY]
            tools.install(["cargo", "install", "--locked", "--root", folder, *where], env={**os.environ, "CARGO_TARGET_DIR": os.path.join(folder, "target")})
            shutil.rmtree(os.path.join(folder, "target"), ignore_errors=True)
        return timed([cls.command, "--version"])[1].decode().strip()

    def __init__(self, tools, ground, stamps):
        super().__init__(tools, ground, stamps)
        self.home, self.file = ground.path("oxmgr"), ground.path("oxfile.toml")
        self.env |= {"OXMGR_HOME": self.home, "OXMGR_DAEMON_ADDR": f"127.0.0.1:{free_port()}", "OXMGR_API_ADDR": f"127.0.0.1:{free_port()}"}
        self.apps = []

    def configure(self, apps):
        self.apps = apps
        lines = ["version = 1"]
        for app in apps:
            lines += ["[[apps]]", f'name = "{app.name}"', f'command = "{" ".join(app.argv)}"']
            if app.once:
                lines.append('restart_policy = "never"')
            elif not app.default:
                lines.append('restart_policy = "always"\nmax_restarts = 1000000\ncrash_restart_limit = 0')
            if app.log:
                lines.append(f'[apps.logs]\nstdout = "{app.log}"')
        open(self.file, "w").write("\n".join(lines) + "\n")

    def boot(self):
        return self.into(self.command, "list", "--json")[0]

    def start(self):
        return self.run(self.command, "apply", self.file)[0]

    def list(self):
        return self.run(self.command, "list", "--json")[0]

    def start_one(self, app):
        return self.run(self.command, "start", " ".join(app.argv), "--name", app.name)[0]

    def again(self, app):
        return self.run(self.command, "restart", app.name)[0]

    def first(self, app):
        return lambda: self.into(self.command, "start", " ".join(app.argv), "--name", app.name)[0]

    def stop_one(self, app):
        return self.run(self.command, "stop", app.name)[0]

    def stop(self):
        return self.run(self.command, "stop", "all")[0]

    def daemon(self):
        """It writes its pid nowhere that lasts: it is the one process that is its own."""
        return self.own()[0]

    def revive(self):
        """The next command starts its daemon again."""
        deadline = now() + 60e9
        while True:
            said = self.into(self.command, "list", "--json", ok=False)[1]
            running = said.count(b'"running"') + said.count(b'"Running"')
            if running >= len(self.apps):
                return
            if now() > deadline:
                raise Failed(f"{running} of {len(self.apps)} run again after 60 s")

    def version(self):
        return self.run(self.command, "--version")[0]

    def ping(self):
        return self.run(self.command, "list", "--json")[0]
