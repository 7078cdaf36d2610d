"""Which asks take a revision back."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sekimori.ledger.journal import JournalRow, Revision
from sekimori.model.address import PortSpec
from sekimori.model.causes import cause
from sekimori.model.decision import Verb
from sekimori.model.door import DisableDoor, Door, EnableDoor
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.lifetime import Lifetime, format_instant
from sekimori.model.link import AddLink, Link, RemoveLink
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.mapping import Owner, OwnerKind, fold_fields
from sekimori.model.permission import Permissions, SetPermissions
from sekimori.model.request import Ask, Change, Close, Configure, Define, LiftBan, PutBan, Submit, Wish
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import parse_prefix
from sekimori.model.user import PutUser, RemoveUser, User

__all__ = ["asks_to_undo", "newest_undoable", "wish_of"]

_BOOKKEEPING = frozenset({"revision", "path", "created_at", "id", "owner"})
_ASKING_BY_THEMSELVES = frozenset({OwnerKind.DEVICE, OwnerKind.KEY})


def asks_to_undo(
    revision: Revision,
    snapshot: Snapshot,
    later: Callable[[str], int],
    now: float,
    lifetime: Lifetime | None,
) -> tuple[Ask, ...]:
    """The asks that bring every subject of `revision` back to what it was before.

    A field changed again later is not overwritten: that is a conflict.

    Args:
        revision: the one to take back.
        snapshot: how things stand.
        later: the revision that last changed a subject, by its id.
        now: Unix seconds.
        lifetime: for mappings that come back; None gives them what was left of theirs.

    Raises:
        Problem: `changed-since`, `already-closed` or `already-expired`.
    """
    asks: list[Ask] = []
    for row in reversed(_collapse(revision.rows)):
        if row.subject == "list":
            asks.append(_undo_list(row, snapshot, later))
        elif row.subject == "gateway":
            asks.append(_undo_gateway(row, snapshot, later))
        elif row.subject == "ban":
            asks.append(_undo_ban(row, snapshot, later, now))
        elif row.subject == "door":
            asks.append(_undo_door(row, snapshot, later))
        elif row.subject == "permissions":
            asks.append(_undo_permissions(row, snapshot, later))
        elif row.subject == "link":
            asks.append(_undo_link(row, snapshot, later))
        elif row.subject == "user":
            asks.append(_undo_user(row, snapshot, later))
        else:
            asks.extend(_undo_mapping(revision.number, row, snapshot, later, now, lifetime))
    order = {Define: 0, Close: 1, Change: 2, Submit: 3}
    return tuple(sorted(asks, key=lambda ask: order.get(type(ask), 2)))


def _collapse(rows: Iterable[JournalRow]) -> list[JournalRow]:
    """One row for each subject: from how it stood before the revision to how it stood after."""
    found: dict[tuple[str, str], JournalRow] = {}
    for row in rows:
        key = (row.subject, row.subject_id)
        first = found.get(key)
        found[key] = replace(row, before=first.before) if first else row
    return [row for row in found.values() if row.before is not None or row.after is not None]


def wish_of(mapping: PortMapping) -> Wish:
    """The wish that asks for exactly this mapping's terms."""
    return Wish(
        name=mapping.name,
        specs=tuple(PortSpec((pair.protocol,), pair.outside, pair.inside) for pair in mapping.ports),
        target=mapping.target,
        sources=mapping.sources,
        lifetime=mapping.lifetime,
        schedule=mapping.schedule,
        on=mapping.on,
        via=mapping.via,
        at=mapping.at,
        per_source=mapping.limits.per_source,
        total=mapping.limits.total,
        connections=mapping.limits.connections,
        proxy_protocol=mapping.proxy_protocol,
        idle=mapping.idle,
        trigger=mapping.trigger.ports if mapping.trigger else None,
        hold=mapping.trigger.hold if mapping.trigger else None,
        excepted=mapping.excepted,
        socks_users=mapping.socks.users if mapping.socks else None,
        reach=mapping.socks.reach if mapping.socks else None,
        log=mapping.log,
        accepted_risks=mapping.accepted_risks,
    )


def _undo_mapping(
    number: int,
    row: JournalRow,
    snapshot: Snapshot,
    later: Callable[[str], int],
    now: float,
    lifetime: Lifetime | None,
) -> Iterator[Ask]:
    current = snapshot.get(row.subject_id)
    if row.before is None:
        if current is None:
            raise Problem("already-closed", revision=number, name=row.name)
        yield Close(row.subject_id)
    elif row.after is None:
        yield _reopen(number, row, current, later, now, lifetime)
    elif current is None:
        raise Problem("already-closed", revision=number, name=row.name)
    else:
        yield _put_back(number, row.before, row.after, current, later, now, lifetime)


def _reopen(
    number: int,
    row: JournalRow,
    current: PortMapping | None,
    later: Callable[[str], int],
    now: float,
    lifetime: Lifetime | None,
) -> Submit:
    assert row.before is not None
    if current is not None:
        fields, since = cause("open-again"), later(row.subject_id)
        raise Problem("changed-since", revision=number, name=row.name, later=since, fields=fields)
    old = _still_lasting(number, PortMapping.from_document(row.before), now, lifetime)
    return Submit(wish_of(old), restore=old)


def _put_back(
    number: int,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    current: PortMapping,
    later: Callable[[str], int],
    now: float,
    lifetime: Lifetime | None,
) -> Change:
    now_is = current.to_document()
    changed = [key for key in _changed(before, after) if key not in _BOOKKEEPING]
    moved = [key for key in changed if now_is.get(key) != after.get(key)]
    if moved:
        raise Problem(
            "changed-since",
            revision=number,
            name=current.name,
            later=later(current.id),
            fields=", ".join(fold_fields(moved)),
        )
    kept = {key: value for key, value in now_is.items() if key not in changed}
    back = {key: before[key] for key in changed if key in before}
    restored = PortMapping.from_document({**kept, **back})
    if "lease" in changed:  # it was adopted: its device gets it back
        restored = replace(restored, owner=Owner.parse(before["owner"]))
    if "expires_at" in changed:
        restored = _still_lasting(number, restored, now, lifetime)
    paused = restored.paused if "paused" in changed else None
    if not set(changed) - {"paused"}:
        return Change(current.id, Wish(), paused)
    return Change(current.id, wish_of(restored), paused, restored)


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The fields in which two documents differ. What a mapping is without, its document may not name."""
    return [key for key in dict.fromkeys((*before, *after)) if before.get(key) != after.get(key)]


def _still_lasting(number: int, mapping: PortMapping, now: float, lifetime: Lifetime | None) -> PortMapping:
    """The mapping, whose time must not have ended: it would come back only to be gone again."""
    if lifetime is not None:
        mapping = replace(mapping, lifetime=lifetime)
    if mapping.lifetime.has_ended(now):
        when = format_instant(mapping.lifetime.expires_at or now)
        raise Problem("already-expired", name=mapping.name, when=when, revision=number)
    return mapping


def _undo_list(row: JournalRow, snapshot: Snapshot, later: Callable[[str], int]) -> Define:
    current = snapshot.list_named(row.subject_id)
    stands = None if current is None else current.to_document()
    if stands != row.after:
        raise Problem(
            "changed-since",
            revision=row.revision,
            name=row.name,
            later=later(row.subject_id),
            fields="prefixes" if stands and row.after else cause("the-list"),
        )
    if row.before is None:
        return Define(row.name, None)
    prefixes = tuple(parse_prefix(text) for text in row.before["prefixes"])
    return Define(row.name, prefixes, Owner.parse(row.before["owner"]))


def _undo_gateway(row: JournalRow, snapshot: Snapshot, later: Callable[[str], int]) -> Configure:
    stands = None if snapshot.gateway is None else snapshot.gateway.to_document()
    _refuse_moved(row, stands, later, "gateway")
    return Configure(None if row.before is None else Gateway.from_document(row.before))


def _undo_ban(
    row: JournalRow, snapshot: Snapshot, later: Callable[[str], int], now: float
) -> PutBan | LiftBan:
    prefix = ipaddress.ip_network(row.subject_id)
    current = snapshot.bans.get(prefix)
    _refuse_moved(row, None if current is None else current.to_document(), later, "until")
    if row.before is None:
        return LiftBan(prefix)
    old = Ban.from_document(row.before)
    if old.has_ended(now):
        when = format_instant(old.expires_at or now)
        raise Problem("ban-ended", revision=row.revision, name=old.name, when=when)
    return PutBan(prefix, old.expires_at, old.reason, old.owner)


def _undo_door(row: JournalRow, snapshot: Snapshot, later: Callable[[str], int]) -> EnableDoor | DisableDoor:
    door = Door.from_document(row.before or row.after or {})
    current = snapshot.doors.get(door.door)
    _refuse_moved(row, None if current is None else current.to_document(), later, "interfaces")
    return DisableDoor(door.door) if row.before is None else EnableDoor(door)


def _undo_permissions(row: JournalRow, snapshot: Snapshot, later: Callable[[str], int]) -> SetPermissions:
    current = snapshot.permissions
    _refuse_moved(row, None if current is None else current.to_document(), later, "rules")
    return SetPermissions(None if row.before is None else Permissions.from_document(row.before).rules)


def _undo_link(row: JournalRow, snapshot: Snapshot, later: Callable[[str], int]) -> AddLink | RemoveLink:
    link = Link.from_document(row.before or row.after or {})
    current = snapshot.links.get(link.name)
    _refuse_moved(row, None if current is None else current.to_document(), later, "to")
    return RemoveLink(link.name) if row.before is None else AddLink(link)


def _undo_user(row: JournalRow, snapshot: Snapshot, later: Callable[[str], int]) -> PutUser | RemoveUser:
    user = User.from_document(row.before or row.after or {})
    current = snapshot.users.get(user.name)
    _refuse_moved(row, None if current is None else current.to_document(), later, "keys")
    return RemoveUser(user.name) if row.before is None else PutUser(user)


def _refuse_moved(
    row: JournalRow, stands: Mapping[str, Any] | None, later: Callable[[str], int], fields: str
) -> None:
    if stands != row.after:
        raise Problem(
            "changed-since",
            revision=row.revision,
            name=row.name,
            later=later(row.subject_id),
            fields=fields if stands and row.after else cause("the-setting"),
        )


def newest_undoable(revisions: Iterable[Revision]) -> Revision | None:
    """The revision that a plain `undo` means, from the newest down.

    The clock's own doings, the network's, and what devices and sessions ask for by themselves, are nobody's
    to undo; and what could not be applied was taken back already: neither that revision nor the one that took
    it back counts.
    """
    taken_back: list[JournalRow] = []
    for revision in revisions:
        if all(row.verb is Verb.UNDO for row in revision.rows):
            taken_back += revision.rows
            continue
        rows = _collapse(revision.rows)
        void = [back for back in taken_back if any(_takes_back(back, row) for row in rows)]
        if void:
            taken_back = [back for back in taken_back if back not in void]
        elif revision.actor.kind in _ASKING_BY_THEMSELVES:
            continue
        elif any(row.verb is not Verb.EXPIRE and not _is_rerouting(row) for row in revision.rows):
            return revision
    return None


def _is_rerouting(row: JournalRow) -> bool:
    """Whether only the path is another, which follows from how the network is: nothing can be put back."""
    if row.before is None or row.after is None:
        return False
    return set(_changed(row.before, row.after)) <= {"path", "revision"}


def _takes_back(back: JournalRow, row: JournalRow) -> bool:
    """Whether one row of the journal is another the other way round."""
    if (back.subject, back.subject_id, back.before) != (row.subject, row.subject_id, row.after):
        return False
    return _unnumbered(back.after) == _unnumbered(row.before)


def _unnumbered(document: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Without the number of the revision that wrote it, which is another when it is put back."""
    return None if document is None else {key: document[key] for key in document if key != "revision"}
