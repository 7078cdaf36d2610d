"""Where a new rule comes among those that stand, and which rules hold which."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.address import Interface, IpProtocol, PortRange
from sekimori.model.errors import Problem
from sekimori.model.lease import Asker
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.permission import Permission, first_fit
from sekimori.policy.ruleorder import covers, insert_rule, overlaps, remove_rule


def rules(*texts: str) -> tuple[Permission, ...]:
    return tuple(map(Permission.parse, texts))


@pytest.mark.parametrize(
    ("stand", "new", "then"),
    [
        ((), "allow all", ["allow all"]),
        # what denies must not stand behind what allows the same
        (("allow all",), "deny on:guest0", ["deny on:guest0", "allow all"]),
        (("allow all",), "deny 192.168.1.9/32", ["deny 192.168.1.9/32", "allow all"]),
        (("allow all",), "deny all tcp outside 6000-7000", ["deny all tcp outside 6000-7000", "allow all"]),
        (("allow 10.0.0.0/8",), "deny 02:00:00:00:00:05", ["deny 02:00:00:00:00:05", "allow 10.0.0.0/8"]),
        # but an exception from it may stand before it
        (("allow 192.168.1.5/32",), "deny all", ["allow 192.168.1.5/32", "deny all"]),
        (("allow on:lan0 udp",), "deny on:lan0", ["allow on:lan0 udp", "deny on:lan0"]),
        (("allow 192.168.1.0/24",), "deny 192.168.2.0/24", ["allow 192.168.1.0/24", "deny 192.168.2.0/24"]),
        # what allows must not stand behind what leaves it nothing
        (("deny all",), "allow 192.168.1.5/32", ["allow 192.168.1.5/32", "deny all"]),
        (("allow all",), "allow on:lan0 most 9", ["allow on:lan0 most 9", "allow all"]),
        (("deny all tcp", "deny all"), "allow all udp", ["deny all tcp", "allow all udp", "deny all"]),
        # and respects what denies a part of it
        (("deny on:guest0",), "allow all", ["deny on:guest0", "allow all"]),
        (("allow all",), "allow all outside 80", ["allow all", "allow all outside 80"]),
        # the same twice is once
        (("deny all tcp", "allow all"), "allow all", ["deny all tcp", "allow all"]),
        (('allow all matching "x"',), "allow all", ['allow all matching "x"', "allow all"]),
        (("allow all",), 'allow all matching "x"', ['allow all matching "x"', "allow all"]),
    ],
)  # fmt: skip
def test_it_comes_where_it_decides(stand: tuple[str, ...], new: str, then: list[str]) -> None:
    assert [str(rule) for rule in insert_rule(rules(*stand), Permission.parse(new))] == [
        str(Permission.parse(text)) for text in then
    ]


def test_a_place_that_is_said_is_kept() -> None:
    stand, new = rules("allow all", "deny all"), Permission.parse("deny on:guest0")
    for at in (1, 2, 3):
        found = insert_rule(stand, new, at)
        assert found[at - 1] is new
        assert remove_rule(found, at) == stand


@pytest.mark.parametrize("at", [0, -1, 4])
def test_a_place_that_is_not_there_is_refused(at: int) -> None:
    with pytest.raises(Problem) as refused:
        insert_rule(rules("allow all", "deny all"), Permission.parse("deny on:guest0"), at)
    assert (refused.value.code, refused.value.facts) == ("no-such-rule", {"number": at, "count": 2})
    with pytest.raises(Problem, match="there are 2"):
        remove_rule(rules("allow all", "deny all"), at if at < 1 else 3)


DEVICES = [Owner(OwnerKind.DEVICE, f"02:00:00:00:00:0{number}") for number in (5, 6)]
ASKERS = [
    Asker(ipaddress.ip_address(address), interface)
    for address in ("192.168.1.5", "192.168.2.6", "2001:db8::5")
    for interface in ("lan0", "lan1")
]
SUBJECTS = [
    *(ipaddress.ip_network(text) for text in ("192.168.1.0/24", "192.168.0.0/16", "192.168.1.5", "::/0")),
    *(Interface("lan0"), "02:00:00:00:00:05", "02:00:00:00:00:06"),
]
PORTS = [PortRange(1, 65535), PortRange(1024, 65535), PortRange(80, 80), PortRange(5000, 6000)]


def _some() -> st.SearchStrategy[Permission]:
    return st.builds(
        Permission,
        allow=st.booleans(),
        who=st.lists(st.sampled_from(SUBJECTS), max_size=2, unique=True).map(tuple),
        protocols=st.sampled_from([(), (IpProtocol.TCP,), (IpProtocol.TCP, IpProtocol.UDP)]),
        outside=st.sampled_from(PORTS),
        inside=st.sampled_from(PORTS),
        description=st.sampled_from([None, "Xbox.*"]),
    )


REQUESTS = st.tuples(
    st.sampled_from([IpProtocol.TCP, IpProtocol.UDP]),
    st.sampled_from([80, 5500, 20000]).map(lambda port: PortRange(port, port)),
    st.sampled_from([80, 5500, 20000]).map(lambda port: PortRange(port, port)),
    st.sampled_from(DEVICES),
    st.sampled_from(ASKERS),
    st.sampled_from(["", "Xbox 5"]),
)


@given(_some(), _some(), REQUESTS)
def test_what_is_said_of_two_rules_holds_for_every_request(one, other, request) -> None:
    fits_one, fits_other = first_fit([one], *request), first_fit([other], *request)
    if covers(one, other) and fits_other:
        assert fits_one
    if fits_one and fits_other:
        assert overlaps(one, other)
        assert overlaps(other, one)


@given(st.lists(_some(), max_size=3), _some(), REQUESTS)
def test_what_is_denied_stays_denied_by_a_rule_that_denies(stand, new, request) -> None:
    """Nothing that was denied becomes allowed by a denial, and nothing allowed is denied by an allowance."""
    before = first_fit(stand, *request)
    after = first_fit(insert_rule(stand, new), *request)
    if not new.allow:
        assert not (after and after.allow) or (before and before.allow)
    elif before and before.allow:
        assert after
        assert after.allow
