"""The supervisors that are measured, one module for each kind. `found` says which of them are to be had here, and why others are not."""
from ground import Failed
from peers.base import Missing
from peers.limit import Hop, Limit, Vfork
from peers.opm import Opm
from peers.oxmgr import Oxmgr
from peers.pipes import Cat, Pump
from peers.pm2 import Pm2
from peers.pmc import Pmc
from peers.runit import Runit
from peers.s6 import S6
from peers.supervisor import Supervisor
from peers.systemd import Systemd

KINDS = {kind.name: kind for kind in (Opm, Limit, Vfork, Hop, Cat, Pump, Pm2, Supervisor, S6, Runit, Systemd, Oxmgr, Pmc)}


def found(names, tools):
    """Those of these that are here or can be brought here, with their versions; and why the others are not."""
    here, missing = {}, {}
    for name in names:
        try:
            here[name] = KINDS[name].find(tools)
        except (Missing, Failed) as why:
            missing[name] = str(why)
    return here, missing
