"""The whole state as TOML, and back: the same terms, the same ends."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sekimori.config.export import export_toml
from sekimori.config.load import parse_config
from sekimori.config.sync import plan_sync
from sekimori.model.address import Interface, PortPair, PortRange, parse_address, parse_ports, parse_spans
from sekimori.model.decision import NamedList
from sekimori.model.defaults import WHOEVER_TRIGGERS
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Lifetime
from sekimori.model.limits import Limits, Rate
from sekimori.model.mapping import Mapping, Owner, OwnerKind, Trigger
from sekimori.model.request import Ask, Change, Define, Submit, Wish
from sekimori.model.schedule import Schedule
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import Sources, parse_prefix
from sekimori.model.target import Target, pair_ports, parse_target
from sekimori.model.words import Reading
from sekimori.policy.kinds import check_kind
from sekimori.policy.rules import Rules
from sekimori.policy.terms import new_mapping
from sekimori.presets.load import load_presets
from sekimori.testing.strategies import NOW, limits, mapping_sets, named_lists, sources, targets

PRESETS = load_presets()
READING = Reading(NOW, "Asia/Tokyo", PRESETS.get, PRESETS.suggest, lambda: bytes(16))
FILE = Owner(OwnerKind.FILE, "/restored.toml")
RULES = Rules(lambda: "new", PRESETS.danger_for, ())
SOMEBODY = sources().filter(lambda drawn: drawn != Sources())


def export(snapshot: Snapshot, zone: str = "Asia/Tokyo", now: float = NOW) -> str:
    return export_toml(snapshot, zone, now=now, preset=PRESETS.get, origin="/var/lib/sekimori")


def restore(text: str, now: float = NOW) -> tuple[Ask, ...]:
    """What applying an export to an empty ledger asks for."""
    reading = replace(READING, now=now)
    config = parse_config(text, Path(FILE.id), reading)
    return plan_sync(config, Snapshot(), reading, lambda *_: None).asks


def granted(asks: Sequence[Ask]) -> dict[str, Mapping]:
    """The mappings those asks come to, with policy's own defaults for what they leave out."""
    found: dict[str, Mapping] = {}
    for ask in asks:
        match ask:
            case Submit():
                mapping = new_mapping(ask.wish, FILE, "new", Snapshot(), RULES, NOW)
                found[mapping.name] = mapping
            case Change():
                assert ask.wish == Wish()
                found[ask.ref] = replace(found[ask.ref], paused=bool(ask.paused))
    return found


def terms(mapping: Mapping) -> Mapping:
    """The mapping without what an export does not keep: who, when, and that a time was a duration."""
    expires = mapping.lifetime.expires_at
    return replace(
        mapping,
        id="",
        owner=FILE,
        ports=tuple(sorted(mapping.ports)),
        lifetime=mapping.lifetime if expires is None else Lifetime.until(expires),
        path=(),
        created_at=0,
        revision=0,
    )


def unique(lists: Sequence[NamedList]) -> list[NamedList]:
    return list({named.name: named for named in lists}.values())


@settings(max_examples=50)
@given(mapping_sets(2, sources=SOMEBODY, preset=None), st.lists(named_lists(), max_size=2).map(unique))
def test_any_state_comes_back(mappings, lists):
    asks = restore(export(Snapshot(mappings, lists)))
    defined = [ask for ask in asks if isinstance(ask, Define)]
    assert {ask.name: set(ask.prefixes or ()) for ask in defined} == {
        named.name: set(named.prefixes) for named in lists
    }
    assert {name: terms(mapping) for name, mapping in granted(asks).items()} == {
        mapping.name: terms(mapping) for mapping in mappings
    }


@settings(max_examples=50)
@given(st.sampled_from(PRESETS.all()), targets(), st.integers(1, 60000), st.booleans(), limits(), SOMEBODY)
def test_a_preset_is_kept_where_its_ports_are_the_mappings(preset, target, inside, shifted, caps, who):
    mapping = of_preset(preset.name, target, inside if shifted else None, limits=caps, sources=who)
    assume(_fits(mapping))
    text = export(Snapshot([mapping]))
    assert tomllib.loads(text)["mappings"]["it"]["ports"] == preset.name
    (back,) = granted(restore(text)).values()
    assert terms(back) == terms(mapping)


@settings(max_examples=50)
@given(st.sampled_from(PRESETS.all()), st.integers(1, 60000))
def test_a_preset_whose_ports_were_changed_is_written_out(preset, extra):
    mapping = of_preset(preset.name, Target.parse_host("h"), None)
    first = mapping.ports[0]
    assume(first.protocol.has_ports)
    outside = PortRange(extra, extra + first.outside.size - 1)
    if outside == first.outside or any(outside.overlaps(pair.outside) for pair in mapping.ports[1:]):
        return
    moved = replace(mapping, ports=(PortPair(first.protocol, outside, first.inside), *mapping.ports[1:]))
    text = export(Snapshot([moved]))
    (back,) = granted(restore(text)).values()
    assert terms(back) == terms(replace(moved, preset=None))
    assert f'preset "{preset.name}", with other ports' in text


def _fits(mapping: Mapping) -> bool:
    """Whether policy would take such ports to such a target."""
    try:
        check_kind(mapping)
    except Problem:
        return False
    return mapping.target != WHOEVER_TRIGGERS


def of_preset(known: str, target: Target, inside: int | None, **fields: object) -> Mapping:
    """A mapping of a preset, its inside ports shifted where it has one range only."""
    preset = PRESETS.get(known)
    assert preset is not None
    wanted = [spec for text in preset.ports for spec in parse_ports(text)]
    ranges = {spec.outside for spec in wanted}
    size = next(iter(ranges)).size
    fixed = len(ranges) > 1 or not all(each.has_ports for spec in wanted for each in spec.protocols)
    shift = None if inside is None or fixed else PortRange(inside, inside + size - 1)
    mapping = Mapping(
        id="m1",
        name="it",
        owner=FILE,
        ports=pair_ports(tuple(wanted), shift, str(target)),
        target=target,
        sources=Sources.parse("lan"),
        lifetime=Lifetime.lasting(3600, NOW),
        preset=known,
    )
    return replace(mapping, **fields)  # type: ignore[arg-type]


KINDS = """\
[mappings.dmz]  # owner "person:alice"
ports = "dmz"
to = "192.168.1.50"
from = ["lan"]
until = "2027-01-15T19:00:00+09:00"  # asked for 2h
on = "eth1"
except = ["gre", "tcp+udp/443"]
log = true

[mappings.hole]  # owner "person:alice"
ports = "tcp/443"
to = "::10/-64"
from = ["lan"]
until = "2027-01-15T19:00:00+09:00"  # asked for 2h

[mappings.irc]  # owner "person:alice"
ports = "tcp/113"
to = "trigger"
from = ["lan"]
until = "2027-01-15T19:00:00+09:00"  # asked for 2h
trigger = "tcp/6667,udp/3000"
hold = "10m"

[mappings.nas]  # owner "person:alice"
ports = "tcp/8080"
to = "device:nas@aa:bb:cc:dd:ee:ff"
from = ["lan"]
until = "2027-01-15T19:00:00+09:00"  # asked for 2h
"""


def test_what_every_kind_looks_like_and_that_it_comes_back():
    def of(name: str, ports: str, to: str, **fields: object) -> Mapping:
        pairs, lan = pair_ports(parse_ports(ports), None, to), Sources.parse("lan")
        return web(id=name, name=name, ports=pairs, target=Target.parse_host(to), sources=lan, **fields)

    trigger = Trigger(parse_spans("udp/3000,6667"), 600)
    mappings = [
        of(
            "dmz",
            "dmz",
            "192.168.1.50",
            excepted=parse_spans("443,udp/443,gre"),
            log=True,
            on=Interface("eth1"),
        ),
        of("hole", "443", "::10/-64"),
        of("irc", "113", "trigger", trigger=trigger),
        of("nas", "8080", "device:nas@aa:bb:cc:dd:ee:ff"),
    ]
    text = export(Snapshot(mappings))
    assert text.partition("\n\n")[2] == KINDS
    assert [terms(each) for each in granted(restore(text)).values()] == [terms(each) for each in mappings]


def web(**fields: object) -> Mapping:
    target, inside = parse_target("192.168.1.5:80")
    mapping = Mapping(
        id="m2",
        name="web",
        owner=Owner(OwnerKind.PERSON, "alice"),
        ports=pair_ports(parse_ports("8080"), inside, ""),
        target=target,
        sources=Sources.parse("office,lan"),
        lifetime=Lifetime.lasting(7200, NOW),
    )
    return replace(mapping, **fields)  # type: ignore[arg-type]


EXPORTED = """\
# Sekimori: the whole state, exported 2027-01-15T17:00:00+09:00 from "/var/lib/sekimori".
# 'sekimori apply FILE' on an empty ledger gives the same terms and the same ends; the owner of
# everything is then that file. Settings of the daemon are not part of it.
# 3 mappings, 1 list.

[lists]
"office.1" = ["198.51.100.0/24"]  # owner "file:/etc/sekimori/sekimori.toml"

[mappings."a.b"]  # owner "person:alice"
ports = "tcp/8080:80"
to = "192.168.1.5"
from = ["anyone"]
permanent = "the \\"main\\" site"
hours = "mon-fri/09:00-18:00"
zone = "UTC"
on = "2001:db8::1"
limit = "20/min"
limit_total = "5/s"
max_connections = 9
proxy_protocol = 2
idle = "10m"
accept_risk = ["exposed-admin", "open-proxy"]
paused = true

[mappings.game]  # owner "person:alice"
ports = "minecraft"
to = "192.168.1.7:25566"
from = ["lan"]
until = "2027-01-15T18:00:00+09:00"  # asked for 1h
limit = "none"

[mappings.web]  # owner "person:alice"
ports = "tcp/8080:80"
to = "192.168.1.5"
from = ["lan", "office"]
until = "2027-01-15T19:00:00+09:00"  # asked for 2h
"""


def test_what_an_export_looks_like():
    office = NamedList(
        "office.1", Owner(OwnerKind.FILE, "/etc/sekimori/sekimori.toml"), (parse_prefix("198.51.100.0/24"),)
    )
    everything = web(
        id="m3",
        name="a.b",
        sources=Sources(anyone=True),
        lifetime=Lifetime.permanent('the "main" site'),
        schedule=Schedule.parse("mon-fri/09:00-18:00", "UTC"),
        on=parse_address("2001:db8::1"),
        limits=Limits(Rate(20, 60), Rate(5, 1), 9),
        proxy_protocol=2,
        idle=600,
        accepted_risks=("exposed-admin", "open-proxy"),
        paused=True,
    )
    alice = Owner(OwnerKind.PERSON, "alice")
    game = of_preset("minecraft", Target.parse_host("192.168.1.7"), 25566, name="game", owner=alice)
    assert export(Snapshot([web(), game, everything], [office])) == EXPORTED


def test_an_empty_ledger_exports_to_nothing_but_its_header():
    text = export_toml(Snapshot(), "UTC", now=NOW, preset=PRESETS.get)
    assert text.startswith("# Sekimori: the whole state, exported 2027-01-15T08:00:00+00:00.\n")
    assert text.endswith("\n# 0 mappings, 0 lists.\n")
    assert restore(text) == ()


def test_what_has_ended_is_left_out():
    ended = web(name="old", id="m9", lifetime=Lifetime.lasting(60, NOW - 60))
    assert set(granted(restore(export(Snapshot([web(), ended]))))) == {"web"}
    assert "# 1 mapping, 0 lists." in export(Snapshot([web(), ended]))


@pytest.mark.parametrize("later", [0, 1, 7199])
def test_the_remaining_time_is_what_it_was_however_late_it_is_applied(later):
    (back,) = granted(restore(export(Snapshot([web()])), now=NOW + later)).values()
    assert back.lifetime.expires_at == NOW + 7200


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York", "Asia/Kathmandu"])
def test_times_hold_in_any_zone_also_across_a_change_of_clocks(zone):
    ends = [Lifetime.until(NOW + hours * 3600) for hours in range(1, 8000, 333)]
    for end in ends:
        (back,) = granted(restore(export(Snapshot([web(lifetime=end)]), zone))).values()
        assert back.lifetime == end


@pytest.mark.parametrize(
    "reason", ["a\nb = 1\n[mappings.x]", '"""', "\\", "\x7f\x00\x1b", "関守 🚪", "#", "'"]
)
def test_any_reason_survives(reason):
    lifetime = Lifetime.permanent(reason)
    (back,) = granted(restore(export(Snapshot([web(lifetime=lifetime)])))).values()
    assert back.lifetime == lifetime


def test_half_a_surrogate_pair_is_replaced_for_no_file_can_hold_it():
    text = export(Snapshot([web(lifetime=Lifetime.permanent("a\ud800b"))]))
    (back,) = granted(restore(text.encode().decode())).values()
    assert back.lifetime == Lifetime.permanent("a?b")


def test_an_owners_name_cannot_leave_its_comment():
    evil = Owner(OwnerKind.DEVICE, 'x"\n[mappings.evil]\nports = "22"\r\x7f')
    text = export(Snapshot([web(owner=evil)], [NamedList("office", evil, ())]))
    assert set(tomllib.loads(text)["mappings"]) == {"web"}
    assert set(granted(restore(text))) == {"web"}
