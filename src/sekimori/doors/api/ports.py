"""What the API asks of the daemon beside the gate: the read side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from sekimori.model.actual import Counters, Flow, SourceUse, Status
from sekimori.model.decision import Notice
from sekimori.model.events import Event
from sekimori.model.request import Context, Reading
from sekimori.model.snapshot import Snapshot
from sekimori.presets.load import Presets

if TYPE_CHECKING:
    from sekimori.gate import Outcome
    from sekimori.ledger.journal import Revision

__all__ = ["Lagged", "Views"]


class Lagged(Exception):  # noqa: N818 - it names what happened to a reader, not a fault
    """A reader of events took them too slowly; what came after its queue was full is lost to it."""


class Views(Protocol):
    """The daemon as its readers see it. But for `history`, what does not await returns at once."""

    @property
    def presets(self) -> Presets:
        """The known services."""
        ...

    def snapshot(self) -> Snapshot:
        """The ledger's live mappings and lists."""
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
