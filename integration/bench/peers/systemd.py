"""systemd, only where it runs as the manager: a transient unit file for each app, in /run, under a slice of the run's own."""
import os
from peers.base import Cannot, Missing, Peer
from probe import timed


class Systemd(Peer):
    name = "systemd"

    @classmethod
    def find(cls, tools):
        if not os.path.isdir("/run/systemd/system"):
            raise Missing("systemd does not run as the manager here")
        return timed(["systemctl", "--version"])[1].decode().splitlines()[0]
