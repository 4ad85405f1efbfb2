"""The figures of the benchmark, by the letters under which they are asked for.

Each scenario is a function of a `Seat`: one peer on a ground of its own. It tells each value as soon as it has it, so that
a peer that fails or is too slow later on keeps what it has shown.
"""
from probe import Stamps
from peers.base import App


class Seat:
    def __init__(self, args, tools, kind, size, ground, tell):
        self.args, self.tools, self.ground, self.size, self._tell = args, tools, ground, size, tell
        self.stamps = Stamps(ground.folder)
        self.peer = kind(tools, ground, self.stamps)

    def add(self, figure, what, unit, *values, apps=None):
        self._tell(figure=figure, what=what, unit=unit, apps=apps, values=values)

    def note(self, figure, what, why, apps=None):
        self._tell(figure=figure, what=what, apps=apps, note=str(why))

    def wants(self, *letters):
        return bool(set(letters) & set(self.args.only))

    def app(self, name, *how, **kind):
        return App(name, [self.tools.sleeper, self.stamps.path, name, *how], **kind)

    def apps(self, *how):
        return [self.app(f"app{n}", *how) for n in range(self.size)]
