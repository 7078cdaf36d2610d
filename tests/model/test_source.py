"""Who may come in."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.address import IPNetwork
from sekimori.model.errors import Problem
from sekimori.model.source import LAN_PREFIXES, Sources, parse_prefix
from sekimori.testing.strategies import sources

NETS: dict[str, tuple[IPNetwork, ...]] = {"office": (ipaddress.ip_network("198.51.100.0/24"),)}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("198.51.100.0/24", "198.51.100.0/24"),
        ("198.51.100.7", "198.51.100.7/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("lan", "lan"),
        ("LAN , Office", "lan,office"),
        ("office,198.51.100.7,office", "198.51.100.7/32,office"),
        ("10.0.0.0/8,9.0.0.0/8", "9.0.0.0/8,10.0.0.0/8"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("anyone", "anyone"),
        ("Anyone", "anyone"),
        ("0.0.0.0/0,::/0", "anyone"),
        ("anyone,::/0", "anyone"),
        ("::ffff:0:0/96,::/0", "anyone"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("0.0.0.0/0,office", "0.0.0.0/0,office"),
    ],
)
def test_sources_are_read(text: str, shown: str) -> None:
    read = Sources.parse(text)
    assert str(read) == shown
    assert Sources.parse(shown) == read


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it names nobody"),
        (" , ", "it names nobody"),
        ("198.51.100.1/24", "it has bits beyond its prefix; write 198.51.100.0/24 or 198.51.100.1"),
        ("2001:db8::1/64", "it has bits beyond its prefix; write 2001:db8::/64 or 2001:db8::1"),
        ("198.51.100.0/33", "it is neither a prefix nor the name of a list"),
        ("198.51.100", "it is neither a prefix nor the name of a list"),
        ("9lives", "it is neither a prefix nor the name of a list"),
        ("anyone,lan", "'anyone' leaves nothing for the others to add"),
        ("anyone,198.51.100.1", "'anyone' leaves nothing for the others to add"),
        ("0.0.0.0/0,::/0,office", "'anyone' leaves nothing for the others to add"),
    ],
)
def test_what_names_no_source_is_refused(text: str, why: str) -> None:
    with pytest.raises(Problem) as caught:
        Sources.parse(text)
    assert (caught.value.code, caught.value.fact("why")) == ("bad-source", why)


@given(sources().filter(lambda read: read != Sources()))
def test_sources_are_read_back(read: Sources) -> None:
    assert Sources.parse(str(read)) == read


def test_lists_are_looked_up_and_an_unknown_one_admits_nobody() -> None:
    assert Sources.parse("anyone").resolve({}) is None
    assert Sources.parse("lan").resolve({}) == LAN_PREFIXES
    assert Sources.parse("office,192.0.2.1").resolve(NETS) == (
        ipaddress.ip_network("192.0.2.1/32"),
        *NETS["office"],
    )
    assert Sources.parse("nobody").resolve(NETS) == ()
    assert Sources().resolve(NETS) == ()


@pytest.mark.parametrize(
    ("text", "wide"),
    [
        ("anyone", True),
        ("0.0.0.0/0", True),
        ("::/0", True),
        ("0.0.0.0/1,128.0.0.0/1", True),
        ("::ffff:0:0/97", True),
        ("2000::/3", True),
        ("2000::/18", True),
        ("8.0.0.0/7", True),
        ("8.0.0.0/8", False),
        ("8.0.0.0/8,9.0.0.0/8", True),
        ("8.0.0.0/9,8.128.0.0/9,9.0.0.0/8", True),
        ("7.0.0.0/8,8.0.0.0/8", False),
        ("2400::/19", False),
        ("2400::/19,2400:2000::/19", True),
        ("lan", False),
        ("office", False),
        ("world", True),
        ("198.51.100.0/24,2001:db8::/32", False),
    ],
)
def test_what_is_as_wide_as_anyone_is_known(text: str, wide: bool) -> None:
    named: dict[str, tuple[IPNetwork, ...]] = {
        **NETS,
        "world": tuple(ipaddress.ip_network("0.0.0.0/0").subnets(4)),
    }
    assert Sources.parse(text).is_wide(named) is wide


@given(st.ip_addresses(), st.integers(0, 128))
def test_host_bits_are_never_dropped_in_silence(address: ipaddress.IPv4Address, length: int) -> None:
    length = min(length, address.max_prefixlen)
    text = f"{address}/{length}"
    whole = ipaddress.ip_network((address, length), strict=False)
    if whole.network_address != address:
        with pytest.raises(ValueError, match="bits beyond"):
            parse_prefix(text)
    else:
        read = parse_prefix(text)
        assert read.num_addresses == whole.num_addresses
