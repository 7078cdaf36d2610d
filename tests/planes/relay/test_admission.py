"""Who may come in, by table and by comparison with the standard library's networks."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sekimori.planes.relay.admission import (
    BUCKETS_KEPT,
    LOCAL,
    Admission,
    PrefixSet,
    TokenBucket,
    number,
    plain,
)
from sekimori.planes.relay.entry import Entry, Rate

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
prefixes = st.one_of(
    st.tuples(st.ip_addresses(v=4).map(str), st.integers(0, 32)),
    st.tuples(st.ip_addresses(v=6).map(str), st.integers(0, 128)),
).map(lambda pair: f"{pair[0]}/{pair[1]}")


def _unmapped(text: str) -> IPv4Network | IPv6Network:
    """The network, a v4-mapped one as the IPv4 network that it stands for."""
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


@example(["::ffff:0:0/96"], "0.0.0.0")
@given(st.lists(prefixes, max_size=6), addresses)
def test_prefixes_agree_with_the_standard_library(texts: list[str], address: str) -> None:
    networks = [_unmapped(text) for text in texts]
    value = ip_address(plain(address))
    mapped = getattr(value, "ipv4_mapped", None)
    candidates = [value] if mapped is None else [mapped]
    wanted = any(
        one in network for network in networks for one in candidates if network.version == one.version
    )
    assert (plain(address) in PrefixSet(texts)) == wanted


@given(prefixes)
def test_a_prefix_has_its_own_first_and_last_address(text: str) -> None:
    network = ip_network(text, strict=False)
    allowed = PrefixSet([text])
    for address in (network[0], network[-1]):
        if getattr(address, "ipv4_mapped", None) is None:
            assert str(address) in allowed


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:0", "::ffff:0"),
        ("2001:db8::1", "2001:db8::1"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_plain(text: str, wanted: str) -> None:
    assert plain(text) == wanted


def test_mapped_prefixes_and_addresses_are_ipv4() -> None:
    assert "192.0.2.7" in PrefixSet(["::ffff:192.0.2.0/120"])
    assert "192.0.3.7" not in PrefixSet(["::ffff:192.0.2.0/120"])
    assert number("::ffff:192.0.2.7") == (False, 0xC0000207)


def test_text_that_is_no_address_is_in_no_prefix() -> None:
    everything = PrefixSet(["0.0.0.0/0", "::/0"])
    assert "gateway" not in everything
    assert "1.2.3" not in everything
    with pytest.raises(ValueError):
        PrefixSet(["gateway"])


def test_a_bucket_gives_its_depth_at_once_and_then_at_its_rate() -> None:
    bucket = TokenBucket(Rate(3, 6.0), 100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(101.9)
    assert bucket.take(102.1)
    assert not bucket.take(102.2)
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]


@given(st.integers(1, 50), st.floats(0.1, 100), st.lists(st.floats(0, 5), max_size=200))
def test_a_bucket_never_gives_more_than_depth_plus_rate(
    count: int, seconds: float, pauses: list[float]
) -> None:
    now, given_out = 0.0, 0
    bucket = TokenBucket(Rate(count, seconds), now)
    for pause in pauses:
        now += pause
        given_out += bucket.take(now)
    assert given_out <= count + now * count / seconds + 1e-6


def entry(**terms: object) -> Entry:
    return Entry("e", (), ("127.0.0.1",), **terms)  # type: ignore[arg-type]


def test_causes_in_their_order() -> None:
    admission = Admission(
        entry(accept_until=50.0, sources=("192.0.2.0/24",), max_connections=1, rate_total=Rate(2, 3600))
    )
    assert admission.admit("192.0.2.1", 0.0, 50.0) == "expired"
    assert admission.admit("198.51.100.1", 0.0, 49.9) == "source"
    assert admission.admit("192.0.2.1", 0.0, 49.9) is None
    assert admission.admit("192.0.2.1", 0.0, 49.9) == "limit"
    admission.release()
    assert admission.admit("192.0.2.1", 0.0, 49.9) is None
    admission.release()
    assert admission.admit("192.0.2.1", 0.0, 49.9) == "rate"


def test_an_ipv6_host_is_one_source_however_many_addresses_it_uses() -> None:
    admission = Admission(entry(rate_per_source=Rate(1, 3600)))
    assert admission.admit("2001:db8:0:1::1", 0.0, 0.0) is None
    assert admission.admit("2001:db8:0:1:ffff::2", 0.0, 0.0) == "rate"
    assert admission.admit("2001:db8:0:2::1", 0.0, 0.0) is None
    assert admission.admit("192.0.2.1", 0.0, 0.0) is None
    assert admission.admit("192.0.2.2", 0.0, 0.0) is None


def test_one_source_cannot_use_up_what_is_everybodys() -> None:
    admission = Admission(entry(rate_per_source=Rate(1, 3600), rate_total=Rate(2, 3600)))
    verdicts = [admission.admit("192.0.2.1", 0.0, 0.0) for _ in range(10)]
    assert verdicts == [None] + ["rate"] * 9
    assert admission.admit("192.0.2.2", 0.0, 0.0) is None


def test_buckets_are_bounded() -> None:
    admission = Admission(entry(rate_per_source=Rate(1, 3600)))
    for host in range(BUCKETS_KEPT + 100):
        assert admission.admit(f"10.0.{host >> 8}.{host & 255}", 0.0, 0.0) is None
    assert len(admission._buckets) == BUCKETS_KEPT


def test_an_update_keeps_the_fill_of_an_unchanged_rate() -> None:
    admission = Admission(entry(rate_total=Rate(1, 3600)))
    assert admission.admit("192.0.2.1", 0.0, 0.0) is None
    admission.update(entry(rate_total=Rate(1, 3600), max_connections=9))
    assert admission.admit("192.0.2.1", 0.0, 0.0) == "rate"
    admission.update(entry(rate_total=Rate(2, 3600)))
    assert admission.admit("192.0.2.1", 0.0, 0.0) is None


def test_a_bad_update_changes_nothing() -> None:
    admission = Admission(entry(sources=("192.0.2.0/24",)))
    with pytest.raises(ValueError):
        admission.update(entry(sources=("nonsense",)))
    assert admission.entry.sources == ("192.0.2.0/24",)
    assert admission.allows("192.0.2.1")
    assert not admission.allows("198.51.100.1")


def test_who_opens_a_unix_socket_is_not_asked_for_an_address_but_for_all_else() -> None:
    admission = Admission(Entry("e", (), (), sources=("192.0.2.0/24",), max_connections=1))
    assert admission.allows(LOCAL)
    assert admission.admit(LOCAL, 0.0, 0.0) is None
    assert admission.admit(LOCAL, 0.0, 0.0) == "limit"
    assert admission.admit("unknown", 0.0, 0.0) == "source"
