"""Leases: what a device may open by itself, and what becomes of it."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest

from sekimori.model.address import IpProtocol, PortRange
from sekimori.model.causes import cause
from sekimori.model.decision import Verb
from sekimori.model.errors import Problem
from sekimori.model.finding import Confidence
from sekimori.model.lease import Adopt, Asker, LeaseProtocol, LeaseTerms, NonceRule, Obtain, Release
from sekimori.model.lifetime import Lifetime
from sekimori.model.line import Answer, Inbound, Line
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.mapset import PortSet
from sekimori.model.permission import Permission, SetPermissions
from sekimori.model.request import Context
from sekimori.model.source import Sources
from sekimori.testing.world import ALICE, World

PHONE = Owner(OwnerKind.DEVICE, "02:00:00:00:00:05")
CONSOLE = Owner(OwnerKind.DEVICE, "02:00:00:00:00:06")
_AT = {PHONE: "192.168.1.5", CONSOLE: "192.168.1.6"}
_UDP = IpProtocol.UDP


def ask(device: Owner = PHONE, port: int = 5000, **words: Any) -> Obtain:
    """A device asks for a port to itself, for two hours."""
    here = ipaddress.ip_address(words.pop("at", _AT[device]))
    terms = words.pop("terms", LeaseTerms(protocol=LeaseProtocol.PCP, nonce="00" * 12))
    usual: dict[str, Any] = {
        "asker": Asker(here, "lan0"),
        "protocol": _UDP,
        "inside": here,
        "ports": PortRange(port, port),
        "lifetime": 7200,
        "terms": terms,
    }
    return Obtain(**{**usual, **words})


@pytest.fixture
def world() -> Any:
    made = World()
    yield made
    made.close()


def line_with(ports: PortSet) -> Line:
    """A line that has these outside ports of a shared address."""
    unknown = Inbound(Answer.UNKNOWN, cause("line-untold"), Confidence.LIKELY)
    return Line("wan0", (), unknown, unknown, outside_ports=ports)


async def obtain(world: World, device: Owner = PHONE, port: int = 5000, **words: Any) -> Mapping:
    outcome = await world.ask(ask(device, port, **words), context=Context(device, "portmap"))
    after = outcome.changes[0].after
    assert isinstance(after, Mapping)
    return after


def outside(mapping: Mapping) -> int:
    return mapping.ports[0].outside.first


async def test_a_lease_is_a_mapping_of_its_device_open_to_anyone_on_the_port_it_wished(world: World) -> None:
    lease = await obtain(world, outside=6000)
    assert (lease.owner, str(lease.target), outside(lease)) == (PHONE, "192.168.1.5", 6000)
    assert lease.sources.anyone
    assert lease.lifetime.expires_at == int(world.clock.now()) + 7200
    assert world.held(lease.name)


async def test_the_same_inside_is_the_same_lease_whatever_port_is_suggested(world: World) -> None:
    first = await obtain(world, outside=6000)
    world.clock.advance(3600)
    again = await obtain(world, outside=7000)
    assert (again.id, outside(again)) == (first.id, 6000)
    assert again.lifetime.expires_at == int(world.clock.now()) + 7200
    assert len(world.ledger.snapshot) == 1


async def test_a_taken_port_gives_another_of_the_same_parity_and_an_exact_one_is_refused(
    world: World,
) -> None:
    await obtain(world, outside=6000)
    other = await obtain(world, CONSOLE, outside=6000)
    assert outside(other) != 6000
    assert outside(other) % 2 == 0
    with pytest.raises(Problem) as refused:
        await obtain(world, CONSOLE, 5001, outside=6000, exact=True)
    assert refused.value.code == "port-taken"


async def again_after(world: World, seconds: float, **words: Any) -> bool:
    """Whether asking again, so many seconds later, is written."""
    world.clock.advance(seconds)
    outcome = await world.ask(ask(**words), context=Context(PHONE, "portmap"))
    assert [each.verb for each in outcome.changes] in ([], [Verb.EXTEND])
    return bool(outcome.changes)


async def test_who_asks_every_second_writes_a_revision_now_and_then(world: World) -> None:
    await obtain(world)
    before = world.ledger.revision
    written = [second for second in range(1, 1000) if await again_after(world, 1)]
    assert written == [450, 900]  # a sixteenth of two hours
    assert world.ledger.revision == before + 2


IGD = LeaseTerms(protocol=LeaseProtocol.IGD)


@pytest.mark.parametrize(
    ("words", "spared"),
    [
        ({"lifetime": 120}, 6),
        ({"lifetime": 120, "terms": LeaseTerms(protocol=LeaseProtocol.NATPMP)}, 6),
        ({"lifetime": 3600, "terms": IGD}, 9),  # UPnP does not tell what is left of it
        ({"lifetime": 60, "terms": IGD}, 2),
        ({"lifetime": 604_800, "terms": replace(IGD, lasting=True)}, 37_799),  # nor does it end by itself
        ({"lifetime": 10}, 0),
    ],
)
async def test_a_renewal_is_spared_only_while_what_is_left_is_as_good(
    world: World, words: dict[str, Any], spared: int
) -> None:
    await obtain(world, **words)
    if spared:
        assert not await again_after(world, spared, **words)
    assert await again_after(world, 1, **words)


async def test_what_says_anything_else_is_written_at_once(world: World) -> None:
    lease = await obtain(world)
    shorter = await obtain(world, lifetime=600)
    assert shorter.lifetime.expires_at == int(world.clock.now()) + 600
    world.clock.advance(1)
    renamed = await obtain(world, lifetime=600, terms=LeaseTerms(protocol=LeaseProtocol.PCP, nonce="11" * 12))
    assert (renamed.id, renamed.lease and renamed.lease.nonce) == (lease.id, "11" * 12)
    await world.ask(SetPermissions((Permission.parse("deny all"),)))
    with pytest.raises(Problem, match="deny all"):  # the rules are asked all the same
        await obtain(world, lifetime=600)


async def test_a_port_that_a_program_uses_is_avoided(world: World) -> None:
    lease = await obtain(world, outside=6000, avoid=frozenset({6000}))
    assert outside(lease) != 6000


async def test_privileged_ports_are_refused_unless_a_rule_allows_them(world: World) -> None:
    with pytest.raises(Problem) as refused:
        await obtain(world, port=80)
    assert refused.value.code == "lease-refused"
    await world.ask(SetPermissions((Permission.parse("allow 192.168.1.5 outside 1-65535 inside 1-65535"),)))
    assert outside(await obtain(world, port=81)) == 81
    with pytest.raises(Problem) as refused:
        await obtain(world, CONSOLE, port=5000)  # rules were written, and none is about this one
    assert refused.value.code == "lease-refused"


async def test_the_first_rule_that_fits_decides_and_outside_ports_follow_it(world: World) -> None:
    rules = ("deny 02:00:00:00:00:06", "deny all outside 6000-6999", "allow all outside 6000-7999 most 2")
    await world.ask(SetPermissions(tuple(map(Permission.parse, rules))))
    with pytest.raises(Problem, match=r"deny 02:00:00:00:00:06") as refused:
        await obtain(world, CONSOLE, outside=7000)
    assert refused.value.code == "lease-refused"
    assert 7000 <= outside(await obtain(world, outside=6500)) <= 7999
    await obtain(world, port=5002, outside=7001)
    with pytest.raises(Problem) as refused:
        await obtain(world, port=5003, outside=7002)
    assert refused.value.code == "lease-quota"


async def test_a_rule_caps_the_lifetime(world: World) -> None:
    await world.ask(SetPermissions((Permission.parse("allow all for 10m"),)))
    lease = await obtain(world, lifetime=4294967295)
    assert lease.lifetime.expires_at == int(world.clock.now()) + 600


async def test_a_port_for_another_host_takes_a_rule_and_a_host_of_the_lan(world: World) -> None:
    away: dict[str, Any] = {"inside": ipaddress.ip_address("192.168.1.9")}
    with pytest.raises(Problem) as refused:
        await obtain(world, **away)
    assert refused.value.code == "not-permitted"
    await world.ask(SetPermissions((Permission.parse("allow all others"),)))
    assert str((await obtain(world, **away)).target) == "192.168.1.9"
    with pytest.raises(Problem):
        await obtain(world, port=5001, inside=ipaddress.ip_address("203.0.113.9"))


async def test_a_port_for_another_host_takes_the_outside_ports_of_rules_for_others(world: World) -> None:
    away: dict[str, Any] = {"inside": ipaddress.ip_address("192.168.1.9")}
    words = (
        "allow all others outside 20000-30000 inside 1-65535",
        "allow all outside 5000-6000 inside 1-65535",
    )
    await world.ask(SetPermissions(tuple(map(Permission.parse, words))))
    # The inside port lies outside the rule's outside ports, which says nothing against it.
    lease = await obtain(world, port=80, **away)
    assert 20000 <= outside(lease) <= 30000
    world.clock.advance(3600)
    assert (await obtain(world, port=80, **away)).id == lease.id
    # Another rule allows the wish, but not to others.
    assert 20000 <= outside(await obtain(world, port=5000, outside=5500, **away)) <= 30000
    assert outside(await obtain(world, port=5001, outside=5501)) == 5501
    await world.ask(SetPermissions((Permission.parse("allow all outside 1-65535 inside 1-65535"),)))
    for port in (80, 81):  # one renews, one is new; no rule lets either go elsewhere any more
        with pytest.raises(Problem) as refused:
            await obtain(world, port=port, **away)
        assert refused.value.code == "not-permitted"


async def test_an_igd_mapping_is_told_by_its_outside_port(world: World) -> None:
    terms = LeaseTerms(protocol=LeaseProtocol.IGD, description="game")
    igd: dict[str, Any] = {"by_outside": True, "exact": True, "terms": terms}
    first = await obtain(world, outside=6000, **igd)
    second = await obtain(world, outside=6001, **igd)
    assert first.id != second.id
    moved = await obtain(world, port=5009, outside=6000, **igd)
    assert (moved.id, moved.ports[0].inside.first) == (first.id, 5009)
    with pytest.raises(Problem) as refused:
        await obtain(world, CONSOLE, outside=6000, **igd)
    assert refused.value.code == "port-taken"


async def test_a_mapping_of_a_person_that_is_just_that_needs_no_lease(world: World) -> None:
    await world.open("udp/5000", "192.168.1.5", from_="anyone")
    outcome = await world.ask(ask(), context=Context(PHONE, "portmap"))
    assert outcome.changes == ()
    assert len(world.ledger.snapshot) == 1


async def test_sources_stand_until_they_are_said_anew(world: World) -> None:
    peer = Sources.parse("198.51.100.7")
    await obtain(world, sources=peer)
    assert (await obtain(world, lifetime=9000)).sources == peer
    assert (await obtain(world, sources=Sources(anyone=True))).sources.anyone


@pytest.mark.parametrize("rule", NonceRule)
async def test_another_nonce_of_the_same_device(world: World, rule: NonceRule) -> None:
    lease = await obtain(world)
    other = LeaseTerms(protocol=LeaseProtocol.PCP, nonce="11" * 12)
    context = Context(PHONE, "portmap")
    renewal = ask(terms=other, nonce_rule=rule, lifetime=7300)
    release = Release(lease.id, "22" * 12, rule)
    if rule is NonceRule.STRICT:
        for asked in (renewal, release):
            with pytest.raises(Problem) as refused:
                await world.ask(asked, context=context)
            assert refused.value.code == "lease-nonce"
        assert world.ledger.snapshot.get(lease.id) == lease
    else:
        await world.ask(renewal, context=context)
        await world.ask(release, context=context)
        assert len(world.ledger.snapshot) == 0


async def test_nobody_else_ends_or_changes_a_lease_but_people_do(world: World) -> None:
    lease = await obtain(world)
    with pytest.raises(Problem) as refused:
        await world.ask(Release(lease.id), context=Context(CONSOLE, "portmap"))
    assert refused.value.code == "not-permitted"
    await world.pause(lease.name)
    with pytest.raises(Problem) as refused:
        await obtain(world, lifetime=9000)
    assert refused.value.code == "lease-paused"
    await world.shut(lease.name)
    assert len(world.ledger.snapshot) == 0


async def test_a_person_opens_no_lease(world: World) -> None:
    with pytest.raises(Problem) as refused:
        await world.ask(ask())
    assert refused.value.code == "not-permitted"


async def test_adopting_makes_it_the_persons_own_and_undo_gives_it_back(world: World) -> None:
    lease = await obtain(world, terms=LeaseTerms(protocol=LeaseProtocol.IGD, description="game"))
    keep = Lifetime.permanent("the game server of the family")
    outcome = await world.ask(Adopt(lease.name, keep))
    adopted = outcome.changes[0].after
    assert isinstance(adopted, Mapping)
    assert (adopted.owner, adopted.lease, adopted.lifetime) == (ALICE.actor, None, keep)
    with pytest.raises(Problem) as refused:
        await world.ask(Release(lease.id), context=Context(PHONE, "portmap"))
    assert refused.value.code == "not-permitted"
    assert (await world.ask(ask(), context=Context(PHONE, "portmap"))).changes == ()  # it has what it wants
    await world.undo()
    back = world.ledger.snapshot.get(lease.id)
    assert back is not None
    assert replace(back, revision=0) == replace(lease, revision=0)
    await world.open("8080")
    with pytest.raises(Problem) as refused:
        await world.ask(Adopt("tcp-8080"))
    assert refused.value.code == "not-a-lease"


async def test_undo_passes_over_what_devices_did_and_takes_back_rules_and_adoptions(world: World) -> None:
    await world.ask(SetPermissions((Permission.parse("deny all"),)))
    await world.ask(SetPermissions((Permission.parse("allow all"),)))
    await obtain(world)
    await world.undo()
    permissions = world.ledger.snapshot.permissions
    assert permissions is not None
    assert [str(rule) for rule in permissions.rules] == ["deny all"]
    assert len(world.ledger.snapshot) == 1


async def test_leases_and_rules_outlast_a_crash(world: World) -> None:
    await world.ask(SetPermissions((Permission.parse("allow all most any for 1h others"),)))
    lease = await obtain(world, sources=Sources.parse("198.51.100.0/24"))
    world.reopen()
    snapshot = world.ledger.snapshot
    assert snapshot.get(lease.id) == lease
    assert [*snapshot.leases_of(PHONE)] == [lease]
    assert [*snapshot.leases_at(_UDP, "192.168.1.5", 5000)] == [lease]
    assert snapshot.permissions is not None


async def test_a_lease_ends_on_its_second(world: World) -> None:
    lease = await obtain(world, lifetime=120)
    await world.pass_time(121)
    assert world.ledger.snapshot.get(lease.id) is None
    assert [commit.changes[0].verb for commit in world.commits] == [Verb.OPEN, Verb.EXPIRE]


async def test_every_free_port_is_found_and_then_none(world: World) -> None:
    await world.ask(SetPermissions((Permission.parse("allow all outside 6000-6009 most any"),)))
    found = {outside(await obtain(world, port=5000 + each, outside=6000)) for each in range(10)}
    assert found == set(range(6000, 6010))
    with pytest.raises(Problem) as refused:
        await obtain(world, port=5100)
    assert refused.value.code == "no-free-port"


async def test_ports_that_the_line_does_not_let_in_are_not_given(world: World) -> None:
    ports = PortSet(offset=6, length=8, psid=0x34)
    world.gate._rules = replace(world.rules, line=lambda: line_with(ports))
    lease = await obtain(world)
    assert outside(lease) in ports
    assert 5000 not in ports


async def test_what_no_rule_allows_is_refused_without_trying_every_port(world: World) -> None:
    rules = ("deny 192.168.1.5", "allow all outside 1-65535")
    await world.ask(SetPermissions(tuple(map(Permission.parse, rules))))
    tried = []
    world.gate._rules = replace(world.rules, line=lambda: tried.append(1))
    with pytest.raises(Problem) as refused:
        await obtain(world)
    assert refused.value.code == "lease-refused"
    assert "deny 192.168.1.5" in refused.value.title()
    assert len(tried) < 10
