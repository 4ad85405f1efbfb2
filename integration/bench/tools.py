"""What the benchmark itself is made of: the C programs, opm, and where peers are put."""
import os, shutil, subprocess
from peers.base import Missing

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "out")


class Tools:
    def __init__(self, opm):
        self.opm = self.given = opm
        self.sleeper, self.writer, self.limit, self.into = (os.path.join(OUT, name) for name in ("sleeper", "writer", "limit", "into"))

    def own_copy(self, folder):
        """`folder` is this run's own. A copy of opm in it that nobody else runs: pages of a program are shared with whoever runs the same file, and PSS shares their cost."""
        self.folder = folder
        self.opm = shutil.copy2(self.given, os.path.join(folder, "opm"))

    def peer(self, name):
        folder = os.path.join(OUT, "peers", name)
        os.makedirs(folder, exist_ok=True)
        return folder

    def install(self, command, cwd=None, env=None):
        """Fetches or builds what a peer consists of; its output, or Missing with its last words."""
        print(f"bench: {' '.join(command[:2])} ... {command[-1]}", flush=True)
        try:
            done = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=1800)
        except (OSError, subprocess.TimeoutExpired) as why:
            raise Missing(f"{command[0]} failed: {why}") from None
        if done.returncode:
            errors = [line for line in (done.stderr + done.stdout).splitlines() if "rror" in line] or ["no reason given"]
            raise Missing(f"'{' '.join(command[:2])} {command[-1]}' failed: {errors[0].strip()[:160]}")
        return done.stdout
