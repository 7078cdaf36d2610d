"""The daemon as its readers see it, and the config file as an owner."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import fields
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from sekimori.config.export import export_toml
from sekimori.config.load import load_config, parse_config, read_text
from sekimori.config.schema import Config, digest_of
from sekimori.config.sync import plan_sync, unconfirmed_notice
from sekimori.daemon.doors import Doors
from sekimori.daemon.meters import Meters
from sekimori.daemon.outside import Outside
from sekimori.daemon.settings import Settings, new_salt
from sekimori.doors.api.feed import Feed
from sekimori.doors.api.ports import Doctor, LinkTried, RouterTold
from sekimori.gate.local import LocalGate
from sekimori.gate.ports import Outcome
from sekimori.gate.refusals import Refusal
from sekimori.ledger.journal import Revision
from sekimori.ledger.store import Ledger
from sekimori.model.actual import Counters, Flow, SourceUse, Status
from sekimori.model.address import IPNetwork
from sekimori.model.decision import Notice, Verb
from sekimori.model.door import DoorName
from sekimori.model.errors import Problem
from sekimori.model.events import Event
from sekimori.model.lifetime import format_instant
from sekimori.model.line import Line
from sekimori.model.linkfacts import SshFacts
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.model.snapshot import Snapshot
from sekimori.model.words import Reading
from sekimori.policy.machine import Machine
from sekimori.policy.rules import Rules
from sekimori.presets.load import Presets
from sekimori.reconcile.engine import GROUND, Engine
from sekimori.reconcile.ports import Clock

__all__ = ["DaemonViews"]

_AT_START: Final = ("daemon", "api", "relay", "policy", "network", "line")
"""Tables of the config file that are taken up when the daemon starts."""


class DaemonViews:
    """What `doors.api.ports.Views` promises, from the parts of this process."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        engine: Engine,
        gate: LocalGate,
        meters: Meters,
        feed: Feed,
        clock: Clock,
        presets: Presets,
        rules: Rules,
        open_doctor: Callable[[], Doctor],
        doors: Doors,
        outside: Outside,
        links: LinkTried,
    ) -> None:
        self.links = links
        self.presets = presets
        self._open_doctor = open_doctor
        self._doors = doors
        self._outside = outside
        self._settings = settings
        self._ledger = ledger
        self._engine = engine
        self._gate = gate
        self._meters = meters
        self._feed = feed
        self._clock = clock
        self._rules = rules
        self._started = clock.now()

    @property
    def machine(self) -> Machine:
        """This machine as a gateway."""
        return self._rules.machine

    @cached_property
    def doctor(self) -> Doctor:
        """Who looks for what keeps packets from the mappings; made when somebody first asks."""
        return self._open_doctor()

    def ground_problem(self) -> Problem | None:
        """Why the gateway or the bans are not wholly real now."""
        return self._engine.problem(GROUND)

    def door_problems(self) -> Mapping[DoorName, Mapping[str, Problem]]:
        """Why doors for devices do not answer, by door and interface."""
        return self._doors.problems()

    def refusals(self) -> Sequence[Refusal]:
        """What devices were refused, the newest first."""
        return self._doors.refusals()

    def line(self) -> Line:
        """The line as a whole."""
        return self._outside.line()

    def lines(self) -> Sequence[Line]:
        """The line of each WAN, the preferred one first."""
        return self._outside.lines()

    def router_facts(self) -> Sequence[RouterTold]:
        """The routers above."""
        return self._outside.router.told()

    def ssh_door(self) -> SshFacts:
        """The SSH door: its host keys, and who is connected; nothing of a door that is shut."""
        return self._doors.ssh_facts()

    def snapshot(self) -> Snapshot:
        """The ledger's live mappings and lists."""
        return self._ledger.snapshot

    def status_of(self, mapping_id: str) -> Status:
        """The state of a mapping of the snapshot."""
        return self._engine.status(mapping_id)

    async def counters(self, ids: Sequence[str] | None = None) -> Mapping[str, Counters]:
        """Counters by mapping id, of all or of these."""
        return await self._meters.counters(ids)

    async def flows(self, mapping_id: str) -> Sequence[Flow]:
        """The live flows of a mapping."""
        return await self._meters.flows(mapping_id)

    async def sources(self, mapping_id: str) -> Sequence[SourceUse]:
        """What each source did with a mapping."""
        return await self._meters.sources(mapping_id)

    async def kill(self, mapping_id: str | None, source: IPNetwork | None) -> int:
        """End live flows at once; how many."""
        return await self._meters.kill(mapping_id, source)

    def history(
        self, *, limit: int = 50, before: int | None = None, subject: str | None = None
    ) -> Sequence[Revision]:
        """Revisions, newest first."""
        return self._ledger.history(limit=limit, before=before, subject=subject)

    def reading(self) -> Reading:
        """What reading words takes, as of now."""
        presets = self.presets
        return Reading(self._clock.now(), self._settings.zone, presets.get, presets.suggest, new_salt)

    def about(self) -> dict[str, Any]:
        """What the daemon is, as plain JSON values."""
        states: dict[str, int] = {}
        for mapping in self._ledger.snapshot:
            state = str(self._engine.status(mapping.id).state)
            states[state] = states.get(state, 0) + 1
        config = self._settings.config.path
        return {
            "version": version("sekimori"),
            "pid": os.getpid(),
            "started_at": self._started,
            "state_dir": str(self._settings.state_dir),
            "socket": str(self._settings.socket),
            "config": str(config),
            "config_exists": os.path.exists(config),  # as of now: `apply` reads it whenever it is there
            "config_taken_back_at": self._taken_back_at(config),
            "zone": self._settings.zone,
            "revision": self._ledger.revision,
            "planes": self._meters.planes(),
            "counts": {"mappings": len(self._ledger.snapshot), **states},
        }

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Events from now on."""
        return self._feed.subscribe()

    async def sync(
        self, path: str | None, text: str | None, context: Context, plan: bool, *, unasked: bool = False
    ) -> tuple[Outcome, tuple[Notice, ...]]:
        """Bring the ledger to what a config file says; also what was left out and why.

        What nobody asked for just now (`unasked`) leaves alone a text that was taken back unconfirmed.

        Raises:
            Problem: the file cannot be read, or policy refuses it; nothing was changed.
        """
        reading = self.reading()
        file = Path(path) if path else self._settings.config.path
        config = load_config(file, reading) if text is None else parse_config(text, file, reading)
        plans = plan_sync(
            config, self._ledger.snapshot, reading, self._expired, lifetime=self._rules.lifetime
        )
        taken_back = self._ledger.unconfirmed.get(config.owner)
        if unasked and plans.asks and taken_back is not None and taken_back.text == config.digest:
            return Outcome(plan, None, ()), (unconfirmed_notice(config),)
        why = context.why or f"by {context.actor.label['en']}"
        as_file = Context(config.owner, "file", why, context.caller, config.digest)
        outcome = await (self._gate.explain if plan else self._gate.enact)(plans.asks, as_file)
        return outcome, (*plans.skipped, *self._need_restart(config))

    def export(self) -> str:
        """The whole state as a config file."""
        return export_toml(
            self._ledger.snapshot, self._settings.zone, now=self._clock.now(), preset=self.presets.get
        )

    def _expired(self, owner: Owner, name: str) -> Mapping[str, Any] | None:
        row = self._ledger.last_row_named(owner, name)
        return row.before if row is not None and row.verb is Verb.EXPIRE else None

    def _taken_back_at(self, file: Path) -> str | None:
        """When the text that stands in our own file was taken back unconfirmed; None where it was not."""
        kept = self._ledger.unconfirmed.get(Owner(OwnerKind.FILE, str(file)))
        if kept is None:
            return None
        try:
            text = read_text(file)
        except Problem:  # not there, or no text: then it is another than it was
            return None
        return format_instant(kept.at) if digest_of(text) == kept.text else None

    def _need_restart(self, config: Config) -> tuple[Notice, ...]:
        """Settings of our own file that only the next start takes up."""
        running = self._settings.config
        if config.path != running.path:
            return ()
        sections = [f.name for f in fields(config) if f.name in _AT_START]
        changed = [name for name in sections if getattr(config, name) != getattr(running, name)]
        if not changed:
            return ()
        names = ", ".join(f"[{name}]" for name in changed)
        return (
            Notice(
                "restart-needed",
                f"{names} changed too: they take effect when the daemon is started again.",
                f"{names} も変わっています。デーモンを起動し直すと反映されます。",
            ),
        )
