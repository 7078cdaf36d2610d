"""A machine behind a router, Debian's miniupnpd, which really translates; and a host on the internet."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from sekimori.model.network import Network, Wan
from sekimori.testing.netlab import Host, Lab, why_not
from sekimori.testing.peers import eventually

VISITOR, OUTSIDE = "20.30.40.1", "20.30.40.2"
INSIDE, MACHINE, MACHINE_TOO = "192.168.50.1", "192.168.50.2", "192.168.50.3"
PORT = 5351

_RULESET = """
flush ruleset
table inet filter {
  chain input { type filter hook input priority 0; }
  chain forward {
    type filter hook forward priority 0; policy drop
    ct state established,related accept
    iifname "machine" accept
    jump miniupnpd
  }
  chain miniupnpd { }
}
table inet nat {
  chain prerouting { type nat hook prerouting priority -100; jump miniupnpd_in; }
  chain miniupnpd_in { }
  chain postrouting {
    type nat hook postrouting priority 100
    oifname "visitor" masquerade
    jump miniupnpd_out
  }
  chain miniupnpd_out { }
}
"""
_WITHOUT_PCP = "add rule inet filter input udp dport 5351 @th,64,8 2 drop\n"
"""Its configuration has one word for NAT-PMP and PCP; the version tells them apart."""
_CONFIG = """
ext_ifname=visitor
listening_ip=machine
http_port=0
enable_natpmp={portmap}
enable_upnp={upnp}
secure_mode=yes
system_uptime=no
notify_interval=60
uuid=6f1d7bd4-4a4b-4b0e-8c55-5f4a1e5a2c11
upnp_table_name=filter
upnp_nat_table_name=nat
upnp_forward_chain=miniupnpd
upnp_nat_chain=miniupnpd_in
upnp_nat_postrouting_chain=miniupnpd_out
{more}
allow 1-65535 192.168.50.0/24 1-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


def why_no_miniupnpd() -> str | None:
    """Why there is no such router here; None when there can be one."""
    missing = next((each for each in ("miniupnpd", "nft") if shutil.which(each) is None), None)
    return why_not() or (None if missing is None else f"needs {missing}")


@dataclass
class AboveHome:
    """`visitor - router - machine`."""

    lab: Lab
    visitor: Host
    router: Host
    machine: Host

    def network(self, *addresses: str) -> Network:
        """The machine's place, as its roles would be found."""
        own = tuple(map(IPv4Address, addresses or (MACHINE,)))
        wan = Wan("router", own, gateway4=IPv4Address(INSIDE), has4=True)
        return Network((wan,), own=frozenset(own))

    @contextlib.contextmanager
    def miniupnpd(self, directory: Path, protocol: str, more: str = "") -> Iterator[subprocess.Popen[Any]]:
        """The router's daemon, which speaks one protocol only, with nothing mapped."""
        self.router.run(["nft", "-f", "-"], text=_RULESET + (_WITHOUT_PCP if protocol == "natpmp" else ""))
        config = directory / "miniupnpd.conf"
        portmap, upnp = ("no", "yes") if protocol == "upnp" else ("yes", "no")
        config.write_text(_CONFIG.format(portmap=portmap, upnp=upnp, more=more))
        log = directory / "miniupnpd.log"
        command = ["miniupnpd", "-d", "-f", str(config), "-P", str(directory / "miniupnpd.pid")]
        with (
            log.open("w") as output,
            self.router.running(command, stdout=output, stderr=subprocess.STDOUT) as child,
        ):
            eventually(lambda: "Listening for NAT" in log.read_text() or "HTTP listening" in log.read_text())
            yield child

    def mapped(self) -> str:
        """The rules of what is mapped."""
        return self.router.run(["nft", "list", "chain", "inet", "nat", "miniupnpd_in"]).stdout

    def let_in(self) -> str:
        """The rules that let in what is mapped, which it makes after those."""
        return self.router.run(["nft", "list", "chain", "inet", "filter", "miniupnpd"]).stdout


@contextlib.contextmanager
def above_home() -> Iterator[AboveHome]:
    """Build it."""
    with Lab() as lab:
        net = AboveHome(lab, lab.host("visitor"), lab.host("router"), lab.host("machine"))
        lab.cable(net.visitor, net.router)
        lab.cable(net.machine, net.router)
        net.router.forward()
        net.visitor.address("router", f"{VISITOR}/24")
        net.router.address("visitor", f"{OUTSIDE}/24")
        net.router.address("machine", f"{INSIDE}/24")
        net.router.route(VISITOR)
        net.machine.address("router", f"{MACHINE}/24")
        net.machine.route(INSIDE)
        yield net
