"""Decisions about the whole machine: whether it is a gateway, and who is kept out."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Final

from sekimori.model.address import IPNetwork
from sekimori.model.causes import Text, cause
from sekimori.model.decision import Made, Notice, Verb
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Configure, LiftBan, PutBan
from sekimori.policy.case import Case, refuse_foreign, refuse_own_only

__all__ = ["WIDE", "decide_configure", "decide_lift_ban", "decide_put_ban"]

WIDE: Final = {4: 8, 6: 19}
"""The shortest prefix that may be banned, by IP version: the largest blocks that registries have given to
one network (IANA's /8s; of IPv6, the /19s of RIPE). A wider ban is a slip."""

_LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

_BETWEEN_NOTHING: Final = Notice(
    "between-nothing",
    "No LAN and WAN to stand between are known yet: as soon as there are, it takes effect. 'sekimori "
    "gateway status' shows what was found; [network] in the config file names interfaces.",
    "間に立つべき LAN と WAN がまだ見つかりません。見つかり次第、有効になります。見つかったものは "
    "sekimori gateway status で確かめられ、設定ファイルの [network] で指定もできます。",
)


def decide_configure(ask: Configure, case: Case, notices: list[Notice]) -> Made | None:
    """Make this machine a gateway, change how it is one, or end it.

    What the kernel's settings were is found out once, when it becomes one, and kept until it ends.

    Raises:
        Problem: `not-permitted`, `managed-by-file`, or why the machine cannot be one.
    """
    refuse_own_only(cause("do-gateway"), case)
    before, wanted = case.draft.gateway, ask.gateway
    if before is not None:
        refuse_foreign(before, "do-configure", case)
    if wanted is None:
        return None if before is None else Made(Verb.GATEWAY, before, None)
    obstacle = case.rules.machine.obstacle()
    if obstacle is not None:
        raise obstacle
    after = replace(
        wanted,
        owner=wanted.owner if case.undoing else _owner(before, case),
        found=case.rules.machine.to_change() if before is None else before.found,
        created_at=int(case.now) if before is None else before.created_at,
    )
    if not case.rules.machine.network().is_gateway:
        notices.append(_BETWEEN_NOTHING)
    return None if after == before else Made(Verb.GATEWAY, before, after)


def decide_put_ban(ask: PutBan, case: Case) -> Made | None:
    """Keep a prefix out; of one that is kept out already, change until when.

    Raises:
        Problem: `not-permitted`, `managed-by-file` or `bad-ban`.
    """
    name = Ban(prefix=ask.prefix, owner=case.context.actor).name
    refuse_own_only(cause("do-ban", name=name), case)
    why = _why_not(ask.prefix)
    if why is not None:
        raise Problem("bad-ban", prefix=str(ask.prefix), why=why)
    before = case.draft.bans.get(ask.prefix)
    if before is not None:
        refuse_foreign(before, "do-edit", case)
    after = Ban(
        prefix=ask.prefix,
        owner=ask.restore or _owner(before, case),
        expires_at=ask.expires_at,
        reason=ask.reason or ("" if before is None else before.reason),
        created_at=int(case.now) if before is None else before.created_at,
    )
    return None if after == before else Made(Verb.BAN, before, after)


def decide_lift_ban(ask: LiftBan, case: Case) -> Made:
    """Let a prefix in again.

    Raises:
        Problem: `not-permitted`, `managed-by-file` or `no-such-ban`.
    """
    name = Ban(prefix=ask.prefix, owner=case.context.actor).name
    refuse_own_only(cause("do-unban", name=name), case)
    before = case.draft.bans.get(ask.prefix)
    if before is None:
        raise Problem("no-such-ban", prefix=name, near=_near(ask.prefix, case))
    refuse_foreign(before, "do-lift", case)
    return Made(Verb.UNBAN, before, None)


def _owner(before: Gateway | Ban | None, case: Case) -> Owner:
    """Who asked first; a file takes over what it declares."""
    actor = case.context.actor
    return actor if before is None or actor.kind is OwnerKind.FILE else before.owner


def _why_not(prefix: IPNetwork) -> Text | None:
    if prefix.prefixlen < WIDE[prefix.version]:
        return cause("ban-too-wide", widest=WIDE[prefix.version])
    if any(prefix.version == own.version and prefix.overlaps(own) for own in _LOOPBACK):
        return cause("ban-loopback")
    return None


def _near(prefix: IPNetwork, case: Case) -> Text | str:
    """The bans that hold some of it."""
    found = [
        ban.name
        for ban in case.draft.bans.values()
        if ban.prefix.version == prefix.version and ban.prefix.overlaps(prefix)
    ]
    return cause("ban-covers", names=", ".join(found[:3])) if found else ""
