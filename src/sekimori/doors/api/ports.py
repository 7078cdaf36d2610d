"""What the API asks of the daemon beside the gate: the read side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from sekimori.model.actual import Counters, Flow, SourceUse, Status
from sekimori.model.address import IPAddress, IPNetwork
from sekimori.model.causes import Text
from sekimori.model.decision import Notice
from sekimori.model.door import DoorName
from sekimori.model.errors import Problem
from sekimori.model.events import Event
from sekimori.model.finding import Applied, Examination, Treatment
from sekimori.model.line import Line
from sekimori.model.link import Link
from sekimori.model.linkfacts import HostKey, LinkFacts, LinkTest, SshFacts
from sekimori.model.request import Context
from sekimori.model.snapshot import Snapshot
from sekimori.model.words import Reading
from sekimori.policy.machine import Machine
from sekimori.presets.load import Presets

if TYPE_CHECKING:
    from sekimori.gate import Outcome
    from sekimori.gate.refusals import Refusal
    from sekimori.ledger.journal import Revision

__all__ = ["Doctor", "Lagged", "LinkTried", "RouterTold", "Views"]


class Lagged(Exception):  # noqa: N818 - it names what happened to a reader, not a fault
    """A reader of events took them too slowly; what came after its queue was full is lost to it."""


class Doctor(Protocol):
    """Looks for what keeps packets from the mappings, carries remedies out, and takes them back.

    Each call may take many seconds.
    """

    async def examine(self, mapping: str | None) -> Examination:
        """Look at one mapping, or at all; and at the machine.

        Raises:
            Problem: there is no such mapping.
        """
        ...

    async def applied(self) -> Sequence[Applied]:
        """The remedies that stand, the oldest first.

        Raises:
            Problem: the records of them cannot be read.
        """
        ...

    async def treat(
        self,
        mapping: str | None,
        codes: Collection[str] | None,
        ids: Collection[str] | None,
        *,
        plan: bool,
        by: str,
        why: str,
    ) -> Treatment:
        """Carry out the remedies of what is found (for these codes, with these ids), and look again.

        Raises:
            Problem: no such mapping; or a remedy that was named is no longer what would be done.
        """
        ...

    async def take_back(
        self, mapping: str | None, ids: Collection[str] | None, *, plan: bool, by: str, why: str
    ) -> Treatment:
        """Undo the remedies that stand (that were for this mapping, with these ids), and look again.

        Raises:
            Problem: a remedy that was named does not stand.
        """
        ...


class RouterTold(Protocol):
    """One router above, as the plane tells that asks it (`planes.router.facts.RouterFacts`)."""

    @property
    def interface(self) -> str:
        """The WAN it is reached by."""
        ...

    @property
    def local(self) -> IPAddress:
        """This machine's address there."""
        ...

    @property
    def gateway(self) -> IPAddress:
        """The router's address."""
        ...

    @property
    def presence(self) -> str:
        """Whether it answers: `unknown`, `there`, `none`, `silent`."""
        ...

    @property
    def protocol(self) -> str | None:
        """`pcp`, `natpmp` or `upnp`; None where it answers none."""
        ...

    @property
    def answered(self) -> Sequence[str]:
        """All the protocols that it answered."""
        ...

    @property
    def model(self) -> str:
        """Its own words for what it is; "" where it does not say."""
        ...

    @property
    def address(self) -> IPAddress | None:
        """Its outside address; None where it did not tell."""
        ...

    @property
    def address_doubt(self) -> Text | None:
        """Why that is no address of the internet; None where it is one."""
        ...

    @property
    def epoch(self) -> int | None:
        """Seconds since it lost its state last, as it said when it was last heard."""
        ...

    @property
    def heard_at(self) -> float | None:
        """Unix seconds of its last answer; None where there was none."""
        ...

    @property
    def lasting_only(self) -> bool:
        """Whether it keeps entries only without an end."""
        ...


class LinkTried(Protocol):
    """Who keeps the links, and tries new ones. Trying takes seconds, and a dozen where nobody answers."""

    def told(self) -> Mapping[str, LinkFacts]:
        """How each link of the snapshot is, by name. One may be missing that was added just now."""
        ...

    async def scan(self, link: Link) -> Sequence[HostKey]:
        """The host keys that the link's server and each jump show.

        A server behind a jump can be asked only once the jump's own key is trusted: where `link.host_keys`
        does not pin it, only what stands before is told.

        Raises:
            Problem: nobody answers where the first that has to be asked should be, or it does not speak SSH.
        """
        ...

    async def test(self, link: Link) -> LinkTest:
        """Connect once, beside what may be up, and see what can be done there."""
        ...


class Views(Protocol):
    """The daemon as its readers see it. But for `history`, what does not await returns at once."""

    @property
    def presets(self) -> Presets:
        """The known services."""
        ...

    @property
    def machine(self) -> Machine:
        """This machine as a gateway."""
        ...

    @property
    def doctor(self) -> Doctor:
        """Who looks for what keeps packets from the mappings."""
        ...

    @property
    def links(self) -> LinkTried:
        """Who keeps the links, and tries new ones."""
        ...

    def ssh_door(self) -> SshFacts:
        """The SSH door: its host keys, and who is connected; nothing of a door that is shut."""
        ...

    def snapshot(self) -> Snapshot:
        """The ledger's live mappings, lists, bans and the gateway."""
        ...

    def ground_problem(self) -> Problem | None:
        """Why the gateway or the bans are not wholly real now."""
        ...

    def door_problems(self) -> Mapping[DoorName, Mapping[str, Problem]]:
        """Why doors for devices do not answer, by door and interface; none of those where they do."""
        ...

    def refusals(self) -> Sequence[Refusal]:
        """What devices were refused lately, the newest first."""
        ...

    def line(self) -> Line:
        """The line as a whole: IPv4 by the WAN that is preferred for it, and IPv6 by its own."""
        ...

    def lines(self) -> Sequence[Line]:
        """The line of each WAN, the preferred one first."""
        ...

    def router_facts(self) -> Sequence[RouterTold]:
        """The routers above, one for each WAN that has one."""
        ...

    def status_of(self, mapping_id: str) -> Status:
        """The state of a mapping of the snapshot."""
        ...

    async def counters(self, ids: Sequence[str] | None = None) -> Mapping[str, Counters]:
        """Counters by mapping id, of all or of these; a mapping may be missing."""
        ...

    async def flows(self, mapping_id: str) -> Sequence[Flow]:
        """The live flows of a mapping."""
        ...

    async def sources(self, mapping_id: str) -> Sequence[SourceUse]:
        """What each source did with a mapping."""
        ...

    async def kill(self, mapping_id: str | None, source: IPNetwork | None) -> int:
        """End live flows at once: of a mapping, from a prefix, or those that are both; how many."""
        ...

    def history(
        self, *, limit: int = 50, before: int | None = None, subject: str | None = None
    ) -> Sequence[Revision]:
        """Revisions, newest first: those below `before`, about `subject` (an id or a name).

        It may wait for the disk, and is called from another thread.
        """
        ...

    def reading(self) -> Reading:
        """What reading words takes, as of now."""
        ...

    def about(self) -> dict[str, Any]:
        """What the daemon is: version, pid, started_at (Unix seconds), state_dir, socket, config,
        config_exists, zone, planes, counts; plain JSON values.
        """
        ...

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Events from now on. The iterator raises `Lagged` for a reader that fell too far behind."""
        ...

    async def sync(
        self, path: str | None, text: str | None, context: Context, plan: bool
    ) -> tuple[Outcome, tuple[Notice, ...]]:
        """Bring the ledger to what a config file says; also what was left out and why.

        `path` None is the daemon's own file; `text` None is what stands in the file.

        Raises:
            Problem: the file cannot be read, or policy refuses it; nothing was changed.
        """
        ...

    def export(self) -> str:
        """The whole state as a config file."""
        ...
