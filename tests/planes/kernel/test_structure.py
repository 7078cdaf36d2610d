"""The table's structure: nftables takes it for every kind of network, again and again, and as it changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sekimori.model.gateway import Ban, Gateway
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.network import Network
from sekimori.model.source import LAN_PREFIXES, parse_prefix
from sekimori.planes.kernel.frame import Frame, scope_of
from sekimori.planes.kernel.policies import sources_policy
from sekimori.planes.kernel.stock import _fill_timeouts
from sekimori.planes.kernel.structure import GATEWAY_CHAIN, chain_names, keeper_text, structure_text
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


def _timeless(text: str) -> list[str]:
    return [line.partition(" expires")[0] for line in text.splitlines()]
