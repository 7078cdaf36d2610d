"""`[gateway]` and `[bans]` of the config file: read, and asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from sekimori.config.entry import read_until
from sekimori.config.lines import Place
from sekimori.config.schema import BanEntry, GatewaySettings
from sekimori.model.address import IPNetwork
from sekimori.model.causes import Unreadable, cause
from sekimori.model.gateway import Gateway
from sekimori.model.mapping import Owner
from sekimori.model.request import Configure, LiftBan, PutBan
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import parse_prefix
from sekimori.model.words import Reading

__all__ = ["GATEWAY", "ask_for_settings", "read_bans"]

_BAN_KEYS: Final = ("reason", "until")


def read_bans(table: Mapping[str, Any], place: Place, reading: Reading) -> tuple[BanEntry, ...]:
    """Read `"198.51.100.0/24" = "reason"`, or `= { reason = "…", until = 2026-12-01 }`.

    Raises:
        Problem: `unknown-key` or `bad-config`.
    """
    found: dict[IPNetwork, BanEntry] = {}
    for key, value in table.items():
        entry = _read_ban(key, value, place.at(key), reading)
        if found.setdefault(entry.prefix, entry) is not entry:
            raise place.at(key).bad(cause("same-prefix", prefix=str(entry.prefix)))
    return tuple(found.values())


def ask_for_settings(
    owner: Owner,
    gateway: GatewaySettings | None,
    bans: tuple[BanEntry, ...],
    snapshot: Snapshot,
    now: float,
) -> Iterator[Configure | PutBan | LiftBan]:
    """What brings the gateway and the bans to what the file of `owner` says.

    What others set up and the file does not name is left alone. A ban whose time has passed is not put.
    """
    stands = snapshot.gateway
    if gateway is None:
        if stands is not None and stands.owner == owner:
            yield Configure(None)
    elif stands is None or (stands.owner, stands.masquerade, stands.firewall) != (
        owner,
        gateway.masquerade,
        gateway.firewall,
    ):
        yield Configure(Gateway(owner=owner, masquerade=gateway.masquerade, firewall=gateway.firewall))
    declared = {entry.prefix for entry in bans}
    for ban in snapshot.bans.values():
        if ban.owner == owner and ban.prefix not in declared:
            yield LiftBan(ban.prefix)
    for entry in bans:
        held = snapshot.bans.get(entry.prefix)
        wanted = (owner, entry.reason, entry.expires_at)
        if held is not None and (held.owner, held.reason, held.expires_at) == wanted:
            continue
        if entry.expires_at is None or entry.expires_at > now:
            yield PutBan(entry.prefix, entry.expires_at, entry.reason)


def _read_ban(key: str, value: object, place: Place, reading: Reading) -> BanEntry:
    try:
        prefix = parse_prefix(key.strip())
    except Unreadable as error:
        raise place.bad(error.why if "/" in key else cause("not-a-prefix")) from None
    if isinstance(value, str):
        return BanEntry(prefix, value.strip(), None)
    if not isinstance(value, dict):
        raise place.bad(cause("not-a-ban"))
    for name in value:
        if name not in _BAN_KEYS:
            raise place.at(name).unknown(_BAN_KEYS)
    reason = value.get("reason", "")
    if not isinstance(reason, str):
        raise place.at("reason").bad(cause("not-quoted"))
    until = value.get("until")
    ends = None if until is None else read_until(until, place.at("until"), reading)
    return BanEntry(prefix, reason.strip(), ends)


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise Unreadable("not-boolean")
    return value


GATEWAY: Final[Mapping[str, Callable[[Any], object]]] = {"masquerade": _switch, "firewall": _switch}
"""By key of `[gateway]`: what turns its value into ours, or raises `Unreadable` with the reason."""
