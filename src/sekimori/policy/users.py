"""Decisions about users of the SSH door: who comes in by which keys, and what they may do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from difflib import get_close_matches

from sekimori.model.causes import cause, near
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import LAN
from sekimori.model.user import Grant, PutUser, RemoveUser, User, check_user_name
from sekimori.policy.bind import rejudged
from sekimori.policy.case import Case, in_place_of, refuse_foreign, refuse_own_only
from sekimori.policy.checks import known_lists
from sekimori.wire.authorizedkeys import AuthorizedKey, parse_line

__all__ = [
    "check_grant",
    "decide_put_user",
    "decide_remove_user",
    "refuse_shared_keys",
    "strangers_rejudged",
]


def decide_put_user(ask: PutUser, case: Case) -> Iterator[Made]:
    """Let somebody in, or on other terms; the ports that the user has follow another grant.

    Raises:
        Problem: `not-permitted`, `managed-by-file`, `bad-name`, `bad-key` or `no-such-list`.
    """
    wanted = ask.user
    refuse_own_only(cause("do-user", name=wanted.name), case)
    check_user_name(wanted.name)
    before = case.draft.users.get(wanted.name)
    if before is not None:
        refuse_foreign(before, "do-edit", case)
    _check_keys(wanted)
    check_grant(wanted.grant, case)
    after = in_place_of(before, wanted, case)
    if after == before:
        return
    yield Made(Verb.USER, before, after)
    was = before.grant if before is not None else after.grant
    yield from rejudged(Owner(OwnerKind.KEY, after.name), was, after.grant, after.expires_at, case)


def decide_remove_user(ask: RemoveUser, case: Case) -> Iterator[Made]:
    """Let a user in no more, and close what the user's keys opened.

    Raises:
        Problem: `not-permitted`, `managed-by-file` or `no-such-user`.
    """
    refuse_own_only(cause("do-user", name=ask.name), case)
    before = case.draft.users.get(ask.name)
    if before is None:
        alike = get_close_matches(ask.name, case.draft.users, 3)
        raise Problem("no-such-user", name=ask.name, near=near(alike))
    refuse_foreign(before, "do-edit", case)
    yield Made(Verb.USER, before, None)
    for mapping in tuple(case.draft.leases_of(Owner(OwnerKind.KEY, ask.name))):
        yield Made(Verb.CLOSE, mapping, None, cut=True)


def strangers_rejudged(was: Grant, grant: Grant, case: Case) -> Iterator[Made]:
    """What another grant of the door makes of the ports of those who are no users: keys of its file."""
    for owner in sorted(case.draft.leaseholders(), key=str):
        if owner.kind is OwnerKind.KEY and owner.id not in case.draft.users:
            yield from rejudged(owner, was, grant, None, case)


def check_grant(grant: Grant, case: Case) -> None:
    """Refuse lists of sources that there are none of.

    Raises:
        Problem: `no-such-list`.
    """
    for name in grant.sources.lists if grant.sources is not None else ():
        if name != LAN and case.draft.list_named(name) is None:
            raise Problem("no-such-list", name=name, lists=known_lists(case.draft))


def refuse_shared_keys(changes: Iterable[Made], draft: Snapshot) -> None:
    """Refuse keys that would not tell one user from another, once every ask is in: a key may change hands.

    Raises:
        Problem: `key-in-use`.
    """
    names = dict.fromkeys(made.subject.name for made in changes if isinstance(made.subject, User))
    for user in filter(None, map(draft.users.get, names)):
        others = (other for other in draft.users.values() if other.name != user.name)
        theirs = [(other.name, key) for other in others for key in _readable(other)]
        for key in _readable(user):
            other = next((name for name, each in theirs if _tells_the_same(key, each)), None)
            if other is not None:
                raise Problem("key-in-use", name=user.name, fingerprint=key.fingerprint, other=other)


def _check_keys(user: User) -> None:
    """Refuse lines that are none, and a key that stands there twice: which options would it have?"""
    seen: list[AuthorizedKey] = []
    for line in user.keys:
        key = parse_line(line)
        if any(_tells_the_same(key, each) for each in seen):
            raise Problem("bad-key", text=key.fingerprint, why=cause("key-twice"))
        seen.append(key)


def _readable(user: User) -> Iterator[AuthorizedKey]:
    """The keys that a user comes in by. A line that an earlier version took may be one of none today."""
    for line in user.keys:
        with suppress(Problem):
            yield parse_line(line)


def _tells_the_same(one: AuthorizedKey, other: AuthorizedKey) -> bool:
    """Whether somebody could come in by both lines.

    One authority may certify several users, who are told by the principals in their certificates.
    """
    if one.blob != other.blob or one.options.certifies is not other.options.certifies:
        return False
    if not one.options.certifies:
        return True
    ours, theirs = one.options.principals, other.options.principals
    return ours is None or theirs is None or not set(ours).isdisjoint(theirs)
