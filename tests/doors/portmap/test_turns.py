"""Who is served when, what is said seldom, and who is let in at all."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable

import pytest

from sekimori.doors.portmap.announcing import announce, pauses
from sekimori.doors.portmap.entrance import is_let_in
from sekimori.doors.portmap.results import natpmp_result, pcp_result
from sekimori.doors.portmap.seldom import Seldom
from sekimori.doors.portmap.turns import Turns
from sekimori.host.lansockets import Datagram
from sekimori.model.network import Lan, Network, Wan
from sekimori.wire import natpmp, pcp


class Works:
    """Requests that end when they are told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    def work(self, name: str) -> Callable[[], Awaitable[None]]:
        gate = self.gates[name] = asyncio.Event()

        async def run() -> None:
            self.begun.append(name)
            await gate.wait()
            self.ended.append(name)

        return run


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_of_one_host_in_order_and_of_two_at_once() -> None:
    works = Works()
    async with asyncio.TaskGroup() as tasks:
        turns = Turns(tasks)
        for host, name in (("a", "a1"), ("a", "a2"), ("b", "b1")):
            assert turns.put(host, name, works.work(name))
        await settle()
        assert works.begun == ["a1", "b1"]
        works.gates["a1"].set()
        await settle()
        assert works.begun == ["a1", "b1", "a2"]
        for gate in works.gates.values():
            gate.set()
    assert works.ended[0] == "a1"
    assert len(turns) == 0


async def test_what_waits_or_is_in_work_is_not_begun_twice() -> None:
    works = Works()
    async with asyncio.TaskGroup() as tasks:
        turns = Turns(tasks)
        for name in ("a1", "a2", "a1", "a2"):
            assert turns.put("a", name, works.work(name) if name not in works.gates else works.work("again"))
            await settle()
        for gate in works.gates.values():
            gate.set()
    assert works.ended == ["a1", "a2"]


async def test_a_host_and_all_hosts_wait_in_bounds() -> None:
    works = Works()
    async with asyncio.TaskGroup() as tasks:
        turns = Turns(tasks, hosts=2, each=3)
        assert [turns.put("a", f"a{n}", works.work(f"a{n}")) for n in range(4)] == [True, True, True, False]
        assert turns.put("b", "b", works.work("b"))
        assert not turns.put("c", "c", works.work("c"))
        for gate in works.gates.values():
            gate.set()
        await settle()
        works.gates.clear()
        assert turns.put("c", "c", works.work("c"))
        works.gates["c"].set()
    assert works.ended[-1] == "c"


async def test_one_that_breaks_takes_nobody_along() -> None:
    done: list[str] = []

    async def breaks() -> None:
        raise RuntimeError("a fault")

    async def works() -> None:
        done.append("done")

    async with asyncio.TaskGroup() as tasks:
        turns = Turns(tasks)
        turns.put("a", 1, breaks)
        turns.put("a", 2, works)
    assert done == ["done"]


def test_a_thing_is_said_once_in_a_while_and_others_meanwhile() -> None:
    seldom = Seldom(60)
    assert [seldom.is_due("a", at) for at in (0, 1, 59, 60, 61)] == [True, False, False, True, False]
    assert seldom.is_due("b", 61)


def test_what_is_remembered_as_said_is_bounded() -> None:
    seldom = Seldom(60)
    assert all(seldom.is_due(each, 0) for each in range(5000))
    assert seldom.is_due(0, 1)
    assert not seldom.is_due(4999, 1)


async def test_an_announcement_is_told_ten_times_and_twice_as_seldom_each_time() -> None:
    waited: list[float] = []
    told: list[float] = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    await announce(lambda: told.append(sum(waited)), pause)
    assert waited == list(pauses()) == [0, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64]
    assert len(told) == 10


@pytest.mark.parametrize(
    ("code", "of_natpmp", "of_pcp", "of_pcp_exact"),
    [
        ("lease-refused", "NOT_AUTHORIZED", "NOT_AUTHORIZED", "NOT_AUTHORIZED"),
        ("lease-nonce", "NOT_AUTHORIZED", "NOT_AUTHORIZED", "NOT_AUTHORIZED"),
        ("lease-paused", "NOT_AUTHORIZED", "NOT_AUTHORIZED", "NOT_AUTHORIZED"),
        ("risk-not-accepted", "NOT_AUTHORIZED", "NOT_AUTHORIZED", "NOT_AUTHORIZED"),
        ("lease-quota", "OUT_OF_RESOURCES", "USER_EX_QUOTA", "USER_EX_QUOTA"),
        ("port-taken", "OUT_OF_RESOURCES", "NO_RESOURCES", "CANNOT_PROVIDE_EXTERNAL"),
        ("no-free-port", "OUT_OF_RESOURCES", "NO_RESOURCES", "CANNOT_PROVIDE_EXTERNAL"),
        ("not-applied", "NETWORK_FAILURE", "NETWORK_FAILURE", "NETWORK_FAILURE"),
    ],
)
def test_each_refusal_has_its_code(code: str, of_natpmp: str, of_pcp: str, of_pcp_exact: str) -> None:
    assert natpmp_result(code) is natpmp.Result[of_natpmp]
    assert pcp_result(code, exact=False) is pcp.Result[of_pcp]
    assert pcp_result(code, exact=True) is pcp.Result[of_pcp_exact]


# -- who is let in -----------------------------------------------------------------------

NETWORK = Network(
    wans=(Wan("wan0", addresses4=(ipaddress.IPv4Address("203.0.113.5"),)),),
    lans=(
        Lan("lan0", (ipaddress.ip_network("192.168.1.0/24"), ipaddress.ip_network("2001:db8:3::/64"))),
        Lan("guest", (ipaddress.ip_network("192.168.2.0/24"),)),
    ),
    own=frozenset(map(ipaddress.ip_address, ("192.168.1.1", "192.168.2.1", "203.0.113.5", "2001:db8:3::1"))),
)


@pytest.mark.parametrize(
    ("source", "destination", "is_in"),
    [
        ("192.168.1.10", "192.168.1.1", True),
        ("192.168.1.10", "192.168.2.1", True),
        ("2001:db8:3::10", "2001:db8:3::1", True),
        ("2001:db8:3::10", "fe80::1", True),
        ("fe80::10", "fe80::1", True),
        ("192.168.2.10", "192.168.1.1", False),  # the guests' network, by this interface
        ("198.51.100.1", "192.168.1.1", False),  # from the internet
        ("203.0.113.9", "192.168.1.1", False),
        ("192.168.1.10", "203.0.113.5", False),  # to the address of the line
        ("192.168.1.10", "192.168.1.255", False),  # to everybody
        ("192.168.1.10", "255.255.255.255", False),
        ("192.168.1.10", "224.0.0.1", False),
        ("fe80::10", "ff02::1", False),
        ("0.0.0.0", "192.168.1.1", False),
        ("224.0.0.1", "192.168.1.1", False),
        ("::", "fe80::1", False),
    ],
)
def test_only_hosts_on_the_link_are_let_in(source: str, destination: str, is_in: bool) -> None:
    here, there = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    scope = 7 if here.is_link_local else 0
    datagram = Datagram(b"", here, 4000, there, 7, scope)
    assert is_let_in(datagram, "lan0", 7, NETWORK) is is_in


def test_a_link_local_address_of_another_link_is_not_let_in() -> None:
    here, there = ipaddress.ip_address("fe80::10"), ipaddress.ip_address("fe80::1")
    assert not is_let_in(Datagram(b"", here, 4000, there, 7, 8), "lan0", 7, NETWORK)
    assert not is_let_in(Datagram(b"", here, 4000, there, 7, 7), "wan0", 7, NETWORK)


def test_a_datagram_without_a_port_to_answer_to_is_not_let_in() -> None:
    here, there = ipaddress.ip_address("192.168.1.10"), ipaddress.ip_address("192.168.1.1")
    assert not is_let_in(Datagram(b"", here, 0, there, 7), "lan0", 7, NETWORK)
