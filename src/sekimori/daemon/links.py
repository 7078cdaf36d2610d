"""What carries flows for the relay, joined: links, the dialler for clients that name their destination, and
the quotas of those who come by SSH.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from sekimori.daemon.channels import ChannelBytes
from sekimori.gate.ports import Gate
from sekimori.model.actual import Counters
from sekimori.model.events import Committed, Event
from sekimori.model.link import Link
from sekimori.model.linkfacts import HostKey, LinkFacts, LinkTest
from sekimori.model.snapshot import Snapshot
from sekimori.model.target import Target, TargetKind
from sekimori.observe.guard.quotas import Quotas
from sekimori.planes.dialler.keeper import Dialler
from sekimori.planes.link.plane import LinkPlane
from sekimori.planes.link.probe import scan, test
from sekimori.planes.relay.plane import RelayPlane
from sekimori.reconcile.ports import Clock

__all__ = ["LinkSide"]

_SOCKS: Final = Target(TargetKind.SOCKS, "socks")


class LinkSide:
    """Fulfils `doors.api.ports.LinkTried` and `doors.ssh.tally.Accounts`.

    `run` goes on for as long as it is used.

    Args:
        user: UID and GID that the dialler becomes; None when we are not root.

    Attributes:
        plane: the links.
    """

    def __init__(
        self,
        relay: RelayPlane,
        snapshot: Callable[[], Snapshot],
        clock: Clock,
        user: tuple[int, int] | None,
    ) -> None:
        self._snapshot = snapshot
        self.plane = LinkPlane(lambda: snapshot().links, relay, clock)
        self._dialler = Dialler(relay.attach, relay.detach, user)
        self._clock = clock
        self._channels = ChannelBytes()
        self._quotas: Quotas | None = None
        self._follow()

    def join(
        self,
        gate: Gate,
        counters: Callable[[Sequence[str]], Awaitable[Mapping[str, Counters]]],
        directory: Path,
    ) -> None:
        """Have users of the SSH door keep to their quotas.

        Args:
            gate: by which ports are closed.
            counters: of these mappings.
            directory: where it is kept what they have carried.
        """
        self._quotas = Quotas(gate, self._snapshot, counters, self._channels.read, directory, self._clock)

    def used(self, user: str) -> int:
        """Bytes that a user of the SSH door has carried in the present period of their quota."""
        return 0 if self._quotas is None else self._quotas.used(user)

    def used_up(self) -> Collection[str]:
        """The users of the SSH door who have used up their quota (`Accounts.used_up`)."""
        return () if self._quotas is None else self._quotas.used_up()

    def carried(self, user: str, count: int) -> None:
        """A user has carried so many bytes more to destinations (`Accounts.carried`)."""
        self._channels.add(user, count)

    def heed(self, event: Event) -> None:
        """Take note of what was committed, before anything is made of it."""
        if isinstance(event, Committed):
            self._follow()
            if self._quotas is not None:
                self._quotas.heed(event)

    async def run(self) -> None:
        """Keep the links, the dialler and the quotas, until cancelled; then their processes have ended."""
        assert self._quotas is not None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.plane.run(), name="links")
            tasks.create_task(self._dialler.run(), name="dialler")
            tasks.create_task(self._quotas.run(), name="quotas")

    # -- LinkTried -----------------------------------------------------------------------------

    def told(self) -> Mapping[str, LinkFacts]:
        """How each link is, by name."""
        return self.plane.told()

    async def scan(self, link: Link) -> Sequence[HostKey]:
        """The host keys that the link's server and each jump show (`probe.scan`)."""
        return await scan(link)

    async def test(self, link: Link) -> LinkTest:
        """What a connection of its own comes to (`probe.test`), which the link's facts keep."""
        found = await test(link)
        self.plane.note_test(link, found)
        return found

    def _follow(self) -> None:
        snapshot = self._snapshot()
        self.plane.follow()
        # Those that go through a link are dialled at its far end, and are not among these.
        self._dialler.want(bool(snapshot.leading_to(_SOCKS)))
