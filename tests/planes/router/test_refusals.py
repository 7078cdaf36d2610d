"""Every code of every protocol in plain words, with what to do."""

from __future__ import annotations

import re
from ipaddress import IPv4Address

import pytest

from sekimori.model.address import IpProtocol
from sekimori.planes.router.asking import OtherPort, PortTaken, Refusal
from sekimori.planes.router.facts import RouterProtocol
from sekimori.planes.router.meanings import NATPMP_MEANINGS, PCP_MEANINGS, UPNP_MEANINGS
from sekimori.planes.router.refusals import (
    address_doubt,
    kept,
    no_router,
    problem_of,
    silent,
    slow,
)
from sekimori.planes.router.terms import Line, Run
from sekimori.testing.fakerouter import Quirks
from sekimori.wire import natpmp, pcp
from sekimori.wire.igdfaults import Fault
from sekimori.wire.igdservices import WANIP2

from .rig import rigged, wanted
from .test_opening import NATPMP, PCP, UPNP

LINE = Line("eth0", IPv4Address("192.168.1.5"), IPv4Address("192.168.1.1"))
RUNS = (Run(IpProtocol.TCP, 8080, 80), Run(IpProtocol.UDP, 7000, 7000, 11))
JAPANESE = re.compile(r"[ぁ-んァ-ヶ一-龠]")


def test_every_code_has_a_meaning() -> None:
    assert set(PCP_MEANINGS) == {int(each) for each in pcp.Result} - {0}
    assert set(NATPMP_MEANINGS) == {int(each) for each in natpmp.Result} - {0}
    of_pinholes = {701, 702}
    assert set(UPNP_MEANINGS) == {each.code for each in Fault} - of_pinholes
    assert all(Fault.of(code, WANIP2.service_type) for code in UPNP_MEANINGS)


@pytest.mark.parametrize(
    "meaning",
    sorted(
        {*PCP_MEANINGS.values(), *NATPMP_MEANINGS.values(), *UPNP_MEANINGS.values(), "unknown", "not-kept"}
    ),
)
def test_every_meaning_is_said_with_what_to_do_in_both_languages(meaning: str) -> None:
    problem = problem_of(Refusal(RouterProtocol.UPNP, 999, "Odd", meaning), RUNS[0], RUNS, LINE)
    assert (problem.code, problem.exit_code) == ("router-refused", 10)
    assert problem.title().startswith("cannot open tcp/8080 at the router 192.168.1.1: ")
    assert problem.title().endswith("(UPnP 999 Odd)")
    assert "tcp/8080 to 192.168.1.5, port 80" in problem.fix()
    assert "udp/7000-7010 to 192.168.1.5, port 7000-7010" in problem.fix()
    for text in (problem.title("ja"), problem.fix("ja")):
        assert JAPANESE.search(text)
    assert not JAPANESE.search(problem.title() + problem.fix())


def test_the_other_problems() -> None:
    told = [
        problem_of(OtherPort(8081), RUNS[0], RUNS, LINE),
        problem_of(PortTaken("192.168.1.9", 80, "NAS"), RUNS[0], RUNS, LINE),
        no_router(RUNS, LINE),
        silent(RUNS, LINE, "PCP"),
        slow(RUNS, "192.168.1.1", 3.0),
        kept(RUNS, LINE, {"en": "why", "ja": "理由"}),
    ]
    assert [each.code for each in told] == [
        "router-other-port",
        "router-port-taken",
        "no-router",
        "router-silent",
        "router-slow",
        "router-kept",
    ]
    assert all(each.exit_code == 10 and "192.168.1.1" in each.title() for each in told)


def test_a_public_outside_address_is_not_doubted() -> None:
    assert address_doubt(IPv4Address("20.30.40.50")) is None
    assert address_doubt(None) is None


@pytest.mark.parametrize("code", [each for each in PCP_MEANINGS if each not in (1, 2, 3, 4, 5, 6, 9, 12)])
async def test_pcp_refuses(code: int) -> None:
    async with rigged(Quirks(**PCP, refuses=code)) as rig:
        problem = (await rig.put(wanted(1)))["m1"]
        assert f"PCP {code} {pcp.Result(code).name}" in problem.title()  # type: ignore[call-arg]


@pytest.mark.parametrize("code", [1, 2, 9, 12])
async def test_what_is_of_the_protocol_is_told_where_there_is_no_other(code: int) -> None:
    async with rigged(Quirks(**PCP, refuses=code)) as rig:
        assert (await rig.put(wanted(1)))["m1"].code == "router-refused"
        assert rig.table() == {}


async def test_another_nat_between_is_found_out() -> None:
    """The router sees another address than the one we write into the request."""
    async with rigged(Quirks(**PCP, refuses=12)) as rig:
        problem = (await rig.put(wanted(1)))["m1"]
        assert "another NAT stands between" in problem.title()
        assert rig.local in problem.fix()


@pytest.mark.parametrize("code", sorted(set(NATPMP_MEANINGS) - {1}))
async def test_nat_pmp_refuses(code: int) -> None:
    async with rigged(Quirks(**NATPMP, refuses=code)) as rig:
        problem = (await rig.put(wanted(1)))["m1"]
        assert f"NAT-PMP {code} {natpmp.Result(code).name}" in problem.title()


@pytest.mark.parametrize("code", [401, 501, 606, 724, 728, 732, 899])
async def test_upnp_refuses(code: int) -> None:
    async with rigged(Quirks(**UPNP, faults={"AddPortMapping": code})) as rig:
        problem = (await rig.put(wanted(1)))["m1"]
        assert problem.code == "router-refused"
        assert f"UPnP {code} " in problem.title()
