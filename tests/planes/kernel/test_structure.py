"""The table's structure: nftables takes it for every kind of network, again and again, and as it changes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sekimori.model.gateway import Ban, Gateway
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.network import Network, Wan
from sekimori.model.source import LAN_PREFIXES, parse_prefix
from sekimori.planes.kernel.frame import Frame, scope_of
from sekimori.planes.kernel.policies import sources_policy
from sekimori.planes.kernel.stock import _fill_timeouts
from sekimori.planes.kernel.structure import (
    GATEWAY_CHAIN,
    HOOKS,
    chain_names,
    hooked,
    keeper_text,
    structure_text,
)
from sekimori.testing.netlab import Host, Lab, why_not

from .tracked import NETWORK, NOW

OWNER = Owner(OwnerKind.PERSON, "test")
NUMBERS = (("wan0", 1), ("wan1", 2))
SCOPES = (scope_of(NETWORK.wans[0].addresses4[0]), scope_of(NETWORK.wans[0].addresses6[0]))
BANS = tuple(
    Ban(prefix=parse_prefix(text), owner=OWNER, expires_at=end)
    for text, end in (("10.0.0.0/8", NOW + 5), ("10.1.0.0/16", None), ("2001:db8:9::/48", NOW + 9))
)
GATEWAY = Gateway(owner=OWNER, masquerade=True, firewall=True)
FRAMES = {
    "nothing": Frame(Network()),
    "two lines": Frame(NETWORK, None, (), (), NUMBERS),
    "one line": Frame(replace(NETWORK, wans=NETWORK.wans[:1]), None, (), (), NUMBERS[:1]),
    "scopes": Frame(NETWORK, None, (), SCOPES, NUMBERS),
    "gateway": Frame(NETWORK, GATEWAY, (), SCOPES, NUMBERS),
    "no firewall": Frame(NETWORK, replace(GATEWAY, firewall=False), (), (), NUMBERS),
    "bans": Frame(NETWORK, None, BANS, (), NUMBERS),
    "all": Frame(NETWORK, GATEWAY, BANS, SCOPES, NUMBERS),
}


@pytest.fixture(scope="module")
def box() -> Iterator[Host]:
    why = why_not() or (None if shutil.which("nft") else "needs nft")
    if why is not None:
        pytest.skip(why)
    with Lab() as lab:
        yield lab.host("box")


def load(box: Host, frame: Frame) -> None:
    text = f"add table inet sekimori\n{sources_policy(LAN_PREFIXES).text}{structure_text(frame)}"
    box.run(["nft", "-f", "-"], text=_fill_timeouts(text, NOW))


def listed(box: Host) -> str:
    return box.run(["nft", "-s", "list", "table", "inet", "sekimori"]).stdout


@pytest.mark.netns
@pytest.mark.parametrize("name", FRAMES)
def test_the_same_text_makes_the_table_and_leaves_it_as_it_is(box: Host, name: str) -> None:
    box.run(["nft", "flush", "ruleset"])
    frame = FRAMES[name]
    load(box, frame)
    before = listed(box)
    for chain in chain_names(frame):
        assert f"chain {chain} {{" in before, chain
    load(box, frame)
    assert _timeless(listed(box)) == _timeless(before)
    assert (f"chain {GATEWAY_CHAIN} " in before) == (frame.gateway is not None)


@pytest.mark.netns
def test_every_frame_can_follow_every_other_and_elements_stay(box: Host) -> None:
    box.run(["nft", "flush", "ruleset"])
    load(box, FRAMES["nothing"])
    box.run(["nft", "add element inet sekimori fwd4_all { tcp . 80 : 192.168.1.10 . 80 }"])
    for one in FRAMES.values():
        for other in FRAMES.values():
            load(box, one)
            load(box, other)
    assert (
        "tcp . 80 counter packets 0 bytes 0 : 192.168.1.10 . 80"
        in box.run(["nft", "list", "map", "inet", "sekimori", "fwd4_all"]).stdout
    )


@pytest.mark.netns
def test_bans_of_different_lengths_stand_beside_each_other(box: Host) -> None:
    box.run(["nft", "flush", "ruleset"])
    load(box, FRAMES["bans"])
    elements = box.run(["nft", "list", "set", "inet", "sekimori", "bans4"]).stdout
    assert "10.1.0.0/16," in elements or "10.1.0.0/16 " in elements
    assert "10.1.0.0/16 timeout" not in elements
    assert "10.0.0.0/16 timeout 5s" in elements
    assert "10.128.0.0/9 timeout 5s" in elements


@pytest.mark.netns
def test_the_keeper_s_text_is_taken(box: Host) -> None:
    text = keeper_text("sekimori_keeper")
    box.run(["nft", "-c", "-f", "-"], text=text)


NAT = {"dstnat", "dstnat_out", "srcnat"}
ONE_LINE = Network((Wan("wan0", NETWORK.wans[0].addresses4[:1]),), NETWORK.lans[:1])


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (Frame(ONE_LINE, used=frozenset()), set()),
        (Frame(ONE_LINE, used=frozenset({"in_all", "fwd4_all"})), set()),
        (Frame(ONE_LINE, used=frozenset({"in_all", "fwd4_all", "out_all"})), {"outbound"}),
        (Frame(ONE_LINE, used=frozenset({"hole", "holeout"})), {"outbound"}),
        (Frame(ONE_LINE, used=frozenset({"trig_all"})), {"forward"}),
        (Frame(ONE_LINE, bans=BANS[:1], used=frozenset()), {"guard"}),
        (Frame(ONE_LINE, GATEWAY, used=frozenset()), {"forward", "input"}),
        (Frame(ONE_LINE, replace(GATEWAY, firewall=False), used=frozenset()), set()),
        (Frame(ONE_LINE, pptp=True, used=frozenset()), {"helpers"}),
        (Frame(NETWORK, numbers=NUMBERS, used=frozenset()), {"wanmark", "wanmark_out"}),
        (Frame(NETWORK, GATEWAY, BANS, SCOPES, NUMBERS, pptp=True), set(HOOKS)),
    ],
    ids=(
        "nothing",
        "in",
        "in and out",
        "pinholes",
        "trigger",
        "bans",
        "firewall",
        "gateway",
        "pptp",
        "two lines",
        "everything",
    ),
)
def test_only_what_has_something_to_do_is_hooked(frame: Frame, expected: set[str]) -> None:
    always = NAT | {"inbound", "ended_out"}
    assert hooked(frame).keys() == always | expected


def test_what_there_is_one_of_is_compared_and_not_looked_up() -> None:
    one, two = structure_text(Frame(ONE_LINE)), structure_text(Frame(NETWORK, numbers=NUMBERS))
    address = ONE_LINE.wans[0].addresses4[0]
    for chain, side, verb, leads_to in (
        ("inbound", "daddr", "goto", "standw"),
        ("newcomers", "daddr", "goto", "inw"),
        ("newcomers", "daddr", "jump", "gatew"),
        ("dstnat", "daddr", "goto", "natw"),
        ("dstnat_out", "daddr", "goto", "natw"),
        ("outbound", "saddr", "goto", "outw"),
    ):
        standing = "ct status confirmed " if leads_to == "standw" else ""
        rule = f"add rule inet sekimori {chain}"
        assert f"{rule} ip {side} {address} {standing}{verb} {leads_to}_all\n" in one
        assert not re.search(rf"{rule} ip6 {side} \S+ .*{leads_to}", one)
        assert f"{rule} {standing}ip {side} vmap @{leads_to}4\n" in two
    assert 'oifname "wan0"' in one
    assert "oifname @wan" in two


@pytest.mark.netns
def test_one_address_may_become_another_or_several(box: Host) -> None:
    box.run(["nft", "flush ruleset"])
    other = Network((replace(ONE_LINE.wans[0], addresses4=NETWORK.wans[0].addresses4[1:]),), NETWORK.lans[:1])
    for network in (ONE_LINE, other, NETWORK, ONE_LINE):
        load(box, Frame(network, numbers=NUMBERS[: len(network.wans)]))
        found = set(re.findall(r"ip daddr (\S+) ct status confirmed goto standw_all", listed(box)))
        assert found == ({str(network.wans[0].addresses4[0])} if network is not NETWORK else set())


def _timeless(text: str) -> list[str]:
    return [line.partition(" expires")[0] for line in text.splitlines()]
