"""The line as it is found behind real NATs and firewalls, by coturn and by a server of our own."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import uvloop

from sekimori.host.clock import SystemClock
from sekimori.host.links import read_facts
from sekimori.host.resolver import SystemResolver
from sekimori.model.behaviour import Behaviour, Endpoint, FilteringBehaviour, MappingBehaviour
from sekimori.model.line import Answer, FactName, Line
from sekimori.model.linesettings import LineSettings
from sekimori.model.linesettings import StunServer as Named
from sekimori.model.network import Network, find_roles
from sekimori.observe.line.looking import ask_servers
from sekimori.observe.line.observer import LineObserver
from sekimori.testing.netlab import Host, Lab, why_not
from sekimori.testing.peers import eventually
from sekimori.testing.stunserver import Manner, StunServer
from sekimori.wire.natbehaviour import Timing

pytestmark = pytest.mark.netns

SERVER, SERVER_TOO = "203.0.113.10", "203.0.113.11"
OUTSIDE = "203.0.113.2"
BOX = "192.168.50.2"
QUICK = Timing(first=0.1, times=3, last=0.3)
M, F = MappingBehaviour, FilteringBehaviour

MASQUERADE = "chain out {{ type nat hook postrouting priority 100; oifname server masquerade {how}; }}"
TO_BOX = (
    f"chain in {{ type nat hook prerouting priority -100; iifname server meta l4proto udp dnat to {BOX}; }}"
)
FIREWALL = """
chain forward { type filter hook forward priority 0; iifname server ct state new drop; }
chain input { type filter hook input priority 0; iifname server ct state new drop; }
"""


@dataclass(frozen=True)
class Net:
    """`server - router - box`: the server has two addresses on the internet, the router one."""

    server: Host
    router: Host
    box: Host

    def rules(self, *chains: str) -> None:
        """Have the router translate and filter so, and forget its flows."""
        text = "table ip line {}\ndelete table ip line\ntable ip line {\n" + "\n".join(chains) + "\n}\n"
        self.router.run(["nft", "-f", "-"], text=text)

    def look(self, server: Endpoint) -> Behaviour:
        """From the box, under the loop that the daemon runs on."""

        def run() -> Behaviour:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(ask_servers(ipaddress.ip_address(BOX), "router", [server], QUICK))

        return self.box.call(run)


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    why = why_not()
    if why is not None:
        pytest.skip(why)
    with Lab() as lab:
        found = Net(*map(lab.host, ("server", "router", "box")))
        lab.cable(found.server, found.router)
        lab.cable(found.router, found.box)
        found.server.address("router", f"{SERVER}/24", f"{SERVER_TOO}/24")
        found.router.address("server", f"{OUTSIDE}/24")
        found.router.address("box", "192.168.50.1/24")
        found.box.address("router", f"{BOX}/24")
        found.box.route("192.168.50.1")
        found.server.route(OUTSIDE, "192.168.50.0/24")
        found.router.forward()
        yield found


@contextlib.contextmanager
def coturn(net: Net, *options: str) -> Iterator[Endpoint]:
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("needs turnserver (Debian package coturn)")
    words = "-n --no-cli --no-tls --no-dtls --no-auth --stun-only -l stdout --pidfile /dev/null --userdb"
    listen = ["/dev/null", "--listening-ip", SERVER, "--listening-ip", SERVER_TOO]
    ports = {f"{each}:3478" for each in (SERVER, SERVER_TOO)}
    if not options:
        ports |= {f"{each}:3479" for each in (SERVER, SERVER_TOO)}
    with net.server.running([program, *words.split(), *listen, *options], stdout=-3, stderr=-3):
        eventually(lambda: ports <= set(_listening(net).split()))
        yield Endpoint(ipaddress.ip_address(SERVER), 3478)


def _listening(net: Net) -> str:
    return net.server.run(["ss", "-Hlun"]).stdout


@contextlib.contextmanager
def own(net: Net, manner: Manner = Manner.HONEST) -> Iterator[Endpoint]:
    server = net.server.call(lambda: StunServer(SERVER, SERVER_TOO, manner))
    with server:
        yield server.endpoint


KINDS = [
    pytest.param((), M.UNTRANSLATED, F.ENDPOINT_INDEPENDENT, id="nothing"),
    pytest.param((FIREWALL,), M.UNTRANSLATED, F.ADDRESS_AND_PORT_DEPENDENT, id="firewall"),
    pytest.param(
        (MASQUERADE.format(how=""),), M.ENDPOINT_INDEPENDENT, F.ADDRESS_AND_PORT_DEPENDENT, id="nat-alone"
    ),
    pytest.param(
        (MASQUERADE.format(how=""), FIREWALL),
        M.ENDPOINT_INDEPENDENT,
        F.ADDRESS_AND_PORT_DEPENDENT,
        id="nat-and-firewall",
    ),
    pytest.param(
        (MASQUERADE.format(how=""), TO_BOX), M.ENDPOINT_INDEPENDENT, F.ENDPOINT_INDEPENDENT, id="dmz-host"
    ),
    pytest.param(
        (MASQUERADE.format(how="fully-random"),), M.ADDRESS_AND_PORT_DEPENDENT, F.UNKNOWN, id="random-ports"
    ),
]


@pytest.mark.parametrize("serve", [coturn, own])
@pytest.mark.parametrize(("chains", "mapping", "filtering"), KINDS)
def test_what_linux_does_on_the_way_is_found_out(
    net: Net,
    serve: Callable[[Net], contextlib.AbstractContextManager[Endpoint]],
    chains: tuple[str, ...],
    mapping: MappingBehaviour,
    filtering: FilteringBehaviour,
) -> None:
    net.rules(*chains)
    with serve(net) as server:
        found = net.look(server)
    assert (found.mapping, found.filtering) == (mapping, filtering)
    assert found.mapped is not None
    assert str(found.mapped.address) == (BOX if mapping is M.UNTRANSLATED else OUTSIDE)


def test_coturn_without_rfc_5780_tells_the_address_and_no_more(net: Net) -> None:
    net.rules(MASQUERADE.format(how=""))
    with coturn(net, "--no-rfc5780") as server:
        found = net.look(server)
    assert (found.mapping, found.filtering) == (M.UNKNOWN, F.UNKNOWN)
    assert found.mapped is not None
    assert str(found.mapped.address) == OUTSIDE


def test_a_server_that_lies_is_not_believed(net: Net) -> None:
    net.rules(MASQUERADE.format(how=""))
    with own(net, Manner.LIES) as server:
        found = net.look(server)
    assert (found.mapping, found.filtering) == (M.ENDPOINT_INDEPENDENT, F.UNKNOWN)


def test_the_observer_on_a_machine_behind_a_router(net: Net) -> None:
    """From the facts of the kernel to the line, with nothing in between made up."""
    net.rules(MASQUERADE.format(how=""))
    with own(net) as server:

        async def observe(network: Network) -> Line:
            observer = LineObserver(
                settings=LineSettings(stun=(Named(SERVER, server.port),)),
                network=lambda: network,
                resolver=SystemResolver(),
                clock=SystemClock(),
                timing=QUICK,
            )
            await observer.look()
            return observer.line()

        line = net.box.call(lambda: asyncio.run(observe(find_roles(read_facts()))))
    assert line.interface == "router"
    assert str(line.public4) == OUTSIDE
    assert {each.name: str(each.value) for each in line.facts} == {
        FactName.WAN4: "private",
        FactName.SECOND_ROUTER: "yes",
        FactName.CGNAT: "unknown",
        FactName.PUBLIC4: OUTSIDE,
        FactName.NAT_MAPPING: "endpoint-independent",
        FactName.NAT_FILTERING: "address-and-port-dependent",
        FactName.GLOBAL6: "none",
        FactName.INBOUND4: "unknown",
        FactName.INBOUND6: "no",
    }
    assert line.inbound4.answer is Answer.UNKNOWN
