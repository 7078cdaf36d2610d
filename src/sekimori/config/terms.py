"""What a config entry means in terms of a mapping, and where a mapping differs from it."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import replace
from typing import Any, Final, TypeVar

from sekimori.model.address import PortPair, PortSpec, UnixPath
from sekimori.model.defaults import HOLD, WHOEVER_TRIGGERS, usual_lifetime
from sekimori.model.destination import ANYWHERE
from sekimori.model.lifetime import Asked, Lifetime, parse_duration
from sekimori.model.limits import Rate
from sekimori.model.mapping import Mapping
from sekimori.model.preset import Preset
from sekimori.model.request import Unsaid, Wish
from sekimori.model.socks import verify
from sekimori.model.source import LAN, Sources
from sekimori.model.target import Target, TargetKind, pair_ports

__all__ = ["complete", "differing", "loses_risk", "recognise"]

_T = TypeVar("_T")

_DEFAULTS: Final[dict[str, Any]] = {
    "schedule": None,
    "on": None,
    "via": "auto",
    "at": None,
    "total": None,
    "connections": None,
    "proxy_protocol": 0,
    "idle": None,
    "trigger": None,
    "excepted": (),
    "socks_users": (),
    "log": False,
}
"""The words whose default hangs on nothing else, as they stand in a wish."""


def complete(wish: Wish, lifetime: int, now: float) -> Wish:
    """The wish with every word said: the defaults that policy gives a new mapping.

    `lifetime` is in seconds, for an entry without a lifetime and without a preset.
    """
    preset = _preset(wish)
    limit = Rate.parse(preset.limit) if preset and preset.limit else None
    said = {name: getattr(wish, name) for name in _DEFAULTS}
    assert not isinstance(wish.specs, Unsaid), "a config entry has its ports"
    lasting = usual_lifetime(wish.specs, preset, lifetime)
    target = WHOEVER_TRIGGERS if isinstance(wish.target, Unsaid) else wish.target
    return replace(
        wish,
        target=target,
        sources=_said(wish.sources, Sources.parse(preset.sources if preset else LAN)),
        lifetime=_said(wish.lifetime, Lifetime.lasting(lasting, now)),
        per_source=_said(wish.per_source, limit),
        reach=_said(wish.reach, ANYWHERE if target.kind is TargetKind.SOCKS else None),
        hold=(_said(wish.hold, None) or HOLD) if _said(wish.trigger, None) else None,
        **{name: _said(value, _DEFAULTS[name]) or _DEFAULTS[name] for name, value in said.items()},
    )


def recognise(want: Wish, passwords: MappingABC[str, str], mapping: Mapping) -> Wish:
    """The wish with the verifiers that stand, for users whose password they were made of.

    Every reading makes another verifier of the same password, with a salt of its own.
    """
    if isinstance(want.socks_users, Unsaid) or not want.socks_users or mapping.socks is None:
        return want
    stands = {each.name: each for each in mapping.socks.users}
    users = (
        stands[each.name]
        if each.name in stands
        and each.name in passwords
        and verify(stands[each.name].text, passwords[each.name].encode())
        else each
        for each in want.socks_users
    )
    return replace(want, socks_users=tuple(users))


def differing(mapping: Mapping, want: Wish) -> Wish:
    """The words of a completed wish in which the mapping differs; an empty wish is none.

    Words are compared as they were asked: a duration by its length, for its end moves
    with every reading, and a time by its instant.
    """
    pairs, preset = _pairs(want), _preset(want)
    stands = _plain_terms(mapping)
    changes: dict[str, Any] = {
        name: getattr(want, name) for name in stands if getattr(want, name) != stands[name]
    }
    if "target" in changes and _same_device(mapping.target, changes["target"]):
        del changes["target"]
    if set(pairs) != set(mapping.ports) or (preset.name if preset else None) != mapping.preset:
        # Each inside port is spelled out, so that nothing of the old ports is kept by default.
        changes["specs"] = tuple(PortSpec((pair.protocol,), pair.outside, pair.inside) for pair in pairs)
        changes["preset"] = preset
        if isinstance(want.on, UnixPath):  # which is part of what is opened
            changes["on"] = want.on
    if isinstance(want.lifetime, Lifetime) and not _same_lifetime(mapping.lifetime, want.lifetime):
        changes["lifetime"] = want.lifetime
    if not set(want.accepted_risks) <= set(mapping.accepted_risks):
        changes["accepted_risks"] = want.accepted_risks
    return Wish(**changes)


def loses_risk(mapping: Mapping, want: Wish) -> bool:
    """Whether a risk the mapping was opened with is accepted no longer, which no wish can say."""
    return not set(mapping.accepted_risks) <= set(want.accepted_risks)


def _plain_terms(mapping: Mapping) -> dict[str, object]:
    """The terms that compare as they are, by their names in a wish."""
    return {
        "name": mapping.name,
        "target": mapping.target,
        "sources": mapping.sources,
        "schedule": mapping.schedule,
        "on": mapping.on,
        "via": mapping.via,
        "at": mapping.at,
        "per_source": mapping.limits.per_source,
        "total": mapping.limits.total,
        "connections": mapping.limits.connections,
        "proxy_protocol": mapping.proxy_protocol,
        "idle": mapping.idle,
        "trigger": mapping.trigger.ports if mapping.trigger else None,
        "hold": mapping.trigger.hold if mapping.trigger else None,
        "excepted": mapping.excepted,
        "socks_users": mapping.socks.users if mapping.socks else (),
        "reach": mapping.socks.reach if mapping.socks else None,
        "log": mapping.log,
    }


def _same_device(stands: Target, wanted: Target) -> bool:
    """Whether a device is named by its name alone that is known by its MAC address already."""
    return wanted.kind is TargetKind.DEVICE and not wanted.mac and stands.host == wanted.host


def _same_lifetime(stands: Lifetime, wanted: Lifetime) -> bool:
    if stands.asked is not wanted.asked:
        return False
    if wanted.asked is Asked.UNTIL:
        return stands.expires_at == wanted.expires_at
    if wanted.asked is Asked.FOR:
        return parse_duration(stands.value) == parse_duration(wanted.value)
    return stands.value == wanted.value


def _pairs(wish: Wish) -> tuple[PortPair, ...]:
    assert not isinstance(wish.specs, Unsaid), "a config entry has its ports"
    assert isinstance(wish.target, Target), "a config entry has its target"
    return pair_ports(wish.specs, wish.inside, str(wish.target))


def _preset(wish: Wish) -> Preset | None:
    return _said(wish.preset, None)


def _said(value: _T | Unsaid, default: _T) -> _T:
    return default if isinstance(value, Unsaid) else value
