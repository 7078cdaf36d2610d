"""What an administrator sets, and what policy must know of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sekimori.model.address import IPAddress
from sekimori.model.causes import Text
from sekimori.model.line import Line
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.preset import Preset
from sekimori.policy.machine import NO_GATEWAY, Machine

__all__ = ["DAY", "Ability", "Router", "Rules"]

DAY: Final = 86400


class Ability(Protocol):
    """A plane, as far as policy needs to know one."""

    @property
    def name(self) -> str:
        """Its word after `--via`."""
        ...

    def unable(self, mapping: Mapping) -> Text | None:
        """Why it cannot make such a mapping, by language; None when it can."""
        ...


class Router(Ability, Protocol):
    """The plane that asks the router before this machine."""

    def stands_before(self) -> bool:
        """Whether there is one that opens ports when it is asked, and nothing comes in unless it does."""
        ...

    def has_gone(self) -> bool:
        """Whether there is surely none: not when one that answered is silent, for it may be restarting."""
        ...


@dataclass(frozen=True, slots=True)
class Rules:
    """The standing terms every request is held against.

    Attributes:
        new_id: a fresh mapping id at every call.
        danger_for: the dangerous preset that uses a (protocol, port), if one does.
        planes: those of this machine, in the order in which `auto` prefers them.
        router: the plane of the router before it; None where nobody asks one.
        lifetime: seconds, where neither the request nor its preset says.
        longest: seconds; no lifetime may be longer, and none permanent. None is no cap.
        machine: what is known of this machine as a gateway.
        confirm_within: seconds that a change which could lock its asker out stands unconfirmed.
        connected: by whom a TCP port of this machine is used now: addresses and ports.
        owned: the addresses that a device is proved to have; a device may open ports to these only.
        line: what is known of the line to the internet; None is nothing.
        used: bytes that all ports of a user of the SSH door have carried within its quota's time.
    """

    new_id: Callable[[], str]
    danger_for: Callable[[str, int], Preset | None]
    planes: tuple[Ability, ...]
    lifetime: int = DAY
    longest: int | None = None
    machine: Machine = NO_GATEWAY
    confirm_within: int = 30
    connected: Callable[[int], frozenset[tuple[IPAddress, int]]] = lambda _port: frozenset()
    owned: Callable[[Owner], frozenset[IPAddress]] = lambda _owner: frozenset()
    router: Router | None = None
    line: Callable[[], Line | None] = lambda: None
    used: Callable[[str], int] = lambda _user: 0
