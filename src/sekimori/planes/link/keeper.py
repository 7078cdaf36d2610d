"""The process of one link, kept alive: it holds the SSH connections, and no other process of ours does."""

from __future__ import annotations

import socket
from asyncio import Event
from collections.abc import Awaitable, Callable, Container, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import structlog

from sekimori.host.child import start
from sekimori.model.errors import Problem
from sekimori.model.link import Link, LinkPhase
from sekimori.model.linkfacts import LinkFacts
from sekimori.planes.link.facts import read_problem, read_state, start_frame
from sekimori.planes.link.terms import FarListen
from sekimori.reconcile.ports import Clock

__all__ = ["Answer", "Carriers", "Hooks", "Keeper", "Launch", "Running", "launch"]

_FIRST: Final = 0.2
_LONGEST: Final = 8.0
"""Seconds until a process that ended is started again, doubling."""
_HEALTHY: Final = 10.0
"""Seconds after which one that ends is started again as fast as the first."""

_log = structlog.get_logger("link")

Answer = int | Problem
"""The port that the far end listens on, or why it does not."""

OnFrame = Callable[[dict[str, Any], list[int]], None]


class Carriers(Protocol):
    """The relay, as who carries flows for it sees it."""

    async def attach(self, name: str, take: Callable[[int, socket.socket], None]) -> None:
        """Give the carrier of a name its ends of the channels to each worker by its index, now and whenever
        a worker is started; in the place of those that it had.
        """
        ...

    async def detach(self, name: str) -> None:
        """There is no such carrier any more; perhaps there never was."""
        ...

    def home_of(self, mapping_id: str) -> int:
        """The index of the worker that takes the newcomers of a mapping."""
        ...


class Running(Protocol):
    """A process that was started (`host.child.Child`)."""

    @property
    def pid(self) -> int:
        """The process."""
        ...

    def tell(self, message: dict[str, Any], fds: Iterable[int] = ()) -> None:
        """Send a frame, with descriptors that are owned from now on."""
        ...

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        ...

    async def end(self) -> None:
        """End it."""
        ...


Launch = Callable[[OnFrame], Awaitable[Running]]


async def launch(on_frame: OnFrame) -> Running:
    """Start the process of a link.

    Raises:
        OSError: it could not be started.
    """
    return await start("sekimori.planes.link", on_frame)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a keeper tells.

    Attributes:
        changed: how the link is, is another; by the link's name.
        answered: what the far end answered to a listen: link, mapping, key, answer.
    """

    changed: Callable[[str], None]
    answered: Callable[[str, str, str, Answer], None]


_NOBODY: Final = Hooks(lambda _link: None, lambda _link, _id, _key, _answer: None)


class Keeper:
    """One link. `run` goes on for as long as it is wanted.

    Attributes:
        link: as it was added.
        facts: how it is now.
    """

    def __init__(
        self, link: Link, relay: Carriers, clock: Clock, hooks: Hooks, launch: Launch = launch
    ) -> None:
        self.link = link
        self.facts = LinkFacts(name=link.name, phase=LinkPhase.CONNECTING, since=clock.now())
        self._relay = relay
        self._clock = clock
        self._hooks = hooks
        self._launch = launch
        self._process: Running | None = None
        self._listens: dict[str, tuple[FarListen, ...]] = {}
        self._again = Event()

    @property
    def is_up(self) -> bool:
        """Whether flows can go through it now."""
        return self.facts.phase is LinkPhase.UP

    @property
    def pid(self) -> int | None:
        """Its process; None where there is none now."""
        return None if self._process is None else self._process.pid

    def listens(self, mapping_id: str) -> bool:
        """Whether the far end is asked to listen for a mapping, or will be when it can."""
        return mapping_id in self._listens

    def listen_again(self, mapping_id: str, keys: Container[str]) -> None:
        """Have it try these ports of a mapping at once, which it could not listen on."""
        for each in self._listens[mapping_id]:
            if each.key in keys:
                self._tell(each.frame())

    def listen(self, mapping_id: str, listens: tuple[FarListen, ...]) -> None:
        """Have the far end listen for a mapping, on these and no others, for as long as the link is kept."""
        self.unlisten(mapping_id)
        self._listens[mapping_id] = listens
        for each in listens:
            self._tell(each.frame())

    def unlisten(self, mapping_id: str) -> None:
        """Have it listen for a mapping no more."""
        if self._listens.pop(mapping_id, None) is not None:
            self._tell({"op": "unlisten", "id": mapping_id})

    def retry(self) -> None:
        """The network may be another one: try at once; where it is up, once it turns out not to be."""
        self._again.set()
        self._tell({"op": "retry"})

    def retire(self) -> None:
        """Tell nothing more: the link is gone, or another keeper has it; the process may still speak."""
        self._hooks = _NOBODY

    async def run(self) -> None:
        """Keep a process, until cancelled."""
        wait = _FIRST
        try:
            while True:
                begun = self._clock.now()
                how = await self._serve()
                wait = _FIRST if self._clock.now() - begun > _HEALTHY else wait
                next_try = self._clock.now() + wait
                self._fall(how, next_try)
                self._again.clear()
                await self._clock.wait_until(next_try, self._again)
                wait = min(2 * wait, _LONGEST)
        finally:
            await self._relay.detach(self.link.name)

    async def _serve(self) -> str:
        """Have one process do everything, to its end; how that came."""
        try:
            process = await self._launch(self._heard)
        except OSError as error:
            return error.strerror or str(error)
        try:
            self._process = process
            await self._relay.attach(
                self.link.name,
                lambda index, sock: process.tell({"op": "worker", "index": index}, [sock.detach()]),
            )
            self._tell(start_frame(self.link))
            for listens in self._listens.values():
                for each in listens:
                    self._tell(each.frame())
            code = await process.wait()
            return f"signal {-code}" if code < 0 else f"exit code {code}"
        except OSError as error:  # no descriptor is left for its channels to the workers
            return error.strerror or str(error)
        finally:
            self._process = None
            await process.end()

    def _fall(self, how: str, next_try: float) -> None:
        _log.warning("link_process_ended", link=self.link.name, how=how)
        why = Problem("link-broke", link=self.link.name, how=how)
        facts = replace(self.facts, phase=LinkPhase.WAITING, since=self._clock.now(), why=why, flows=0)
        self._turn(replace(facts, next_try=next_try))

    def _tell(self, message: dict[str, Any]) -> None:
        if self._process is not None:  # all is told to one that is started
            self._process.tell(message)

    def _heard(self, frame: dict[str, Any], fds: list[int]) -> None:
        for fd in fds:  # none is passed this way
            socket.close(fd)
        try:
            match frame.get("op"):
                case "state":
                    self._turn(read_state(frame, self.facts))
                case "flows":
                    self.facts = replace(self.facts, flows=int(frame["flows"]))
                case "listening":
                    self._answer(frame, int(frame["port"]))
                case "unable":
                    self._answer(frame, read_problem(frame))
                case other:
                    _log.warning("not_understood", link=self.link.name, op=other)
        except (KeyError, TypeError, ValueError) as error:
            _log.error("bad_frame", link=self.link.name, op=frame.get("op"), why=repr(error))

    def _answer(self, frame: dict[str, Any], answer: Answer) -> None:
        self._hooks.answered(self.link.name, frame["id"], frame["port_key"], answer)

    def _turn(self, facts: LinkFacts) -> None:
        was, self.facts = self.facts, facts
        if was.phase is not facts.phase:
            why = facts.why.title() if facts.why else None
            _log.info("link", name=facts.name, phase=str(facts.phase), server=facts.server, why=why)
        if _gist(was) != _gist(facts):
            self._hooks.changed(self.link.name)


def _gist(facts: LinkFacts) -> tuple[object, ...]:
    """What mappings that go through it depend on."""
    return facts.phase, facts.sekimori, facts.why and facts.why.titles
