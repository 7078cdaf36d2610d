"""Hand entries to workers: each its share, with the sockets it still lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from socket import socket as Socket  # noqa: N812

from sekimori.model.errors import Problem
from sekimori.planes.relay.control import Control, Held, SetAnswer, SocketName, WorkerLostError
from sekimori.planes.relay.crew import Crew, Hand
from sekimori.planes.relay.entry import Entry
from sekimori.planes.relay.obstacles import explain_errno
from sekimori.planes.relay.placement import shares
from sekimori.planes.relay.sockets import open_listen

__all__ = ["share_out"]


@dataclass(slots=True)
class _Load:
    """What one worker is to be sent."""

    shares: list[tuple[Entry, str]] = field(default_factory=list)
    """Its shares, with their digests."""
    sockets: dict[SocketName, Socket] = field(default_factory=dict)
    remove: dict[str, float | None] = field(default_factory=dict)


async def share_out(entries: Sequence[tuple[Entry, str]], crew: Crew) -> dict[str, Problem]:
    """Have every worker serve its share of `entries` (given with their digests).

    A worker that has its share already is sent nothing. Of an entry one of whose sockets cannot
    be had, nothing is sent at all.

    Returns:
        Why not, by entry id.

    Raises:
        WorkerLostError: a worker is missing, or went while it was told.
    """
    failed, lacking = await _tell(entries, crew)
    if lacking:  # a worker let sockets go by itself, as their end had come: it gets new ones
        again, _ = await _tell([each for each in entries if each[0].id in lacking], crew)
        failed = {key: why for key, why in failed.items() if key not in lacking} | again
    return failed


async def _tell(entries: Sequence[tuple[Entry, str]], crew: Crew) -> tuple[dict[str, Problem], set[str]]:
    """Why not, by entry id; and the ids among them of which a worker lacks sockets."""
    if len(crew.live) < len(crew.hands):
        raise WorkerLostError("a relay worker is missing")
    loads = {hand.index: _Load() for hand in crew.hands}
    failed: dict[str, Problem] = {}
    for entry, digest in entries:
        problem = _load(entry, digest, crew, loads)
        if problem is not None:
            failed[entry.id] = problem
    answers = await asyncio.gather(*(_send(hand, control, loads[hand.index]) for hand, control in crew.live))
    lacking: set[str] = set()
    for bad, short in answers:
        failed |= bad
        lacking |= short
    return failed, lacking


def _load(entry: Entry, digest: str, crew: Crew, loads: Mapping[int, _Load]) -> Problem | None:
    parts = shares(entry, len(crew.hands))
    lacking: dict[int, tuple[Entry, str]] = {}
    if entry.needs_carriers:
        for hand, control in crew.live:
            if hand.index in parts and not control.knows_carriers:
                return Problem("unexpected", what=f"the relay worker {control.pid} is of an older version")
    for hand in crew.hands:
        part = parts.get(hand.index)
        held = hand.held.get(entry.id)
        if part is None:
            if held is not None:
                loads[hand.index].remove[entry.id] = None
            continue
        if part.shut and held is None:  # no flows are there to go on
            continue
        mark = digest if part == entry else part.digest
        if held is None or not _is_same(held, part, mark):
            lacking[hand.index] = part, mark
    sockets = _open(entry.id, {index: part for index, (part, _) in lacking.items()}, crew)
    if isinstance(sockets, Problem):
        return sockets
    for index, share in lacking.items():
        loads[index].shares.append(share)
        loads[index].sockets.update(sockets[index])
    return None


def _open(name: str, parts: Mapping[int, Entry], crew: Crew) -> dict[int, dict[SocketName, Socket]] | Problem:
    """The sockets that each worker lacks for its part; all of them, or the problem with one."""
    opened: dict[int, dict[SocketName, Socket]] = {index: {} for index in parts}
    for index, part in parts.items():
        held = crew.hands[index].held.get(name)
        for listen in part.sockets:
            if held is not None and held.accepting and held.holds(listen):
                continue
            try:
                opened[index][name, listen] = open_listen(listen)
            except OSError as error:
                for sockets in opened.values():
                    for sock in sockets.values():
                        sock.close()
                return explain_errno(error.errno or 0, listen)
    return opened


async def _send(hand: Hand, control: Control, load: _Load) -> tuple[dict[str, Problem], set[str]]:
    if not load.shares and not load.remove:
        return {}, set()
    answer = await control.set([entry for entry, _ in load.shares], load.sockets, load.remove)
    failed = {
        key: Problem("unexpected", what=f"the relay refused it: {why}") for key, why in answer.bad.items()
    }
    for missing in answer.missing:
        failed[missing[0]] = Problem("unexpected", what=f"the relay lacks a socket for {missing[1:]}")
    lacking = {missing[0] for missing in answer.missing}
    for entry, mark in load.shares:
        if entry.id not in answer.bad:
            hand.held[entry.id] = _held(entry, "" if entry.id in lacking else mark, answer)
    for key in load.remove:
        hand.held.pop(key, None)
    return failed, lacking


def _held(part: Entry, mark: str, answer: SetAnswer) -> Held:
    """A share as a worker has it after its answer."""
    keys = {(each.protocol, each.address, each.port, each.dual) for each in part.sockets}
    keys -= {missing[1:] for missing in answer.missing if missing[0] == part.id}
    return Held(part.id, mark, True, frozenset(keys), 0)


def _is_same(held: Held, part: Entry, digest: str) -> bool:
    if not held.accepting or held.digest != digest:
        return False
    return all(held.holds(listen) for listen in part.sockets)
