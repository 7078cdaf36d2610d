"""What the engine asks of the world: a clock, planes, and a resolver of names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sekimori.model.actual import Counters, Flow, SourceUse
from sekimori.model.address import IPNetwork
from sekimori.model.causes import Text
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.mapping import Mapping
from sekimori.model.target import Resolution

__all__ = ["Changes", "Clock", "Ground", "Meter", "Plane", "Resolver", "Wanted"]


class Clock(Protocol):
    """Time, so that tests can own it."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    async def wait_until(self, when: float | None, wake: asyncio.Event) -> None:
        """Return at `when` (Unix seconds; None is never) or as soon as `wake` is set."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one plane should make real for one mapping. Nothing is wanted of one that is paused,
    outside its hours or ended: it is removed, and its flows get their grace.

    Attributes:
        accept_until: Unix seconds at which accepting must end by itself, daemon or no daemon.
        targets: numeric addresses, best first.
        sources: prefixes; None is anyone.
        grace: seconds that flows may outlive accepting.
    """

    mapping: Mapping
    accept_until: float | None
    targets: tuple[str, ...]
    sources: tuple[IPNetwork, ...] | None
    grace: float


@dataclass(frozen=True, slots=True)
class Ground:
    """What holds for the whole machine, under every mapping.

    Attributes:
        gateway: what this machine does as a gateway; None where it is none.
        bans: who may not come in by any mapping, none of them ended.
    """

    gateway: Gateway | None = None
    bans: tuple[Ban, ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference between wanted and actual, for one plane.

    Attributes:
        put: mappings to make real or to bring to these terms.
        remove: ids to take away, with the seconds of grace their flows get.
        marks: the fingerprints of what is to be put, by mapping id, where they are known already.
    """

    put: tuple[Wanted, ...] = ()
    remove: MappingABC[str, float] = field(default_factory=dict)
    marks: MappingABC[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.put or self.remove)


class Plane(Protocol):
    """Hands that make mappings real. Every method may be called at any time and again."""

    name: str

    def unable(self, mapping: Mapping) -> Text | None:
        """Why this plane cannot make such a mapping, by language; None when it can. Pure."""
        ...

    async def preflight(self, mapping: Mapping, leaving: Sequence[Mapping]) -> Problem | None:
        """What on this machine stands in the way of `mapping`; reads only.

        `leaving` are the mappings that make room in the same revision, its present self included.
        """
        ...

    async def lay(self, ground: Ground) -> Problem | None:
        """Make real what this plane has to do with of `ground`, before any mapping is put on it.

        It is asked for whenever something of it changed, at start, and now and then besides; to lay
        what is laid already costs little. Flows that a new ban refuses end now; a ban with an end ends
        by itself, daemon or no daemon. What another plane sees to is left to that one.

        Returns:
            Why not all of it could be made real; the engine tries again later.

        Raises:
            Problem: nothing can be said to have taken effect.
        """
        ...

    def fingerprint(self, wanted: Wanted) -> str:
        """A short name for exactly what `wanted` means to this plane. Pure.

        Equal fingerprints mean that nothing need be done; so it also tells what an earlier
        daemon left behind apart from what is wanted now.
        """
        ...

    async def observe(self) -> MappingABC[str, str]:
        """What is really there: fingerprints by mapping id.

        The caller only reads it, and only until it next gives way (`await`): a plane may hand out a view
        of its own table, which goes on changing, for a copy at every look costs more with every mapping.

        Something there that is not wholly as it was put has a fingerprint that matches nothing.

        Raises:
            Problem: nothing can be said of it now; the engine tries again later.
        """
        ...

    async def apply(self, changes: Changes) -> MappingABC[str, Problem]:
        """Make the changes real. What failed is told by mapping id; the rest took effect.

        To remove what is not there is no failure.

        Raises:
            Problem: nothing can be said to have taken effect; the engine tries all of it again later.
        """
        ...


class Meter(Protocol):
    """The readings of a plane."""

    async def counters(self, ids: Sequence[str] | None = None) -> MappingABC[str, Counters]:
        """Counters by mapping id (of all, or of these), live flows included."""
        ...

    async def flows(self, mapping_id: str) -> Sequence[Flow]:
        """The live flows of a mapping."""
        ...

    async def sources(self, mapping_id: str) -> Sequence[SourceUse]:
        """What each source did with a mapping."""
        ...


class Resolver(Protocol):
    """Finds the addresses of names."""

    async def resolve(self, host: str) -> Resolution:
        """The addresses of `host`, best first.

        Raises:
            Problem: `no-such-host`.
        """
        ...
