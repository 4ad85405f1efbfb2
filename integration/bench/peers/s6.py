"""s6, from the distribution: a small supervisor process for each app. Without a logger for each, which would double them."""
import os
from ground import now
from peers.base import Cannot, Peer, wait_for
from peers import debian


class S6(Peer):
    name = "s6"
    rest = 1.1  # it starts nothing twice within a second

    @classmethod
    def find(cls, tools):
        cls.where = debian.unpack(tools, "s6")
        return f"s6 {debian.version(tools, 's6')}"

    def __init__(self, tools, ground, stamps):
        super().__init__(tools, ground, stamps)
        self.env |= self.where
        debian.as_if_installed(tools)
        self.folder, self.ready = ground.path("scan"), ground.path("ready")
        os.mkdir(self.folder)
        self.apps = []

    def configure(self, apps, down=()):
        """Services are made beside the folder that is scanned; a link there makes it one."""
        self.apps = apps
        for app in apps:
            folder = self.ground.path("services", app.name)
            os.makedirs(folder)
            with open(os.path.join(folder, "run"), "w") as file:
                file.write(f"#!/bin/sh\nexec {' '.join(app.argv)}\n")
            os.chmod(os.path.join(folder, "run"), 0o755)
            if app.name in down:
                open(os.path.join(folder, "down"), "w").close()

    def service(self, app):
        return os.path.join(self.folder, app.name)

    def boot(self):
        """Its readiness comes through a descriptor that it is given."""
        begin = now()
        read, write = os.pipe()
        os.set_inheritable(write, True)
        self.process = self.daemonize("s6-svscan", "-c", str(2 * len(self.apps) + 512), "-d", str(write), self.folder, pass_fds=(write,))
        os.close(write)
        os.read(read, 1)
        took = (now() - begin) / 1e6
        os.close(read)
        return took

    def link(self):
        for app in self.apps:
            os.symlink(self.ground.path("services", app.name), self.service(app))

    def start(self):
        self.link()
        return self.run("s6-svscanctl", "-a", self.folder)[0]

    def ready_for_calls(self, apps):
        """It starts by a command only what is there and down. The scanner says nothing; its supervisors leave a file."""
        self.configure(apps, down={app.name for app in apps})
        self.boot()
        self.start()
        wait_for(os.path.join(self.service(app), "supervise/status") for app in apps)

    def first(self, app):
        self.configure([app])
        self.link()
        return self.boot

    def start_one(self, app):
        return self.run("s6-svc", "-wu", "-u", self.service(app))[0]

    def stop_one(self, app):
        return self.run("s6-svc", "-wD", "-d", self.service(app))[0]

    def stop(self):
        """The scanner takes everything down, and ends."""
        begin = now()
        self.run("s6-svscanctl", "-t", self.folder)
        self.process.wait()
        return (now() - begin) / 1e6

    def daemon(self):
        raise Cannot("its scanner's death touches no app, and each app's own supervisor is a process of its own")

    def logger(self, folder):
        return f"s6-log n2 s268435455 {folder}"

    def version(self):
        raise Cannot("its programs have no --version")
