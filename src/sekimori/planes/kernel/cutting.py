"""The hands of `flows`: asks conntrack, and has it forget what is to be cut.

Everything here blocks for as long as the kernel works: call it from worker threads. Cut *after* the table
has changed, or a flow may begin between the cut and the change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from sekimori.host.nfsocket import NfSocket, delete_flows, dump_flows
from sekimori.model.address import IPNetwork
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.network import Network
from sekimori.planes.kernel.flows import (
    Change,
    Cutting,
    Ground,
    Standing,
    Touched,
    is_labelled,
    orphans,
    share_out,
)
from sekimori.planes.kernel.lookup import BOTH, EVERYTHING, Question, questions
from sekimori.planes.kernel.places import Prefixes
from sekimori.reconcile.ports import Wanted
from sekimori.wire.conntrack import IPV4, IPV6, Entry, delete_request

__all__ = ["Cutter"]

_MANY: Final = 100
"""Changes above which one look at all flows comes before any of them is worked out."""


class Cutter:
    """Finds, and ends, the flows of mappings.

    `standing` is, everywhere, every mapping of the plane as it is wanted now; it is read only where a DMZ
    host or a trigger is concerned, which get what no other mapping does.

    Every method raises `NetfilterError` when the kernel refuses.

    Attributes:
        before_forgetting: called with the flows that conntrack is about to be told to forget.
    """

    def __init__(self, socket: NfSocket) -> None:
        self.before_forgetting: Callable[[Sequence[Entry]], None] = lambda entries: None
        self._socket = socket

    def flows(self, wanted: Wanted, network: Network, standing: Iterable[Wanted] = ()) -> list[Entry]:
        """The tracked flows of a mapping, whoever may come in by now."""
        ground = Ground(network)
        extent = ground.extent(wanted)
        others = Standing(ground)
        if extent.residual:
            others.add_all(standing)
        found = [entry for entry in self._ask(questions([extent])) if extent.owns(entry)]
        return [entry for entry in found if not others.owns(entry, wanted.mapping.id)]

    def share_out(
        self, wanted: Mapping[str, Wanted], network: Network, standing: Iterable[Wanted]
    ) -> dict[str, list[Entry]]:
        """The tracked flows of many mappings, by id, from one look at conntrack."""
        return share_out(filter(is_labelled, self._ask(EVERYTHING)), wanted, network, standing)

    def cut(self, changes: Sequence[Change], network: Network, standing: Iterable[Wanted] = ()) -> int:
        """End the flows that changes no longer allow (`flows.to_cut`); how many there were."""
        if len(changes) > _MANY:
            return self.cut_among(self._ask(EVERYTHING), changes, network, standing)
        cutting = Cutting(changes, network, standing)
        return self.forget(cutting.cut(self._ask(questions(cutting.extents))))

    def near(self, wanted: Sequence[Wanted], network: Network) -> list[Entry]:
        """The tracked flows that these mappings cover, and others."""
        if len(wanted) > _MANY:
            return self._ask(EVERYTHING)
        return self._ask(questions(map(Ground(network).extent, wanted)))

    def cut_among(
        self,
        entries: Iterable[Entry],
        changes: Sequence[Change],
        network: Network,
        standing: Iterable[Wanted],
    ) -> int:
        """`cut` of flows that are known already; how many there were."""
        entries = list(entries)
        # Next to none of thousands has a flow, and to look at one is cheaper than to work out its extent.
        touched = Touched(entries)
        changes = [each for each in changes if any(wanted and touched.by(wanted.mapping) for wanted in each)]
        return self.forget(Cutting(changes, network, standing).cut(entries))

    def cut_orphans(
        self, standing: Iterable[Wanted], network: Network, listening: Iterable[PortMapping] = ()
    ) -> int:
        """End the flows that a mapping of ours admitted once and none does now (`flows.orphans`)."""
        return self.forget(orphans(self._ask(EVERYTHING), standing, network, listening))

    def kill(
        self,
        wanted: Wanted | None,
        source: IPNetwork | None,
        network: Network,
        standing: Iterable[Wanted] = (),
    ) -> int:
        """End flows now, whether or not they may begin again; how many there were. See `to_kill`."""
        return self.forget(self.to_kill(wanted, source, network, standing))

    def to_kill(
        self,
        wanted: Wanted | None,
        source: IPNetwork | None,
        network: Network,
        standing: Iterable[Wanted] = (),
    ) -> list[Entry]:
        """The flows of a mapping, or of all, from a source.

        Args:
            wanted: of this mapping; None is of all that a mapping of ours admitted.
            source: that came from within this prefix; None is from anywhere.
            network: as it is now.
            standing: see the class.
        """
        if wanted is not None:
            entries = self.flows(wanted, network, standing)
        else:
            family = BOTH if source is None else IPV4 if source.version == 4 else IPV6
            entries = [entry for entry in self._ask([Question(family, None)]) if is_labelled(entry)]
        if source is not None:
            place = Prefixes([source])
            entries = [entry for entry in entries if entry.original.source in place]
        return entries

    def forget(self, entries: Iterable[Entry]) -> int:
        """Have conntrack forget flows; how many it still knew."""
        entries = list(entries)
        if entries:
            self.before_forgetting(entries)
        return delete_flows(self._socket, map(delete_request, entries))

    def _ask(self, asked: Iterable[Question]) -> list[Entry]:
        """The answers to all questions, each flow once."""
        found: dict[tuple[object, ...], Entry] = {}
        for family, only in asked:
            for entry in dump_flows(self._socket, family, only):
                found[entry.id, entry.protocol, entry.original, entry.zone] = entry
        return list(found.values())
