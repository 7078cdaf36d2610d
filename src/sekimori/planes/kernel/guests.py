"""Mappings of other planes that listen on this machine, as permits for the firewall."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from sekimori.model.limits import Limits
from sekimori.model.mapping import Hop
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.source import Sources
from sekimori.model.target import Target, TargetKind
from sekimori.reconcile.ports import Wanted

__all__ = ["Guests"]

_PREFIX = "guest "
"""Before the id of a mapping; no mapping's id has a space."""
_SELF = Target(TargetKind.SELF, "self")
_HERE = (Hop("kernel"),)
_ANYONE = Sources(anyone=True)

_Known = dict[str, tuple[PortMapping, float | None]]


@dataclass(slots=True)
class Guests:
    """What was let in for others."""

    _known: _Known = field(default_factory=dict)

    @property
    def are_any(self) -> bool:
        """Whether anybody is let in now."""
        return bool(self._known)

    def compare(
        self, guests: Iterable[PortMapping], now: float, lost: Collection[str] = ()
    ) -> tuple[dict[str, Wanted], list[str], _Known]:
        """What to put and what to remove so that just these are let in, and what to `settle` then.

        `lost` are ids, as they are in what was put, of which the table does not have all any more.
        """
        open_now = (mapping for mapping in guests if _listens_here(mapping) and mapping.wants_open(now))
        wanted = {f"{_PREFIX}{mapping.id}": (mapping, mapping.next_change(now)) for mapping in open_now}
        put = {
            key: _permit(key, *value)
            for key, value in wanted.items()
            if self._known.get(key) != value or key in lost
        }
        return put, [key for key in self._known if key not in wanted], wanted

    def settle(self, known: _Known) -> None:
        """These are let in now."""
        self._known = known

    def forget(self) -> None:
        """The table was taken away, and they with it."""
        self._known = {}


def _listens_here(mapping: PortMapping) -> bool:
    """Whether packets come to it: none come to a port at the far end of a link, nor to a unix socket."""
    return mapping.at is None and all(pair.protocol.has_ports for pair in mapping.ports)


def _permit(key: str, mapping: PortMapping, until: float | None) -> Wanted:
    """The ports a mapping listens on, for anyone: who may come in is checked where it listens."""
    permit = replace(
        mapping,
        id=key,
        ports=tuple(replace(pair, inside=pair.outside) for pair in mapping.ports),
        target=_SELF,
        path=_HERE,  # what is relayed to this machine itself is no permit
        sources=_ANYONE,
        limits=Limits(),
        log=False,
    )
    return Wanted(permit, until, (), None, 0.0)
