"""Who has which address: every rule of weighing the evidence."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.address import IPAddress
from sekimori.model.census import Census, Grade, find_mac, locate
from sekimori.model.device import Announced, Lease, LeaseServer, SightingSource
from sekimori.model.errors import Problem
from sekimori.model.network import Neighbour, NeighbourState

NOW = 1_750_000_000.0
NAS, TV = "aa:bb:cc:00:00:01", "aa:bb:cc:00:00:02"
REACHABLE, STALE, DELAY, PROBE, FAILED, INCOMPLETE, NOARP, PERMANENT, NONE = (
    NeighbourState.REACHABLE,
    NeighbourState.STALE,
    NeighbourState.DELAY,
    NeighbourState.PROBE,
    NeighbourState.FAILED,
    NeighbourState.INCOMPLETE,
    NeighbourState.NOARP,
    NeighbourState.PERMANENT,
    NeighbourState.NONE,
)
EUI64 = "2001:db8:3:0:a8bb:ccff:fe00:1"
"""The address that NAS makes of its MAC address."""


def ip(text: str) -> IPAddress:
    return ipaddress.ip_address(text)


def at(
    address: str, mac: str | None = NAS, state: NeighbourState = REACHABLE, interface: str = "lan0"
) -> Neighbour:
    return Neighbour(ip(address), mac, interface, state)


def lease(address: str, mac: str | None = NAS, name: str | None = None, ends: float | None = None) -> Lease:
    return Lease(ip(address), mac, name, ends, LeaseServer.DNSMASQ)


def census(*evidence: Neighbour | Lease | Announced) -> Census:
    return Census(
        [each for each in evidence if isinstance(each, Neighbour)],
        [each for each in evidence if isinstance(each, Lease)],
        [each for each in evidence if isinstance(each, Announced)],
        now=NOW,
    )


def where(*evidence: Neighbour | Lease | Announced, using: tuple[str, ...] = ()) -> list[str]:
    """The addresses of NAS by this evidence."""
    return [str(each) for each in census(*evidence).device(NAS, tuple(map(ip, using))).addresses]


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        (REACHABLE, True),
        (STALE, True),
        (DELAY, True),
        (PROBE, True),
        (PERMANENT, True),
        (FAILED, False),
        (INCOMPLETE, False),
        (NOARP, False),
        (NONE, False),
    ],
)
def test_a_neighbour_counts_while_the_kernel_would_send_to_it(state: NeighbourState, counts: bool) -> None:
    found = census(at("192.168.1.50", state=state))
    assert bool(found.device(NAS).addresses) is counts
    assert bool(found.owned_addresses(NAS)) is counts


@pytest.mark.parametrize(("ends", "counts"), [(None, True), (NOW + 1, True), (NOW, False), (NOW - 1, False)])
def test_a_lease_counts_until_it_ends(ends: float | None, counts: bool) -> None:
    found = census(lease("192.168.1.50", name="nas", ends=ends))
    assert bool(found.device(NAS).addresses) is counts
    assert bool(found.macs_of("nas")) is counts


@pytest.mark.parametrize(
    ("evidence", "grade"),
    [
        ([at("192.168.1.50"), lease("192.168.1.50")], Grade.LEASED_AND_SEEN),
        ([at("192.168.1.50")], Grade.SEEN),
        ([lease("192.168.1.50")], Grade.LEASED),
        ([at("192.168.1.50", state=STALE), lease("192.168.1.50")], Grade.LEASED),
        ([at("192.168.1.50", state=STALE)], Grade.REMEMBERED),
        ([at("192.168.1.50", state=DELAY)], Grade.REMEMBERED),
        ([at("192.168.1.50", state=PROBE)], Grade.REMEMBERED),
        ([at("192.168.1.50", None, INCOMPLETE), lease("192.168.1.50")], Grade.LEASED),
        ([at("192.168.1.50", None, FAILED), lease("192.168.1.50")], Grade.LEASED_BUT_SILENT),
    ],
)
def test_every_grade(evidence: list[Neighbour | Lease], grade: Grade) -> None:
    assert census(*evidence).grade(NAS, ip("192.168.1.50")) is grade
    assert where(*evidence) == ["192.168.1.50"]


def test_a_better_grade_leaves_the_worse_addresses_out() -> None:
    both: list[Neighbour | Lease] = [at("192.168.1.50"), lease("192.168.1.50")]
    seen, leased = at("192.168.1.51"), lease("192.168.1.52")
    remembered = at("192.168.1.54", state=STALE)
    silent: list[Neighbour | Lease] = [at("192.168.1.53", None, FAILED), lease("192.168.1.53")]
    assert where(*both, seen, leased, remembered, *silent) == ["192.168.1.50"]
    assert where(seen, leased, remembered, *silent) == ["192.168.1.51"]
    assert where(leased, remembered, *silent) == ["192.168.1.52"]
    assert where(remembered, *silent) == ["192.168.1.54"]
    assert where(*silent) == ["192.168.1.53"]


def test_a_lease_is_overruled_by_another_mac_in_the_neighbour_table() -> None:
    evidence = (lease("192.168.1.50", name="nas"), at("192.168.1.50", TV, STALE))
    assert where(*evidence) == []
    assert census(*evidence).owned_addresses(TV) == {ip("192.168.1.50")}
    assert census(*evidence).others_at(ip("192.168.1.50"), NAS) == (TV,)
    # What the device is called does not depend on where it is.
    assert census(*evidence).macs_of("nas") == (NAS,)


@pytest.mark.parametrize("state", [STALE, DELAY, PROBE, REACHABLE])
def test_an_address_in_dispute_is_asked_about_and_given_to_nobody_until_the_answer(
    state: NeighbourState,
) -> None:
    address, claim = ip("192.168.1.30"), lease("192.168.1.30")
    disputed = census(claim, at("192.168.1.30", TV, state))
    assert disputed.to_ask(NAS) == (address,)
    assert disputed.device(NAS).addresses == ()
    assert address not in disputed.owned_addresses(NAS)
    # The device itself answers; nobody does; nobody has been asked yet.
    assert census(claim, at("192.168.1.30")).grade(NAS, address) is Grade.LEASED_AND_SEEN
    assert where(claim, at("192.168.1.30", None, FAILED)) == ["192.168.1.30"]
    assert where(claim, at("192.168.1.30", None, INCOMPLETE)) == ["192.168.1.30"]


def test_what_only_a_name_disputes_is_asked_about_for_who_goes_by_it() -> None:
    told, seen = Announced("nas.lan", ip("192.168.1.30")), at("192.168.1.30", TV, STALE)
    assert census(told, seen).to_ask(NAS, "nas") == (ip("192.168.1.30"),)
    assert census(told, seen).to_ask(NAS) == census(told, seen).to_ask(NAS, "tv") == ()
    by_duid = lease("2001:db8:3::30", None, name="nas")
    assert census(by_duid, at("2001:db8:3::30", TV)).to_ask(NAS, "nas") == (ip("2001:db8:3::30"),)


def test_every_place_is_asked_about_once_and_claims_that_ended_are_not() -> None:
    found = census(
        at("192.168.1.50"),
        lease("192.168.1.50", name="nas"),
        lease("192.168.1.51", ends=NOW),
        lease("192.168.1.52", TV),
        Announced("nas", ip("192.168.1.50")),
        Announced("nas", ip("169.254.0.1")),
    )
    assert found.to_ask(NAS, "nas") == (ip("192.168.1.50"),)


def test_of_two_leases_of_an_address_the_later_end_counts() -> None:
    old, new = lease("192.168.1.50", ends=NOW + 10), lease("192.168.1.50", TV, ends=NOW + 20)
    for order in ([old, new], [new, old]):
        assert where(*order) == []
        assert census(*order).others_at(ip("192.168.1.50"), NAS) == (TV,)
    assert where(lease("192.168.1.50"), new) == ["192.168.1.50"]


def test_what_is_used_stays_first_among_equals_only() -> None:
    two = (at("192.168.1.50"), at("192.168.1.51"))
    assert where(*two) == ["192.168.1.50", "192.168.1.51"]
    assert where(*two, using=("192.168.1.51",)) == ["192.168.1.51", "192.168.1.50"]
    assert where(*two, lease("192.168.1.50"), using=("192.168.1.51",)) == ["192.168.1.50"]


def test_among_addresses_not_yet_used_the_one_that_has_just_answered_is_first() -> None:
    assert where(at("192.168.1.50", state=PROBE), at("192.168.1.51")) == ["192.168.1.51"]


@pytest.mark.parametrize("state", [STALE, DELAY, PROBE])
def test_being_asked_again_changes_no_order(state: NeighbourState) -> None:
    both = at("192.168.1.50"), at("192.168.1.51", state=state)
    assert where(*both, using=("192.168.1.51",)) == ["192.168.1.51", "192.168.1.50"]


@pytest.mark.parametrize(
    "address",
    ["fe80::1", "ff02::1", "::1", "64:ff9b::1", "127.0.0.1", "169.254.0.1", "224.0.0.1", "240.0.0.1"],
)
def test_addresses_that_are_no_hosts_of_the_lan_are_left_out(address: str) -> None:
    assert where(at(address), lease(address)) == []
    assert census(at(address)).owned_addresses(NAS) == frozenset()


def test_ipv6_addresses_that_last_come_first_and_global_ones_before_local_ones() -> None:
    random = "2001:db8:3:0:1111:2222:3333:4444"
    assert where(at(random), at(EUI64)) == [EUI64]
    assert where(at(random), at("2001:db8:3::10")) == ["2001:db8:3::10"]
    assert where(at(random)) == [random]
    assert where(at("fd00::10"), at(EUI64)) == [EUI64, "fd00::10"]
    # What the server leased lasts as long as the lease, whatever it looks like.
    assert where(at(random), lease(random), at(EUI64)) == [random]


def test_ipv4_comes_first() -> None:
    assert where(at(EUI64), at("192.168.1.50")) == ["192.168.1.50", EUI64]


def test_a_name_is_found_with_and_without_its_domain() -> None:
    found = census(lease("192.168.1.50", name="nas.lan"))
    assert (found.macs_of("nas"), found.macs_of("nas.lan"), found.macs_of("lan")) == ((NAS,), (NAS,), ())
    assert find_mac(found, "nas") == NAS
    assert found.device(NAS).names == ("nas", "nas.lan")


def test_a_name_of_two_devices_is_ambiguous() -> None:
    found = census(lease("192.168.1.50", name="nas"), lease("192.168.1.60", TV, name="nas.guest"))
    with pytest.raises(Problem) as caught:
        find_mac(found, "nas")
    assert (caught.value.code, caught.value.facts["macs"]) == ("device-ambiguous", f"{NAS}, {TV}")
    assert find_mac(found, "nas.guest") == TV


def test_an_unknown_name_is_not_found() -> None:
    with pytest.raises(Problem) as caught:
        find_mac(census(at("192.168.1.50")), "nas")
    assert caught.value.code == "device-not-found"


@pytest.mark.parametrize(
    "told", [Announced("nas", ip("2001:db8:3::10")), lease("2001:db8:3::10", None, name="nas")]
)
def test_whose_a_named_address_is_the_neighbour_table_tells(told: Announced | Lease) -> None:
    assert census(told).macs_of("nas") == ()
    assert census(told).addresses_named("nas") == (ip("2001:db8:3::10"),)
    assert census(told, at("2001:db8:3::10", state=FAILED)).macs_of("nas") == ()
    assert census(told, at("2001:db8:3::10")).macs_of("nas") == (NAS,)


def test_only_the_neighbour_table_proves_who_owns_an_address() -> None:
    found = census(
        at("192.168.1.50"),
        at(EUI64, state=STALE),
        at("192.168.1.60", TV),
        lease("192.168.1.70"),
        Announced("nas", ip("192.168.1.80")),
    )
    assert found.owned_addresses(NAS) == {ip("192.168.1.50"), ip(EUI64)}


def test_an_address_of_two_devices_is_nobodys() -> None:
    found = census(at("192.168.1.50"), at("192.168.1.50", TV, interface="lan1"))
    assert found.owned_addresses(NAS) == found.owned_addresses(TV) == frozenset()


def test_the_evidence_for_a_device_can_be_listed() -> None:
    found = census(
        at("192.168.1.50"), lease("192.168.1.50"), lease("192.168.1.51"), Announced("nas", ip("192.168.1.50"))
    )
    lines = [(str(each.address), each.source, each.interface) for each in found.sightings(NAS)]
    assert lines == [
        ("192.168.1.50", SightingSource.LEASE, "lan0"),
        ("192.168.1.50", SightingSource.NEIGHBOUR, "lan0"),
        ("192.168.1.50", SightingSource.MDNS, "lan0"),
        ("192.168.1.51", SightingSource.LEASE, None),
    ]
    assert [device.mac for device in found.devices()] == [NAS]


# -- where a device is -------------------------------------------------------------------


def test_a_device_that_was_never_anywhere_is_not_found() -> None:
    found = locate(census(), NAS, "device:nas", ())
    assert (found.addresses, found.problem and found.problem.code) == ((), "device-not-found")


def test_a_silent_device_is_asleep_where_it_was() -> None:
    last = (ip("192.168.1.50"), ip(EUI64))
    found = locate(census(at("192.168.1.50", None, FAILED)), NAS, "nas", last)
    assert (found.addresses, found.problem) == (last, None)


@pytest.mark.parametrize("taker", [at("192.168.1.50", TV), lease("192.168.1.50", TV)])
def test_nothing_goes_to_an_address_that_another_has_taken(taker: Neighbour | Lease) -> None:
    found = locate(census(taker), NAS, "nas", (ip("192.168.1.50"),))
    assert found.addresses == ()
    assert found.problem is not None
    assert (found.problem.code, found.problem.facts) == (
        "device-moved-away",
        {"device": "nas", "address": "192.168.1.50", "other": TV},
    )
    # An address that nobody took is still its own.
    both = locate(census(taker), NAS, "nas", (ip("192.168.1.50"), ip(EUI64)))
    assert (both.addresses, both.problem) == ((ip(EUI64),), None)


def test_what_is_only_remembered_is_believed_of_a_device_that_was_nowhere_else() -> None:
    old = at("192.168.1.77", state=STALE)
    assert locate(census(old), NAS, "nas", ()).addresses == (ip("192.168.1.77"),)
    assert locate(census(old), NAS, "nas", (ip("192.168.1.50"),)).addresses == (ip("192.168.1.50"),)
    displaced = locate(census(old, at("192.168.1.50", TV)), NAS, "nas", (ip("192.168.1.50"),))
    assert displaced.problem is not None
    assert displaced.problem.code == "device-moved-away"
    # It answers there after all.
    back = locate(census(at("192.168.1.77"), at("192.168.1.50", TV)), NAS, "nas", (ip("192.168.1.50"),))
    assert back.addresses == (ip("192.168.1.77"),)


def test_a_device_may_be_silent_in_one_family() -> None:
    last = (ip("192.168.1.50"), ip(EUI64))
    assert locate(census(at(EUI64), at("192.168.1.50", None, FAILED)), NAS, "nas", last).addresses == last


def test_a_device_that_moved_is_found_whoever_has_its_old_address() -> None:
    found = locate(census(at("192.168.1.50", TV), at("192.168.1.51")), NAS, "nas", (ip("192.168.1.50"),))
    assert (found.addresses, found.problem) == ((ip("192.168.1.51"),), None)


def test_a_device_goes_to_an_address_in_dispute_when_the_answer_is_its_own() -> None:
    last, claim, moved = (ip("192.168.1.5"),), lease("192.168.1.30"), (ip("192.168.1.30"),)

    def found(*table: Neighbour) -> tuple[IPAddress, ...]:
        return locate(census(claim, *table), NAS, "nas", last).addresses

    gone = at("192.168.1.5", None, FAILED)
    for old in (at("192.168.1.5", state=STALE), gone):
        assert found(old, at("192.168.1.30", TV, STALE)) == last
        assert found(old, at("192.168.1.30", TV, PROBE)) == last
        assert found(old, at("192.168.1.30", TV)) == last
        assert found(old, at("192.168.1.30")) == moved
    assert found(gone, at("192.168.1.30", None, FAILED)) == moved


_macs = st.sampled_from([NAS, TV])
_addresses = st.sampled_from(["192.168.1.50", "192.168.1.51", EUI64, "2001:db8:3::9:8:7:6", "fe80::1"])
_neighbours = st.builds(at, _addresses, _macs, st.sampled_from(NeighbourState), st.sampled_from(["a", "b"]))
_leases = st.builds(
    lease, _addresses, _macs | st.none(), st.none() | st.just("nas"), st.sampled_from([None, NOW, NOW + 9])
)


@given(st.lists(_neighbours), st.lists(_leases), st.lists(_addresses.map(ip), unique=True, max_size=2))
def test_a_device_is_never_sent_where_the_table_shows_only_another(
    neighbours: list[Neighbour], leases: list[Lease], last: list[IPAddress]
) -> None:
    found = Census(neighbours, leases, now=NOW)
    for mac, other in ((NAS, TV), (TV, NAS)):
        place = locate(found, mac, "it", last)
        assert bool(place.addresses) is (place.problem is None)
        for address in place.addresses:
            assert address not in found.owned_addresses(other)
        leased = {each.address for each in found.sightings(mac)}
        assert leased <= set(found.to_ask(mac))
        assert not found.owned_addresses(mac) & found.owned_addresses(other)
