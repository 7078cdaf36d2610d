"""A link tried once, in a process of its own: what its servers show, and what may be done there."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Literal

from sekimori.model.errors import Problem
from sekimori.model.link import Link
from sekimori.model.linkfacts import HostKey, KeyStanding, LinkTest
from sekimori.planes.link.facts import read_problem

__all__ = ["scan", "test"]

_MODULE: Final = "sekimori.planes.link"
_LONGEST: Final = 40.0
"""Seconds for everything. The process has deadlines of its own for each step, and says which was missed."""
_EACH_JUMP: Final = 10.0


async def scan(link: Link) -> tuple[HostKey, ...]:
    """The host keys that the server and each jump show, in the order in which they are gone through, as
    far as that is trusted.

    Raises:
        Problem: there is nothing to tell but why nobody further was reached.
    """
    answer = await _run(link, "scan")
    keys = tuple(map(_read_key, answer["keys"]))
    problem = _problem(answer)
    if problem is not None and all(key.standing is KeyStanding.PINNED for key in keys):
        raise problem
    return keys


async def test(link: Link) -> LinkTest:
    """What a connection of its own comes to, beside what may be up.

    Raises:
        Problem: it could not be tried.
    """
    answer = await _run(link, "test")
    problem = _problem(answer)
    if problem is not None:
        return LinkTest(problem=problem, tried=tuple(answer.get("tried", ())))
    return LinkTest(
        tried=tuple(answer["tried"]),
        local=answer["local"],
        remote=answer["remote"],
        outside=answer["outside"],
        local_why=answer["local_why"],
        remote_why=answer["remote_why"],
        sekimori=answer["sekimori"],
        rtt=answer["rtt"],
        server=answer["server"],
        algorithms=answer["algorithms"],
    )


def _read_key(told: Mapping[str, Any]) -> HostKey:
    return HostKey(
        told["place"],
        told["algorithm"],
        told["key"],
        told["fingerprint"],
        KeyStanding(told["standing"]),
        tuple(told["expected"]),
    )


def _problem(answer: Mapping[str, Any]) -> Problem | None:
    told = answer["problem"]
    return None if told is None else read_problem(told)


async def _run(link: Link, what: Literal["scan", "test"]) -> dict[str, Any]:
    """One run, and the JSON it printed.

    Raises:
        Problem: `link-broke`: it printed none, or took too long.
    """
    line = json.dumps(link.to_document()).encode() + b"\n"
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _MODULE, f"--{what}", stdin=PIPE, stdout=PIPE
        )
    except OSError as error:
        raise Problem("link-broke", link=link.name, how=error.strerror or str(error)) from None
    seconds = _LONGEST + _EACH_JUMP * len(link.jump)
    try:
        async with asyncio.timeout(seconds):
            printed, _ = await process.communicate(line)
    except TimeoutError:
        raise Problem("link-timeout", place=str(link.place), link=link.name, seconds=int(seconds)) from None
    finally:
        await _end(process)
    try:
        answer = json.loads(printed)
    except ValueError:
        raise Problem("link-broke", link=link.name, how=f"exit code {process.returncode}") from None
    if not isinstance(answer, dict):
        raise Problem("link-broke", link=link.name, how=f"exit code {process.returncode}")
    return answer


async def _end(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):  # it has ended this moment
            process.kill()
        await process.wait()
