"""The decision: asks, in order, tried on a copy; granted together or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sekimori.model.causes import cause
from sekimori.model.decision import Allow, Decision, Deny, Made, NamedList, Notice, Verb
from sekimori.model.door import DisableDoor, EnableDoor
from sekimori.model.errors import Problem
from sekimori.model.lease import Adopt, Obtain, Release
from sekimori.model.lifetime import Lifetime
from sekimori.model.link import AddLink, RemoveLink
from sekimori.model.mapping import Mapping
from sekimori.model.permission import SetPermissions
from sekimori.model.request import (
    Ask,
    Change,
    Close,
    Configure,
    Context,
    Define,
    LiftBan,
    OneChange,
    PutBan,
    Renew,
    Reroute,
    Submit,
    Wish,
)
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import LAN
from sekimori.model.user import Bind, PutUser, RemoveUser, Unbind
from sekimori.policy.allocate import choose_path, fallback_notice, router_notice
from sekimori.policy.bind import decide_bind, decide_unbind
from sekimori.policy.case import Case, refuse_foreign, refuse_own_only
from sekimori.policy.checks import check_terms, known_lists, refuse_conflicts
from sekimori.policy.doors import decide_disable_door, decide_enable_door, decide_set_permissions
from sekimori.policy.gateway import decide_configure, decide_lift_ban, decide_put_ban
from sekimori.policy.lease import decide_adopt, decide_obtain, decide_release
from sekimori.policy.line import line_notice
from sekimori.policy.links import decide_add_link, decide_remove_link, refuse_links_in_use
from sekimori.policy.ownership import refuse_foreign_target
from sekimori.policy.rules import Rules
from sekimori.policy.terms import (
    changed_mapping,
    defaults_notice,
    new_mapping,
    permit_notice,
    preset_notice,
    socks_notice,
)
from sekimori.policy.users import decide_put_user, decide_remove_user, refuse_shared_keys

__all__ = ["decide"]


def decide(
    asks: Sequence[Ask],
    snapshot: Snapshot,
    context: Context,
    now: float,
    rules: Rules,
    *,
    undoing: bool = False,
) -> Decision:
    """Grant all of `asks` or none.

    Ports are held against each other only once every ask is in, so that two mappings may
    swap theirs. `undoing` lets a person take back what a file did.
    """
    case = Case(snapshot.fork(), context, now, rules, undoing)
    changes: list[Made] = []
    notices: list[Notice] = []
    try:
        for ask in asks:
            for change in _changes_of(ask, case, notices):
                case.draft.apply(change)
                changes.append(change)
        refuse_links_in_use(changes, case.draft)
        refuse_shared_keys(changes, case.draft)
        for mapping in _touched(changes, case.draft):
            check_terms(mapping, case.draft, rules, now)
            refuse_foreign_target(mapping, context.actor, rules)
            refuse_conflicts(mapping, case.draft)
    except Problem as problem:
        return Deny(problem)
    notices += _permit_notices(changes, case.draft)
    return Allow(tuple(changes), tuple(notices))


def _changes_of(ask: Ask, case: Case, notices: list[Notice]) -> Iterator[Made]:
    """What an ask comes to: most to one change or none."""
    match ask:
        case EnableDoor():
            yield from decide_enable_door(ask, case, notices)
        case PutUser():
            yield from decide_put_user(ask, case)
        case RemoveUser():
            yield from decide_remove_user(ask, case)
        case _:
            change = _decide_one(ask, case, notices)
            if change is not None:
                yield change


def _decide_one(ask: OneChange, case: Case, notices: list[Notice]) -> Made | None:
    match ask:
        case Submit():
            return _decide_submit(ask, case, notices)
        case Change():
            return _decide_change(ask, case, notices)
        case Renew():
            return _decide_renew(ask, case)
        case Close():
            before = case.draft.find(ask.ref)
            refuse_foreign(before, "do-close", case)
            return Made(Verb.CLOSE, before, None, cut=ask.now)
        case Define():
            return _decide_define(ask, case)
        case Obtain():
            return decide_obtain(ask, case)
        case Release():
            return decide_release(ask, case)
        case Adopt():
            return decide_adopt(ask, case)
        case Bind():
            return decide_bind(ask, case)
        case Unbind():
            return decide_unbind(ask, case)
        case Reroute():
            return _decide_reroute(ask, case)
        case _:
            return _decide_setting(ask, case, notices)


def _decide_setting(
    ask: Configure | PutBan | LiftBan | DisableDoor | SetPermissions | AddLink | RemoveLink,
    case: Case,
    notices: list[Notice],
) -> Made | None:
    match ask:
        case Configure():
            return decide_configure(ask, case, notices)
        case PutBan():
            return decide_put_ban(ask, case)
        case LiftBan():
            return decide_lift_ban(ask, case)
        case DisableDoor():
            return decide_disable_door(ask, case)
        case SetPermissions():
            return decide_set_permissions(ask, case)
        case AddLink():
            return decide_add_link(ask, case)
        case RemoveLink():
            return decide_remove_link(ask, case)


def _decide_submit(ask: Submit, case: Case, notices: list[Notice]) -> Made:
    old = ask.restore
    owner = old.owner if old else case.context.actor
    mapping_id = old.id if old else case.rules.new_id()
    mapping = new_mapping(ask.wish, owner, mapping_id, case.draft, case.rules, case.now)
    if old:
        mapping = replace(mapping, created_at=old.created_at, paused=old.paused, preset=old.preset)
        mapping = replace(mapping, lease=old.lease)
    _refuse_taken_name(mapping, case.draft)
    mapping = replace(mapping, path=choose_path(mapping, case.draft, case.rules))
    found = (
        defaults_notice(ask.wish, mapping),
        preset_notice(ask.wish),
        fallback_notice(mapping, case.rules),
        router_notice(mapping, case.rules),
        line_notice(mapping, case.rules),
    )
    notices += [notice for notice in found if notice is not None]
    return Made(Verb.OPEN, None, mapping)


def _decide_change(ask: Change, case: Case, notices: list[Notice]) -> Made | None:
    before = case.draft.find(ask.ref)
    only_pausing = ask.wish == Wish()
    refuse_foreign(before, "do-edit", case, harmless=only_pausing)
    after = changed_mapping(before, ask.wish, ask.paused)
    if ask.restore:
        old = ask.restore
        after = replace(after, accepted_risks=old.accepted_risks, preset=old.preset)
        after = replace(after, owner=old.owner, lease=old.lease)
    if after.name.lower() != before.name.lower():
        _refuse_taken_name(after, case.draft)
    if after == before:
        return None
    after = replace(after, path=choose_path(after, case.draft, case.rules))
    if after.path != before.path:
        found = (fallback_notice(after, case.rules), router_notice(after, case.rules))
        notices += [notice for notice in found if notice is not None]
    return Made(_verb(before, after), before, after)


def _decide_reroute(ask: Reroute, case: Case) -> Made | None:
    """Choose the path anew. What cannot be made any more keeps its path, and its status says why.

    Whose it is does not matter: nothing that was asked for is changed.
    """
    before = case.draft.get(ask.ref)
    if before is None:  # it ended meanwhile
        return None
    try:
        after = replace(before, path=choose_path(before, case.draft, case.rules))
    except Problem:
        return None
    return None if after == before else Made(Verb.CHANGE, before, after)


def _decide_renew(ask: Renew, case: Case) -> Made | None:
    before = case.draft.find(ask.ref)
    refuse_foreign(before, "do-extend", case, harmless=True)
    lifetime = _renewed(before.lifetime, ask, case.now)
    if lifetime == before.lifetime:
        return None
    return Made(Verb.EXTEND, before, replace(before, lifetime=lifetime))


def _decide_define(ask: Define, case: Case) -> Made | None:
    before = case.draft.list_named(ask.name)
    actor = case.context.actor
    refuse_own_only(cause("do-define", name=ask.name), case)  # a list decides who comes in everywhere
    if ask.name in (LAN, "anyone"):
        raise Problem("bad-name", text=ask.name, why=cause("reserved"), most=63)
    if before is not None:
        refuse_foreign(before, "do-edit", case)
    elif ask.prefixes is None:
        raise Problem("no-such-list", name=ask.name, lists=known_lists(case.draft))
    after = None if ask.prefixes is None else NamedList(ask.name, ask.restore or actor, ask.prefixes)
    if before == after:
        return None
    return Made(Verb.DEFINE, before, after)


def _renewed(lifetime: Lifetime, ask: Renew, now: float) -> Lifetime:
    if ask.lifetime is not None:
        return ask.lifetime
    if lifetime.expires_at is None:
        return lifetime
    if ask.add is not None:
        return replace(lifetime, expires_at=max(lifetime.expires_at, int(now)) + ask.add)
    again = lifetime.renewed(now)
    # Asking for the same length again never shortens what an extension had added.
    return again if (again.expires_at or 0) > lifetime.expires_at else lifetime


def _permit_notices(changes: Sequence[Made], draft: Snapshot) -> list[Notice]:
    """What is to be said of permits as things stand when every ask is in: one may switch the firewall on."""
    pairs = [(made.before, made.after) for made in changes]
    stood = [
        (before if isinstance(before, Mapping) else None, after)
        for before, after in pairs
        if isinstance(after, Mapping)
    ]
    found = [permit_notice(before, after, draft) for before, after in stood]
    found += [socks_notice(before, after) for before, after in stood]
    return [notice for notice in found if notice is not None]


def _verb(before: Mapping, after: Mapping) -> Verb:
    if replace(after, paused=before.paused) == before:
        return Verb.PAUSE if after.paused else Verb.RESUME
    if replace(after, lifetime=before.lifetime) == before:
        return Verb.EXTEND
    return Verb.CHANGE


def _touched(changes: Sequence[Made], draft: Snapshot) -> list[Mapping]:
    """Mappings whose terms must hold now: the changed ones, and those that use a changed list."""
    lists = {change.subject.name for change in changes if isinstance(change.subject, NamedList)}
    # In order, so that of several refusals the same one is always told.
    ids = dict.fromkeys(change.subject.id for change in changes if isinstance(change.subject, Mapping))
    if lists:
        ids |= dict.fromkeys(mapping.id for mapping in draft if lists.intersection(mapping.sources.lists))
    found = (draft.get(mapping_id) for mapping_id in ids)
    return [mapping for mapping in found if mapping is not None]


def _refuse_taken_name(mapping: Mapping, draft: Snapshot) -> None:
    holder = draft.named(mapping.name)
    if holder is not None and holder.id != mapping.id:
        raise Problem("name-taken", name=mapping.name, owner=holder.owner.label)
