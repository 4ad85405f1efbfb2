"""pmc: it does not build (tried with 2.0.0 and Rust 1.95), so nothing here drives it yet."""
from peers.base import Missing, Peer


class Pmc(Peer):
    name = "pmc"

    @classmethod
    def find(cls, tools):
        raise Missing("'cargo install pmc' (2.0.0) fails: 'time' 0.3.31 of its lock file no longer compiles; without --locked its build script downloads Node")
