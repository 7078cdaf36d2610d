"""The config file as an owner: what to ask of the gate so that the ledger says what the file says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sekimori.config.doors import ask_for_doors
from sekimori.config.gateway import ask_for_settings
from sekimori.config.links import ask_for_links
from sekimori.config.schema import Config, Entry
from sekimori.config.terms import complete, differing, loses_risk, recognise
from sekimori.config.users import ask_for_users
from sekimori.model.causes import cause
from sekimori.model.decision import Notice
from sekimori.model.lifetime import Asked
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.mapping import Owner
from sekimori.model.preset import Preset
from sekimori.model.request import Ask, Change, Close, Define, Submit, Wish
from sekimori.model.snapshot import Snapshot
from sekimori.model.words import Reading

__all__ = ["Expired", "Sync", "plan_sync", "unconfirmed_notice"]

Expired = Callable[[Owner, str], Mapping[str, Any] | None]
"""The document of an owner's mapping as it stood when its time ended, if that is the last thing
that happened to a mapping of that name; None otherwise."""


@dataclass(frozen=True, slots=True)
class Sync:
    """What to ask of the gate, all or nothing, and what was left as it is though the file names it."""

    asks: tuple[Ask, ...] = ()
    skipped: tuple[Notice, ...] = ()


def plan_sync(
    config: Config,
    snapshot: Snapshot,
    reading: Reading,
    expired: Expired,
    *,
    lifetime: int | None = None,
) -> Sync:
    """Compare the file with what its owner has in the ledger.

    The asks come in the order gateway and bans, define, doors, links, users, close, change, submit, so that
    what is named is there before whatever names it. What other owners have
    is left alone; a name of theirs is asked for all the same, and refused by policy. A word taken out
    of an entry returns to its default. `lifetime` is the default in seconds that policy goes by,
    if another than the file's own. Pausing is the exception: where the file does not say
    `paused`, a mapping keeps the state that somebody gave it by hand. Durations run from the
    reading's now; the rest was read when the file was.

    Raises:
        Problem: `bad-config`, when an entry was changed to end at a time that has passed.
    """
    default = config.policy.lifetime if lifetime is None else lifetime
    case = _Case(config.owner, snapshot, reading.now, expired, default)
    plans = [_plan_entry(entry, case) for entry in config.mappings]
    settings = ask_for_settings(config.owner, config.gateway, config.bans, snapshot, reading.now)
    asks: list[Ask] = [
        *settings,
        *_define_lists(config, snapshot),
        *ask_for_doors(config.owner, config.doors, snapshot),
        *ask_for_links(config.owner, config.links, snapshot),
        *ask_for_users(config.owner, config.users, snapshot),
        *_close_gone(config, snapshot),
    ]
    asks += [ask for plan in plans for ask in plan.changes]
    asks += [ask for plan in plans for ask in plan.opens]
    return Sync(tuple(asks), tuple(plan.notice for plan in plans if plan.notice is not None))


@dataclass(frozen=True, slots=True)
class _Case:
    """What every entry is held against."""

    owner: Owner
    snapshot: Snapshot
    now: float
    expired: Expired
    lifetime: int

    def standing(self, name: str) -> PortMapping | None:
        """This owner's mapping of a name."""
        found = self.snapshot.named(name)
        return found if found is not None and found.owner == self.owner else None

    def ended(self, name: str) -> PortMapping | None:
        """This owner's mapping of a name as it stood when its time ended."""
        document = self.expired(self.owner, name)
        return None if document is None else PortMapping.from_document(document)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one entry comes to."""

    changes: tuple[Change, ...] = ()
    opens: tuple[Submit | Change, ...] = ()
    """A submit, and the change that pauses what it opened."""
    notice: Notice | None = None


def _define_lists(config: Config, snapshot: Snapshot) -> Iterator[Define]:
    for name, prefixes in config.lists.items():
        named = snapshot.list_named(name)
        if named is None or named.owner != config.owner or set(named.prefixes) != set(prefixes):
            yield Define(name, prefixes)
    for named in snapshot.named_lists:
        if named.owner == config.owner and named.name not in config.lists:
            yield Define(named.name, None)


def _close_gone(config: Config, snapshot: Snapshot) -> Iterator[Close]:
    declared = {entry.name.lower() for entry in config.mappings}
    for mapping in snapshot:
        if mapping.owner == config.owner and mapping.name.lower() not in declared:
            yield Close(mapping.name)


def _plan_entry(entry: Entry, case: _Case) -> _Plan:
    now = case.now
    want = complete(entry.wish_at(now), case.lifetime, now)
    stands = case.standing(entry.name)
    ended = stands is None or stands.lifetime.has_ended(now)
    last = case.ended(entry.name) if stands is None else stands
    if last is not None:
        want = recognise(want, entry.passwords, last)
    if last is not None and _agrees(last, want, entry):
        return _Plan(notice=_ended_notice(last) if ended else _paused_notice(last, entry))
    if entry.has_passed(now) and last is None:
        # An old export must still restore what has not ended.
        return _Plan(notice=_passed_notice(entry))
    if entry.has_passed(now):
        raise entry.place.at("until").bad(cause("entry-passed"))
    if stands is None:
        return _Plan(opens=_open(entry, want))
    return _alter(entry, want, stands, ended=ended)


def _agrees(mapping: PortMapping, want: Wish, entry: Entry) -> bool:
    same_pause = entry.paused is None or entry.paused == mapping.paused
    return same_pause and differing(mapping, want) == Wish() and not loses_risk(mapping, want)


def _open(entry: Entry, want: Wish) -> tuple[Submit | Change, ...]:
    # Only the lifetime is filled in: what else was left unsaid is policy's to choose and to tell.
    submit = Submit(replace(entry.wish, lifetime=want.lifetime))
    return (submit, Change(entry.name, Wish(), paused=True)) if entry.paused else (submit,)


def _alter(entry: Entry, want: Wish, stands: PortMapping, *, ended: bool) -> _Plan:
    changes = differing(stands, want)
    if ended:  # its time is over, and the sweep that ends it has only not come yet
        changes = replace(changes, lifetime=want.lifetime)
    paused = None if entry.paused in (None, stands.paused) else entry.paused
    change = Change(stands.name, changes, paused)
    if loses_risk(stands, want):
        preset = want.preset.name if isinstance(want.preset, Preset) else None
        change = replace(change, restore=replace(stands, accepted_risks=want.accepted_risks, preset=preset))
    return _Plan(changes=(change,), notice=_paused_notice(stands, entry))


def unconfirmed_notice(config: Config) -> Notice:
    """Word that a file is left as it is, because its text was taken back once."""
    file = str(config.path)
    return Notice(
        "stays-taken-back",
        f"{file} was not applied: its text was taken back, for nobody confirmed that they could still "
        "come in. Change the file, or say 'sekimori apply', and 'sekimori confirm' over a new connection.",
        f"{file} は適用していません: この内容は、接続できることが確認されなかったため元に戻されました。"
        "ファイルを直すか、sekimori apply のあと新しい接続から sekimori confirm を実行してください。",
    )


def _ended_notice(mapping: PortMapping) -> Notice:
    name = mapping.name
    again = mapping.lifetime.value if mapping.lifetime.asked is Asked.FOR else "24h"
    return Notice(
        "stays-expired",
        f"'{name}' was not opened again: its time ended, and its entry has not changed since. "
        f"Change the entry, or find the revision in 'sekimori history {name}' and say "
        f"'sekimori undo REVISION --for {again}'.",
        f"「{name}」は開け直していません: 期限が切れ、その後も設定が変わっていません。設定を変えるか、"
        f"sekimori history {name} でリビジョンを調べ、sekimori undo リビジョン --for {again} を"
        "実行してください。",
    )


def _passed_notice(entry: Entry) -> Notice:
    name = entry.name
    return Notice(
        "already-passed",
        f"'{name}' was not opened: the time in line {entry.line} has passed. "
        "Give one that lies ahead, or remove the entry.",
        f"「{name}」は開けていません: {entry.line} 行目の時刻は過ぎています。"
        "これからの時刻にするか、その項目を削除してください。",
    )


def _paused_notice(mapping: PortMapping, entry: Entry) -> Notice | None:
    if entry.paused is not None or not mapping.paused:
        return None
    name = mapping.name
    return Notice(
        "stays-paused",
        f"'{name}' stays paused, as somebody left it: the file does not say. "
        f"Say 'sekimori resume {name}', or paused = false in the file.",
        f"「{name}」は一時停止のままです: 手で停止され、ファイルに指定がありません。"
        f"sekimori resume {name} を実行するか、ファイルに paused = false と書いてください。",
    )
