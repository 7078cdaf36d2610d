"""The whole state as a config file that gives the same state again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from sekimori.config.lines import show_key
from sekimori.model.address import PortPair, PortRange, UnixPath, format_ports, format_spans, parse_ports
from sekimori.model.decision import NamedList, Subject
from sekimori.model.destination import ANYWHERE
from sekimori.model.door import Door, DoorName
from sekimori.model.errors import Problem
from sekimori.model.grantwords import words_of_grant
from sekimori.model.lifetime import Asked, format_duration, format_instant
from sekimori.model.mapping import Mapping
from sekimori.model.preset import Preset
from sekimori.model.schedule import load_zone
from sekimori.model.snapshot import Snapshot
from sekimori.model.socks import SocksTerms
from sekimori.model.target import pair_ports
from sekimori.model.user import Grant

__all__ = ["export_toml"]


def export_toml(
    snapshot: Snapshot,
    zone: str,
    *,
    now: float,
    preset: Callable[[str], Preset | None],
    origin: str = "",
) -> str:
    """All lists and mappings as TOML, for `parse_config` and an empty ledger.

    Terms and ends come back as they are: what was asked for a duration is written as the
    time it ends, in `zone` with its offset. Mappings whose time is over are left out, and so are leases:
    they are their devices' own, and asked for again.
    `origin` names the ledger in the header.
    """
    named = sorted(snapshot.named_lists, key=lambda each: each.name)
    alive = sorted(
        (mapping for mapping in snapshot if mapping.lease is None and not mapping.lifetime.has_ended(now)),
        key=lambda mapping: mapping.name.lower(),
    )
    leases = sum(mapping.lease is not None for mapping in snapshot)
    left_out = f"; {_count(leases, 'lease')} of devices left out" if leases else ""
    counts = f"{_count(len(alive), 'mapping')}, {_count(len(named), 'list')}{left_out}"
    lines = [*_header(zone, now, origin), f"# {counts}."]
    lines += [*_setting_lines(snapshot, zone, now), *_door_lines(snapshot)]
    lines += [*_link_lines(snapshot), *_user_lines(snapshot, zone)]
    if named:
        lines += ["", "[lists]", *(line for each in named for line in _list_lines(each))]
    for mapping in alive:
        lines += ["", *_mapping_lines(mapping, zone, preset)]
    return "\n".join(lines) + "\n"


def _header(zone: str, now: float, origin: str) -> Iterator[str]:
    source = f" from {_quote(origin)}" if origin else ""
    yield f"# Sekimori: the whole state, exported {format_instant(now, load_zone(zone))}{source}."
    yield "# 'sekimori apply FILE' on an empty ledger gives the same terms and the same ends; the owner of"
    yield "# everything is then that file. Settings of the daemon are not part of it."


def _setting_lines(snapshot: Snapshot, zone: str, now: float) -> Iterator[str]:
    gateway = snapshot.gateway
    if gateway is not None:
        yield from ("", f"[gateway]  # {_owner(gateway)}")
        yield f"masquerade = {_value(gateway.masquerade)}"
        yield f"firewall = {_value(gateway.firewall)}"
    bans = [ban for ban in snapshot.bans.values() if not ban.has_ended(now)]
    if bans:
        yield from ("", "[bans]")
    for ban in sorted(bans, key=lambda ban: (ban.prefix.version, ban.prefix)):
        reason = _quote(ban.reason)
        if ban.expires_at is not None:
            until = _quote(format_instant(ban.expires_at, load_zone(zone)))
            reason = f"{{ reason = {reason}, until = {until} }}"
        yield f"{_quote(str(ban.prefix))} = {reason}  # {_owner(ban)}"


def _door_lines(snapshot: Snapshot) -> Iterator[str]:
    permissions = snapshot.permissions
    if permissions is not None:
        yield from ("", f"[doors]  # {_owner(permissions)}", "permissions = [")
        yield from (f"    {_quote(str(rule))}," for rule in permissions.rules)
        yield "]"
    for name, door in snapshot.doors.items():
        yield from ("", f"[doors.{name}]  # {_owner(door)}")
        if name is DoorName.SSH:
            yield from _ssh_lines(door)
            continue
        yield f"interfaces = {_array(iter(door.interfaces))}"
        if name is DoorName.IGD:
            yield f"version = {door.version}"
        else:
            yield f"nonce = {_quote(door.nonce)}"


def _ssh_lines(door: Door) -> Iterator[str]:
    yield f"listen = {_array(iter(door.listen))}"
    if door.authorized_keys:
        yield f"authorized_keys = {_quote(door.authorized_keys)}"
    if door.grant is not None:
        yield "[doors.ssh.grant]"
        yield from _grant_lines(door.grant)


def _grant_lines(grant: Grant) -> Iterator[str]:
    yield from (f"{key} = {_value(value)}" for key, value in words_of_grant(grant).items())


def _link_lines(snapshot: Snapshot) -> Iterator[str]:
    for name, link in sorted(snapshot.links.items()):
        yield from ("", f"[{show_key(('links', name))}]  # {_owner(link)}", f"to = {_quote(str(link.place))}")
        for key, values in (("jump", link.jump), ("identity", link.identity), ("host_keys", link.host_keys)):
            if values:
                yield f"{key} = {_array(map(str, values))}"
        if link.config:
            yield f"config = {_quote(link.config)}"
        if link.connections != 1:
            yield f"connections = {link.connections}"


def _user_lines(snapshot: Snapshot, zone: str) -> Iterator[str]:
    for name, user in sorted(snapshot.users.items()):
        yield from ("", f"[{show_key(('users', name))}]  # {_owner(user)}", "keys = [")
        yield from (f"    {_quote(line)}," for line in user.keys)
        yield "]"
        if user.expires_at is not None:
            yield f"until = {_quote(format_instant(user.expires_at, load_zone(zone)))}"
        yield from _grant_lines(user.grant)


def _list_lines(named: NamedList) -> Iterator[str]:
    yield f"{show_key((named.name,))} = {_array(str(prefix) for prefix in named.prefixes)}  # {_owner(named)}"


def _mapping_lines(mapping: Mapping, zone: str, preset: Callable[[str], Preset | None]) -> Iterator[str]:
    yield f"[{show_key(('mappings', mapping.name))}]  # {_owner(mapping)}"
    for key, value in _words(mapping, zone, preset).items():
        yield f"{key} = {_value(value)}{_remark(mapping, key, value)}"


def _words(mapping: Mapping, zone: str, preset: Callable[[str], Preset | None]) -> dict[str, Any]:
    """The entry's keys: sources and lifetime always, the rest where it is not the default."""
    limits, schedule = mapping.limits, mapping.schedule
    said: dict[str, Any] = _way(mapping, preset)
    # A preset brings a limit of its own, so a mapping freed of it has to say so.
    unlimited = "none" if said["ports"] == mapping.preset else None
    said |= {
        "from": str(mapping.sources).split(","),
        **_lifetime(mapping, zone),
        "hours": None if schedule is None else str(schedule),
        "zone": None if schedule is None else schedule.zone,
        "on": None if mapping.on is None or isinstance(mapping.on, UnixPath) else str(mapping.on),
        "via": None if mapping.via == "auto" else mapping.via,
        "at": mapping.at,
        "limit": unlimited if limits.per_source is None else str(limits.per_source),
        "limit_total": None if limits.total is None else str(limits.total),
        "max_connections": limits.connections,
        "proxy_protocol": mapping.proxy_protocol or None,
        "idle": None if mapping.idle is None else format_duration(mapping.idle),
        "trigger": None if mapping.trigger is None else format_spans(mapping.trigger.ports),
        "hold": None if mapping.trigger is None else format_duration(mapping.trigger.hold),
        "except": format_spans(mapping.excepted).split(",") if mapping.excepted else None,
        **_socks(mapping.socks),
        "log": mapping.log or None,
        "accept_risk": list(mapping.accepted_risks) or None,
        "paused": mapping.paused or None,
    }
    return {key: value for key, value in said.items() if value is not None}


def _socks(terms: SocksTerms | None) -> dict[str, Any]:
    """Passwords as what they are held against, which a file may hold in their place."""
    if terms is None:
        return {}
    return {
        "socks_user": [str(each) for each in terms.users] or None,
        "reach": None if terms.reach == ANYWHERE else str(terms.reach).split(","),
    }


def _way(mapping: Mapping, preset: Callable[[str], Preset | None]) -> dict[str, Any]:
    """`ports` and `to`: by the preset's name where that gives the very same ports."""
    host = str(mapping.target)
    known = preset(mapping.preset) if mapping.preset else None
    if known is not None:
        for inside in (None, *{pair.inside for pair in mapping.ports}):
            if set(mapping.ports) == _preset_pairs(known, inside, host):
                return {
                    "ports": known.name,
                    "to": host if inside is None else mapping.target.with_port(inside),
                }
    if isinstance(mapping.on, UnixPath):
        return {"ports": str(mapping.on), "to": mapping.target_text}
    return {"ports": format_ports(mapping.ports), "to": host}


def _preset_pairs(preset: Preset, inside: PortRange | None, host: str) -> set[PortPair] | None:
    """The pairs a preset gives with that inside; None when the two do not go together."""
    specs = tuple(spec for ports in preset.ports for spec in parse_ports(ports))
    try:
        return set(pair_ports(specs, inside, host))
    except Problem:
        return None


def _lifetime(mapping: Mapping, zone: str) -> dict[str, str]:
    expires = mapping.lifetime.expires_at
    if expires is None:
        return {"permanent": mapping.lifetime.value}
    return {"until": format_instant(expires, load_zone(zone))}


def _remark(mapping: Mapping, key: str, value: object) -> str:
    if key == "until" and mapping.lifetime.asked is Asked.FOR:
        return f"  # asked for {mapping.lifetime.value}"
    if key == "ports" and mapping.preset is not None and value != mapping.preset:
        return f"  # preset {_quote(mapping.preset)}, with other ports"
    return ""


def _owner(subject: Subject) -> str:
    # Quoted: an owner's name may come from a device, and a line break would end the comment.
    return f"owner {_quote(str(subject.owner))}"


def _value(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case list():
            return _array(value)
        case _:
            return _quote(str(value))


def _array(values: Iterator[str] | list[str]) -> str:
    return f"[{', '.join(map(_quote, values))}]"


def _quote(text: str) -> str:
    """A TOML basic string; JSON's escapes are among its own, but JSON lets DEL through (TOML 1.0)."""
    whole = text.encode(errors="replace").decode()  # half a surrogate pair is no character to write
    return json.dumps(whole, ensure_ascii=False).replace("\x7f", "\\u007f")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
