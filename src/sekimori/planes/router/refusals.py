"""What went wrong at a router, as problems in plain words: what it means and what to do there. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Final

from sekimori.model.address import PortRange
from sekimori.model.addresskind import AddressKind, kind_of
from sekimori.model.causes import Text, cause
from sekimori.model.errors import Problem
from sekimori.planes.router.asking import OtherPort, PortTaken, Refusal
from sekimori.planes.router.terms import Line, Run

__all__ = ["address_doubt", "holder_of", "kept", "listed", "no_router", "problem_of", "silent", "slow"]

_TODO: Final = MappingProxyType(
    {
        "version": "update",
        "not-allowed": "allow",
        "malformed": "update",
        "halved": "update",
        "line-down": "line",
        "full": "room",
        "protocol": "update",
        "quota": "room",
        "port-not-free": "other-port",
        "nat-between": "nat",
        "failed": "other-port",
        "person": "agree",
        "not-there": "update",
        "not-kept": "update",
        "one-source": "update",
        "port-needed": "update",
        "conflict": "other-port",
        "same-ports": "same-port",
        "lasting-only": "update",
        "whole-host": "update",
        "own-use": "other-port",
        "read-only": "other-port",
        "one-outside": "other-port",
        "unknown": "update",
    }
)
"""What to do (`router-do-…`) about what a refusal means (`router-says-…`)."""


def problem_of(error: Refusal | OtherPort | PortTaken, run: Run, runs: Iterable[Run], line: Line) -> Problem:
    """What a router's no means to who wanted the port.

    Args:
        error: what it answered.
        run: what it was asked for then.
        runs: all that is wanted.
        line: the router.
    """
    gateway, port = str(line.gateway), str(run)
    match error:
        case OtherPort(offered=offered):
            return Problem(
                "router-other-port", port=port, gateway=gateway, offered=f"{run.protocol}/{offered}"
            )
        case PortTaken():
            return Problem("router-port-taken", port=port, gateway=gateway, holder=holder_of(error))
        case Refusal(meaning=meaning):
            todo = cause(f"router-do-{_TODO[meaning]}", gateway=gateway, local=line.local)
            why = cause(f"router-says-{meaning}", holder=error.holder)
            return Problem(
                "router-refused",
                ports=port,
                gateway=gateway,
                why=why,
                answer=error.answer,
                todo=todo,
                hand=_by_hand(runs, line),
            )


def no_router(runs: Iterable[Run], line: Line) -> Problem:
    """The router answers none of the protocols."""
    runs = tuple(runs)
    return Problem("no-router", ports=listed(runs), gateway=str(line.gateway), hand=_by_hand(runs, line))


def silent(runs: Iterable[Run], line: Line, protocol: str) -> Problem:
    """The router has answered before."""
    runs = tuple(runs)
    return Problem(
        "router-silent",
        ports=listed(runs),
        gateway=str(line.gateway),
        protocol=protocol,
        hand=_by_hand(runs, line),
    )


def slow(runs: Iterable[Run], gateway: str, seconds: float) -> Problem:
    """The router has not answered yet."""
    return Problem("router-slow", ports=listed(runs), gateway=gateway, seconds=f"{seconds:g}")


def kept(runs: Iterable[Run], line: Line, why: Text) -> Problem:
    """What is to be taken away is still there."""
    return Problem("router-kept", ports=listed(runs), gateway=str(line.gateway), why=why)


def listed(runs: Iterable[Run]) -> str:
    """Runs in one text: `tcp/8080, udp/7000-7010`."""
    return ", ".join(map(str, runs))


def holder_of(taken: PortTaken) -> str:
    """Who has a port, as the router says: `192.168.1.20 port 80 (Plex)`."""
    told = f" ({taken.description})" if taken.description else ""
    return f"{taken.client}:{taken.port}{told}"


def address_doubt(address: IPv4Address | None) -> Text | None:
    """Why an outside address that a router told is none of the internet; None where it is one."""
    if address is None or kind_of(address).is_public:
        return None
    if address.is_unspecified:
        return cause("router-address-none")
    match kind_of(address):
        case AddressKind.PRIVATE:
            return cause("router-address-private")
        case AddressKind.SHARED:
            return cause("router-address-shared")
        case _:
            return cause("router-address-odd")


def _by_hand(runs: Iterable[Run], line: Line) -> Text:
    """What to enter on the router's own pages, by language."""
    texts = [
        cause(
            "router-by-hand",
            run=str(run),
            local=line.local,
            inside=str(PortRange(run.inside, run.inside + run.size - 1)),
        )
        for run in runs
    ]
    return {language: "; ".join(text[language] for text in texts) for language in ("en", "ja")}
