"""systemd, only where it runs as the manager: a unit file in /run for each app, and a target and a slice of the run's own around them."""
import glob, os, subprocess
from ground import members, mount
from peers.base import Missing, Peer
from probe import timed

UNITS = "/run/systemd/system"


class Systemd(Peer):
    name = "systemd"

    @classmethod
    def find(cls, tools):
        if not os.path.isdir(UNITS):
            raise Missing("systemd does not run as the manager here")
        return timed(["systemctl", "--version"])[1].decode().splitlines()[0]

    @classmethod
    def joins(cls, scenario):
        return scenario in ("life", "trees", "calls", "loop", "cold")

    @staticmethod
    def mark(ground):
        return "opmbench" + os.path.basename(ground.cgroup).rsplit("-", 1)[1]

    @classmethod
    def sweep(cls, ground):
        """Its units live outside of the ground: ended and removed by the mark that all of them bear."""
        mark = cls.mark(ground)
        if files := glob.glob(f"{UNITS}/{mark}*"):
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run(["systemctl", "kill", "--signal=KILL", f"{mark}-*.service"], **quiet)
            subprocess.run(["systemctl", "stop", f"{mark}.target", f"{mark}.slice", f"{mark}-*.service"], **quiet)
            for file in files:
                os.remove(file)
            subprocess.run(["systemctl", "daemon-reload"], **quiet)
            subprocess.run(["systemctl", "reset-failed", f"{mark}-*.service"], **quiet)

    def __init__(self, tools, ground, stamps):
        super().__init__(tools, ground, stamps)
        self.name_of_all, self.apps = self.mark(ground), []

    def unit(self, app):
        return f"{self.name_of_all}-{app.name}.service"

    def write(self, name, text):
        with open(os.path.join(UNITS, name), "w") as file:
            file.write(text)

    def configure(self, apps):
        self.apps = apps
        for app in apps:
            policy = "" if app.default else "Restart=always\nRestartSec=0\n"
            limits = "" if app.default else "StartLimitIntervalSec=0\n"
            self.write(self.unit(app), f"[Unit]\n{limits}PartOf={self.name_of_all}.target\n[Service]\nSlice={self.name_of_all}.slice\n{policy}ExecStart={' '.join(app.argv)}\n")
        wants = " ".join(map(self.unit, apps))
        self.write(f"{self.name_of_all}.target", f"[Unit]\nWants={wants}\n")
        self.systemctl("daemon-reload")

    def ready_for_calls(self, apps):
        """It starts by a command only what a file knows."""
        self.configure(apps)

    def systemctl(self, *command):
        return self.run("systemctl", *command)[0]

    def everybody(self):
        return members(os.path.join(mount(), f"{self.name_of_all}.slice"))

    def own(self):
        return [1]

    def boot(self):
        """It booted the machine."""
        return None

    def start(self):
        return self.systemctl("start", f"{self.name_of_all}.target")

    def list(self):
        return self.systemctl("list-units", "--output=json", "--no-pager", f"{self.name_of_all}-*")

    def start_one(self, app):
        return self.systemctl("start", self.unit(app))

    def stop_one(self, app):
        return self.systemctl("stop", self.unit(app))

    def stop(self):
        return self.systemctl("stop", f"{self.name_of_all}-*.service")

    def version(self):
        return self.systemctl("--version")
