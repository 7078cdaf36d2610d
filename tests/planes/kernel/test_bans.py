"""Bans within bans: every address is kept out until the last of its bans ends, by prefixes that lie apart."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.gateway import Ban
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.planes.kernel.bans import keep_apart

OWNER = Owner(OwnerKind.PERSON, "test")


def ban(text: str, until: int | None) -> Ban:
    return Ban(prefix=ipaddress.ip_network(text), owner=OWNER, expires_at=until)


def kept(*bans: Ban, family: int = 4) -> dict[str, int | None]:
    return {str(each.prefix): each.until for each in keep_apart(bans, family)}


@pytest.mark.parametrize(
    ("bans", "expected"),
    [
        ({}, {}),
        ({"10.0.0.0/8": None}, {"10.0.0.0/8": None}),
        ({"10.0.0.0/8": None, "10.1.0.0/16": 5}, {"10.0.0.0/8": None}),
        ({"10.0.0.0/8": 9, "10.1.0.0/16": 5}, {"10.0.0.0/8": 9}),
        ({"10.0.0.0/8": 9, "10.1.0.0/16": 9}, {"10.0.0.0/8": 9}),
        ({"10.0.0.0/30": 9, "10.0.0.0/32": None}, {"10.0.0.0/32": None, "10.0.0.1/32": 9, "10.0.0.2/31": 9}),
        ({"10.0.0.0/31": 9, "10.0.0.0/32": 10, "10.0.0.1/32": 11}, {"10.0.0.0/32": 10, "10.0.0.1/32": 11}),
        ({"10.0.0.0/25": None, "10.0.0.128/25": 9}, {"10.0.0.0/25": None, "10.0.0.128/25": 9}),
        ({"2001:db8::/32": 9}, {}),
    ],
    ids=str,
)
def test_nested_bans(bans: dict[str, int | None], expected: dict[str, int | None]) -> None:
    assert kept(*(ban(text, until) for text, until in bans.items())) == expected


def test_families_are_apart() -> None:
    both = ban("10.0.0.0/8", None), ban("2001:db8::/32", 9)
    assert kept(*both) == {"10.0.0.0/8": None}
    assert kept(*both, family=6) == {"2001:db8::/32": 9}


SPACE = 6
"""Bits of the addresses that are tried."""
ENDS = st.one_of(st.none(), st.integers(1, 5))
NETWORKS = st.integers(0, SPACE).flatmap(
    lambda bits: st.integers(0, 2 ** (SPACE - bits) - 1).map(
        lambda number: ipaddress.IPv4Network(((10 << 24) + (number << bits), 32 - bits))
    )
)


@given(st.dictionaries(NETWORKS, ENDS, max_size=12))
def test_every_address_is_kept_out_until_its_last_ban_ends(
    bans: dict[ipaddress.IPv4Network, int | None],
) -> None:
    found = list(
        keep_apart((Ban(prefix=prefix, owner=OWNER, expires_at=end) for prefix, end in bans.items()), 4)
    )
    for number in range(2**SPACE):
        address = ipaddress.IPv4Address((10 << 24) + number)
        ends = [end for prefix, end in bans.items() if address in prefix]
        covering = [each.until for each in found if address in each.prefix]
        last = None if None in ends else max((end for end in ends if end), default=None)
        assert covering == ([last] if ends else [])
