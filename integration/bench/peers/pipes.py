"""What logs are held against: the program's output through a pipe into a file, with nothing that supervises."""
from peers.base import Peer


class Pipe(Peer):
    policy = False

    @classmethod
    def joins(cls, scenario):
        return scenario.startswith("logs")


class Cat(Pipe):
    name = "cat"

    @classmethod
    def find(cls, tools):
        return "sh -c 'app | cat > file'"

    def logger(self, folder):
        return f"cat > {folder}/current"


class Pump(Pipe):
    name = "pump"

    @classmethod
    def find(cls, tools):
        return "read(2) of up to 64 KiB and write(2)"

    def logger(self, folder):
        return f"{self.tools.writer} pump {folder}/current"
