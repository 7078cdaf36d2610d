"""The page on the kernel's table tells its chains, sets, labels and marks as the program makes them."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network

from sekimori.host.policyroute import FIRST_TABLE, PROTOCOL
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.network import HIGHEST_WAN_INDEX, MARK_MASK, Network, Wan
from sekimori.planes.kernel.frame import DMZ_LABEL, FORWARD_LABEL, PERMIT_LABEL, Frame
from sekimori.planes.kernel.sets import GLOBAL_SETS, SCOPE_SETS, SetKind
from sekimori.planes.kernel.structure import structure_text
from sekimori.planes.kernel.table import KEEPER
from tests.docs.documents import ROOT

ROOT_USER = Owner(OwnerKind.PERSON, "root")
LINES = tuple(Wan(f"wan{index}", (IPv4Address(f"203.0.113.{index}"),)) for index in (1, 2))
BAN = Ban(prefix=IPv4Network("198.51.100.0/24"), owner=ROOT_USER)
TEXT = structure_text(
    Frame(
        Network(LINES),
        Gateway(owner=ROOT_USER, firewall=True),
        (BAN,),
        (),
        (("wan1", 1), ("wan2", 2)),
        pptp=True,
    )
)
"""Of a machine where every hook has something to do."""
_HOOK = re.compile(
    r"add chain inet sekimori (\w+) \{ type (\w+) hook (\w+) priority (-?\d+) ; policy accept ; \}"
)


def _page(language: str) -> str:
    return (ROOT / "docs" / language / "reference" / "kernel-table.md").read_text(encoding="utf-8")


def _rows(language: str, columns: int) -> dict[str, list[str]]:
    """The rows of all tables with so many columns, by the word in their first cell."""
    found: dict[str, list[str]] = {}
    for line in _page(language).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = re.fullmatch(r"`(\w+)`", cells[0])
        if line.startswith("|") and len(cells) == columns and name:
            found[name[1]] = cells[1:]
    return found


def test_every_chain_with_a_hook_is_told(language):
    made = {name: [kind, hook, priority] for name, kind, hook, priority in _HOOK.findall(TEXT)}
    assert len(made) > 10
    assert {name: cells[:3] for name, cells in _rows(language, 5).items()} == made


def _told(kind: SetKind) -> list[str]:
    return [
        kind.key,
        kind.value or "",
        "interval" if kind.interval else "hash",
        "timeout" if kind.expires else "",
    ]


def test_every_set_is_told_with_its_types(language):
    told = {name: cells[:4] for name, cells in _rows(language, 6).items()}
    assert told == {name: _told(kind) for name, kind in {**SCOPE_SETS, **GLOBAL_SETS}.items()}


def test_every_other_set_and_chain_is_told(language):
    page = _page(language)
    sets = set(re.findall(r"add (?:set|map) inet sekimori (\w+)", TEXT))
    made = {*SCOPE_SETS, *GLOBAL_SETS}
    others = {name.rstrip("46") for name in sets if name.removesuffix("_all") not in made}
    assert others >= {"bans", "lan", "wan", "natw"}
    for name in others:
        assert re.search(rf"`{name}[46]?`", page), name
    for name in ("src_lan", "triggers", "gateway", KEEPER):
        assert name in page


def test_numbers_are_those_of_the_program(language):
    page = _page(language)
    for label in (FORWARD_LABEL, PERMIT_LABEL, DMZ_LABEL):
        assert re.search(rf"^\| (label|ラベル) {label} \|", page, re.MULTILINE)
    assert f"`{MARK_MASK:#010x}`" in page
    assert f"{FIRST_TABLE + 1}" in page
    assert f"{FIRST_TABLE + HIGHEST_WAN_INDEX}" in page
    assert f"| {PROTOCOL} |" in page
