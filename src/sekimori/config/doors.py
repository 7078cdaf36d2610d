"""`[doors]` of the config file: read, and asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sekimori.config.entry import explain
from sekimori.config.grants import read_grant
from sekimori.config.lines import Place
from sekimori.config.schema import DoorSettings, DoorsSection
from sekimori.model.address import Interface, parse_on
from sekimori.model.causes import cause
from sekimori.model.door import DisableDoor, Door, DoorName, EnableDoor, ListenAt
from sekimori.model.errors import Problem
from sekimori.model.lease import NonceRule
from sekimori.model.mapping import Owner
from sekimori.model.permission import Permission, SetPermissions
from sekimori.model.snapshot import Snapshot

__all__ = ["DOORS", "DOOR_KEYS", "ask_for_doors", "read_doors"]

_VERSIONS: Final = (1, 2)
DOOR_KEYS: Final[Mapping[DoorName, tuple[str, ...]]] = {
    DoorName.IGD: ("interfaces", "version"),
    DoorName.PORTMAP: ("interfaces", "nonce"),
    DoorName.SSH: ("listen", "authorized_keys", "grant"),
}
"""The keys of `[doors.NAME]`."""
DOORS: Final = (*map(str, DoorName), "permissions")
"""The keys of `[doors]`."""


def read_doors(table: Mapping[str, Any], place: Place) -> DoorsSection:
    """Read `permissions`, and the tables that open doors: `[doors.igd]`, `[doors.portmap]`, `[doors.ssh]`.

    Raises:
        Problem: `unknown-key` or `bad-config`.
    """
    for key in table:
        if key not in DOORS:
            raise place.at(key).unknown(DOORS)
    doors = {
        name: _read_door(name, table[name], place.at(str(name))) for name in DoorName if str(name) in table
    }
    rules = table.get("permissions")
    return DoorsSection(doors, None if rules is None else _read_rules(rules, place.at("permissions")))


def ask_for_doors(
    owner: Owner, section: DoorsSection, snapshot: Snapshot
) -> Iterator[EnableDoor | DisableDoor | SetPermissions]:
    """What brings the doors and the rules to what the file of `owner` says.

    What others set up and the file does not name is left alone.
    """
    for name in DoorName:
        stands, wanted = snapshot.doors.get(name), section.doors.get(name)
        if wanted is not None and (stands is None or _terms(stands) != (owner, wanted)):
            yield EnableDoor(_door(name, owner, wanted))
        elif wanted is None and stands is not None and stands.owner == owner:
            yield DisableDoor(name)
    written = snapshot.permissions
    if section.permissions is None:
        if written is not None and written.owner == owner:
            yield SetPermissions(None)
    elif written is None or (written.owner, written.rules) != (owner, section.permissions):
        yield SetPermissions(section.permissions)


def _door(name: DoorName, owner: Owner, settings: DoorSettings) -> Door:
    return Door(
        door=name,
        owner=owner,
        interfaces=settings.interfaces,
        version=settings.version,
        nonce=settings.nonce,
        listen=settings.listen,
        authorized_keys=settings.authorized_keys,
        grant=settings.grant,
    )


def _terms(door: Door) -> tuple[Owner, DoorSettings]:
    return door.owner, DoorSettings(
        door.interfaces, door.version, door.nonce, door.listen, door.authorized_keys, door.grant
    )


def _read_door(name: DoorName, table: object, place: Place) -> DoorSettings:
    if not isinstance(table, dict):
        raise place.bad(cause("not-a-table", table=f"doors.{name}"))
    for key in table:
        if key not in DOOR_KEYS[name]:
            raise place.at(key).unknown(DOOR_KEYS[name])
    if name is DoorName.SSH:
        return _read_ssh(table, place)
    if "interfaces" not in table:
        raise place.bad(cause("key-missing", key="interfaces"))
    version, nonce = table.get("version", 1), table.get("nonce", NonceRule.SAME_SOURCE)
    if isinstance(version, bool) or version not in _VERSIONS:
        raise place.at("version").bad(cause("igd-versions"))
    if nonce not in tuple(NonceRule):
        raise place.at("nonce").bad(cause("nonce-rules"))
    return DoorSettings(
        _read_interfaces(table["interfaces"], place.at("interfaces")), version, NonceRule(nonce)
    )


def _read_ssh(table: Mapping[str, Any], place: Place) -> DoorSettings:
    if "listen" not in table:
        raise place.bad(cause("key-missing", key="listen"))
    listen, file = table["listen"], table.get("authorized_keys", "")
    places = listen if isinstance(listen, list) else [listen]
    if not places:
        raise place.at("listen").bad(cause("empty"))
    if not isinstance(file, str) or (file and not file.startswith("/")):
        raise place.at("authorized_keys").bad(cause("path-not-absolute", path=str(file)))
    return DoorSettings(
        listen=tuple(dict.fromkeys(_read_listen(each, place.at("listen")) for each in places)),
        authorized_keys=file,
        grant=read_grant(table["grant"], place.at("grant")) if "grant" in table else None,
    )


def _read_listen(value: object, place: Place) -> str:
    if not isinstance(value, str):
        raise place.bad(cause("not-quoted"))
    try:
        return str(ListenAt.parse(value))
    except Problem as problem:
        raise place.bad(explain(problem)) from None


def _read_interfaces(value: object, place: Place) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise place.bad(cause("not-interfaces"))
    return tuple(dict.fromkeys(_read_interface(each, place.at(index)) for index, each in enumerate(value)))


def _read_interface(value: object, place: Place) -> str:
    try:
        found = parse_on(value) if isinstance(value, str) else None
    except Problem:  # it looks like an address, but is none: no interface either
        found = None
    if not isinstance(found, Interface):
        raise place.bad(cause("not-an-interface", text=str(value)))
    return found.name


def _read_rules(value: object, place: Place) -> tuple[Permission, ...]:
    if not isinstance(value, list):
        raise place.bad(cause("not-rules"))
    return tuple(_read_rule(each, place.at(index)) for index, each in enumerate(value))


def _read_rule(value: object, place: Place) -> Permission:
    if not isinstance(value, str):
        raise place.bad(cause("not-quoted"))
    try:
        return Permission.parse(value)
    except Problem as problem:
        raise place.bad(explain(problem)) from None
