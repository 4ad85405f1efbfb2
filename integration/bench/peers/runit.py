"""runit, from the distribution: a small supervisor process for each app. Without a logger for each, which would double them."""
import os
from ground import now
from peers.base import Cannot, Peer, wait_for
from peers import debian


class Runit(Peer):
    name = "runit"
    rest = 1.1  # it waits a second before it starts again what ran for less
    most = 1000
    too_many = "runsvdir takes 1,000 services at most"

    @classmethod
    def find(cls, tools):
        cls.where = debian.unpack(tools, "runit")
        return f"runit {debian.version(tools, 'runit')}"

    def __init__(self, tools, ground, stamps):
        super().__init__(tools, ground, stamps)
        self.env |= self.where
        self.folder = ground.path("sv")
        os.mkdir(self.folder)
        self.apps = []

    def configure(self, apps, down=()):
        self.apps = apps
        for app in apps:
            folder = self.service(app)
            os.makedirs(folder)
            with open(os.path.join(folder, "run"), "w") as file:
                file.write(f"#!/bin/sh\nexec {' '.join(app.argv)}\n")
            os.chmod(os.path.join(folder, "run"), 0o755)
            if app.name in down:
                open(os.path.join(folder, "down"), "w").close()

    def service(self, app):
        return os.path.join(self.folder, app.name)

    def boot(self):
        """Nothing answers for all of it: it looks into its folder each five seconds, so it is started on a full one."""
        return None

    def start(self):
        begin = now()
        self.process = self.daemonize("runsvdir", "-P", self.folder)
        return (now() - begin) / 1e6

    def list(self):
        return self.run("sh", "-c", f"sv status {self.folder}/*", ok=False)[0]

    def ready_for_calls(self, apps):
        """It starts by a command only what is there and down."""
        self.configure(apps, down={app.name for app in apps})
        self.start()
        wait_for(os.path.join(self.service(app), "supervise/stat") for app in apps)

    def start_one(self, app):
        return self.run("sv", "start", self.service(app))[0]

    def stop_one(self, app):
        return self.run("sv", "stop", self.service(app))[0]

    def stop(self):
        return self.run("sh", "-c", f"sv -w 60 stop {self.folder}/*")[0]

    def daemon(self):
        raise Cannot("its scanner's death touches no app, and each app's own supervisor is a process of its own")

    def logger(self, folder):
        open(os.path.join(folder, "config"), "w").write("s0\n")
        return f"svlogd {folder}"

    def version(self):
        raise Cannot("its programs have no --version")
