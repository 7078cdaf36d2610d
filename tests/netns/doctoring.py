"""A gateway with a forward like ours made by hand, and other firewalls beside it."""

from __future__ import annotations

import ipaddress
import shutil
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sekimori.model.address import IPAddress, parse_ports
from sekimori.model.lifetime import Asked, Lifetime
from sekimori.model.mapping import Hop, Owner
from sekimori.model.mapping import Mapping as Opening
from sekimori.model.network import Lan, Network, Wan
from sekimori.model.source import Sources
from sekimori.model.target import pair_ports, parse_target
from sekimori.observe.diagnose.doctor import diagnose
from sekimori.observe.diagnose.facts import list_with_nft, read_machine
from sekimori.observe.diagnose.findings import Finding
from sekimori.observe.diagnose.remedy import Result
from sekimori.testing.netlab import HomeNetwork, Host, Lab, home_network, why_not
from sekimori.testing.peers import TcpEcho

WAN, LAN = "isp", "home"
OURS = f"""
table inet sekimori {{
  map fwd4 {{ type inet_proto . inet_service : ipv4_addr . inet_service
    elements = {{ tcp . 8080 : {HomeNetwork.SERVER[0]} . 80 }} }}
  chain dstnat {{ type nat hook prerouting priority -101; policy accept
    ip daddr {HomeNetwork.GATEWAY[0]} dnat ip to meta l4proto . th dport map @fwd4
  }}
}}
"""
"""What this program's own table does, in short: tcp/8080 outside leads to the server's port 80."""

OUTSIDE, INSIDE = 8080, 80
QUICK = 0.8
"""Seconds in which a packet that is let through is answered here, and a dropped one is not."""


@dataclass
class NamespaceHands:
    """A remedy's hands in a host of the lab."""

    host: Host
    env: Sequence[str] = ()
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, command: Sequence[str]) -> Result:
        self.ran.append(tuple(command))
        done = self.host.run(["env", *self.env, *command], check=False)
        return Result(done.returncode, done.stdout + done.stderr)

    def read(self, path: str) -> str | None:
        done = self.host.run(["cat", path], check=False)
        return done.stdout if done.returncode == 0 else None

    def write(self, path: str, text: str | None) -> None:
        if text is None:
            self.host.run(["rm", path])
        else:
            self.host.run(["mkdir", "-p", str(Path(path).parent)])
            self.host.run(["tee", path], text=text)


@dataclass
class Scene:
    """The network, a server that answers on it, and questions to the doctor."""

    net: HomeNetwork

    def nft(self, text: str) -> None:
        done = self.net.gateway.run(["nft", "-f", "-"], text=text, check=False)
        assert done.returncode == 0, f"{done.stderr}\n{text}"

    def iptables(self, *rules: str, tool: str = "iptables") -> None:
        for rule in rules:
            self.net.gateway.run([tool, *rule.split()])

    def reaches(self, address: str = HomeNetwork.GATEWAY[0], port: int = OUTSIDE) -> bool:
        """Whether the visitor gets an answer, and not a refusal or nothing."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def connect() -> bool:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.settimeout(QUICK)
                try:
                    sock.connect((address, port))
                    return sock.recv(5) == b"hello"
                except OSError:
                    return False

        return self.net.visitor.call(connect)

    def doctor(
        self,
        to: str = f"{HomeNetwork.SERVER[0]}:{INSIDE}",
        ports: str = f"tcp/{OUTSIDE}",
        plane: str = "kernel",
    ) -> list[Finding]:
        """What the doctor says of a mapping here."""
        machine = self.net.gateway.call(lambda: read_machine(list_with_nft, [WAN, LAN]))
        mapping = opening(to, ports, plane)
        target = mapping.target.address
        return diagnose(mapping, [] if target is None else [target], self.network(), machine)

    def network(self) -> Network:
        outside = [addresses(HomeNetwork.GATEWAY[i], HomeNetwork.GATEWAY_TOO[i]) for i in (0, 1)]
        inside = addresses(*HomeNetwork.GATEWAY_INSIDE)
        prefixes = (ipaddress.ip_network("192.168.1.0/24"), ipaddress.ip_network("2001:db8:3::/64"))
        return Network(
            wans=(Wan(WAN, outside[0], outside[1], has4=True, has6=True),),  # type: ignore[arg-type]
            lans=(Lan(LAN, prefixes, inside),),
            forwarding4=True,
            forwarding6=True,
            own=frozenset([*outside[0], *outside[1], *inside]),
        )


def addresses(*texts: str) -> tuple[IPAddress, ...]:
    return tuple(map(ipaddress.ip_address, texts))


def opening(to: str, ports: str, plane: str) -> Opening:
    target, inside = parse_target(to)
    return Opening(
        id="m1",
        name="web",
        owner=Owner.parse("person:root"),
        ports=pair_ports(parse_ports(ports), inside, to),
        target=target,
        sources=Sources(anyone=True),
        lifetime=Lifetime(Asked.PERMANENT, "", None),
        path=(Hop(plane),),
    )


def codes(findings: Iterable[Finding]) -> list[str]:
    return [each.code for each in findings]


def only(findings: Sequence[Finding]) -> Finding:
    assert len(findings) == 1, [each.title["en"] for each in findings]
    return findings[0]


def need(*programs: str) -> None:
    missing = [each for each in programs if shutil.which(each) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


@pytest.fixture(scope="module")
def built() -> Iterator[HomeNetwork]:
    why = why_not()
    if why is not None:
        pytest.skip(why)
    need("nft", "iptables")
    with Lab() as lab:
        net = home_network(lab)
        bridge_netfilter(net.gateway, on=False)
        servers = [
            net.server.call(lambda address=address: TcpEcho(address, INSIDE, b"hello"))  # type: ignore[misc]
            for address in HomeNetwork.SERVER
        ]
        yield net
        for server in servers:
            server.close()


@pytest.fixture
def scene(built: HomeNetwork) -> Iterator[Scene]:
    """A gateway with our forward and nothing else."""
    made = Scene(built)
    made.nft(OURS)
    yield made
    built.gateway.run(["nft", "flush", "ruleset"])


def bridge_netfilter(host: Host, *, on: bool) -> None:
    """Whether bridged packets go through the packet filter; a kernel with br_netfilter has it on."""
    if Path("/proc/sys/net/bridge").exists():
        host.sysctl(**{f"bridge__bridge-nf-call-{each}": int(on) for each in ("iptables", "ip6tables")})


def etc_of(host: Host, *names: str) -> None:
    """Give a host its own copy of directories of /etc; `ip netns exec` puts them in place (ip-netns(8))."""
    for name in names:
        shutil.copytree(Path("/etc", name), Path("/etc/netns", host.netns, name), dirs_exist_ok=True)
