"""What an administrator sets, and what policy must know of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sekimori.model.mapping import Mapping
from sekimori.model.preset import Preset

__all__ = ["DAY", "Ability", "Rules"]

DAY: Final = 86400


class Ability(Protocol):
    """A plane, as far as policy needs to know one."""

    @property
    def name(self) -> str:
        """Its word after `--via`."""
        ...

    def unable(self, mapping: Mapping) -> str | None:
        """Why it cannot make such a mapping; None when it can."""
        ...


@dataclass(frozen=True, slots=True)
class Rules:
    """The standing terms every request is held against.

    Attributes:
        new_id: a fresh mapping id at every call.
        danger_for: the dangerous preset that uses a (protocol, port), if one does.
        planes: in the order in which `auto` prefers them.
        lifetime: seconds, where neither the request nor its preset says.
        longest: seconds; no lifetime may be longer, and none permanent. None is no cap.
    """

    new_id: Callable[[], str]
    danger_for: Callable[[str, int], Preset | None]
    planes: tuple[Ability, ...]
    lifetime: int = DAY
    longest: int | None = None
