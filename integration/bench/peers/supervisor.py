"""supervisor, from PyPI, in a venv of the benchmark's own."""
import os, subprocess, sys
from ground import Failed, now
from probe import timed
from peers.base import Peer, ask

PACKAGE = "supervisor==4.3.0"
STATE = (
    b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
)


def rpc(path, method):
    body = b"<?xml version='1.0'?><methodCall><methodName>supervisor.%s</methodName><params></params></methodCall>" % method
    return ask(path, STATE % (len(body), body))


class Supervisor(Peer):
    name = "supervisor"

    @classmethod
    def find(cls, tools):
        folder = tools.peer("supervisor")
        cls.bin = os.path.join(folder, "bin")
        # A checkout that was moved took its venv along, whose scripts name the old place.
        if subprocess.run(["sh", "-c", f'"{cls.bin}/supervisord" --version'], capture_output=True).returncode:
            tools.install([sys.executable, "-m", "venv", "--clear", folder])
            tools.install([os.path.join(cls.bin, "pip"), "install", "-q", PACKAGE])
        return f"supervisor {timed([os.path.join(cls.bin, 'supervisord'), '--version'])[1].decode().strip()}, Python {sys.version.split()[0]}"

    def __init__(self, tools, ground, stamps):
        super().__init__(tools, ground, stamps)
        self.file, self.socket, self.pidfile = (ground.path(name) for name in ("supervisord.conf", "supervisor.sock", "supervisord.pid"))
        self.apps = []

    def write(self, apps):
        folder = self.ground.folder
        # Of its descriptors it closes as many as it is told it may have in each child: no more than it needs.
        descriptors = max(1024, 6 * (len(self.apps) + 16))
        lines = [
            f"[unix_http_server]\nfile={self.socket}\n[supervisord]\nlogfile={folder}/supervisord.log\npidfile={self.pidfile}",
            f"childlogdir={folder}\nminfds={descriptors}\n[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
            f"[supervisorctl]\nserverurl=unix://{self.socket}",
        ]
        for app in apps:
            lines.append(f"[program:{app.name}]\ncommand={' '.join(app.argv)}")
            if app.once:
                lines.append("autorestart=false\nstartsecs=0")
            elif not app.default:
                lines.append("autorestart=true\nstartsecs=0")
            if app.name in self.down:
                lines.append("autostart=false")
            if app.log:
                lines.append(f"stdout_logfile={app.log}\nstdout_logfile_maxbytes=0")
        open(self.file, "w").write("\n".join(lines) + "\n")

    def configure(self, apps, down=()):
        self.apps, self.down = apps, set(down)
        self.write([])

    def ctl(self, *command, **how):
        return self.run(os.path.join(self.bin, "supervisorctl"), "-c", self.file, *command, **how)

    def boot(self):
        begin = now()
        self.into(os.path.join(self.bin, "supervisord"), "-c", self.file)
        rpc(self.socket, b"getState")
        return (now() - begin) / 1e6

    def start(self):
        self.write(self.apps)
        return self.ctl("update")[0]

    def list(self):
        return self.ctl("status", ok=False)[0]

    def ready_for_calls(self, apps):
        """It starts by a command only what a file knows."""
        self.configure(apps, down={app.name for app in apps})
        self.boot()
        self.start()

    def first(self, app):
        self.configure([app])
        self.write([app])
        return lambda: self.into(os.path.join(self.bin, "supervisord"), "-c", self.file)[0]

    def start_one(self, app):
        return self.ctl("start", app.name)[0]

    def again(self, app):
        return self.ctl("restart", app.name)[0]

    def stop_one(self, app):
        return self.ctl("stop", app.name)[0]

    def stop(self):
        return self.ctl("stop", "all")[0]

    def daemon(self):
        return int(open(self.pidfile).read())

    def revive(self):
        """What whoever started it would do: start it again. It says RUNNING of what it started itself, and adopts nothing."""
        self.into(os.path.join(self.bin, "supervisord"), "-c", self.file)
        deadline = now() + 60e9
        while (running := rpc(self.socket, b"getAllProcessInfo").count(b"<string>RUNNING</string>")) < len(self.apps):
            if now() > deadline:
                raise Failed(f"{running} of {len(self.apps)} run again after 60 s")

    def version(self):
        return timed([os.path.join(self.bin, "supervisord"), "--version"])[0]

    def ping(self):
        return self.ctl("pid")[0]
