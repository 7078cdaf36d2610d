"""The plane of links: it keeps them, and has their far ends listen.

What is dialled through a link is carried by the relay, which asks the link's process by itself; of such a
mapping there is nothing to make here but the link. Of one at a link's far end, the far machine listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from sekimori.model.causes import Text, cause
from sekimori.model.errors import Problem
from sekimori.model.link import Link, LinkPhase, client_away
from sekimori.model.linkfacts import LinkFacts, LinkTest
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.planes.link.facts import start_frame, why_down
from sekimori.planes.link.keeper import Answer, Carriers, Hooks, Keeper, Launch, launch
from sekimori.planes.link.terms import FarListen, carries_datagrams, listens_of, terms_of, why_unable
from sekimori.reconcile.ports import Changes, Clock, Ground, Wanted

__all__ = ["PATIENCE", "LinkPlane"]

PATIENCE: Final = 3.0
"""Seconds that one change waits for the far ends to say whether they listen."""

_NOTHING: Final = ""
"""The mark of what is held and not real now; no fingerprint is empty."""

Ask = Callable[[PortMapping], Problem | None]
"""Tells what keeps a mapping of a door's client from being real; None where nothing does."""


@dataclass(slots=True)
class _Held:
    """One mapping that was put.

    Attributes:
        link: through which it goes.
        mark: the fingerprint of its terms.
        listens: what was asked of the far end.
        answers: what it said to each, by key, since the link came up last.
        told: what the engine was told last to be in the way, in words.
        is_heard: `apply` waits for the answers, and tells of them itself.
    """

    mapping: PortMapping
    link: str
    mark: str
    listens: tuple[FarListen, ...]
    answers: dict[str, Answer] = field(default_factory=dict)
    told: Text | None = None
    is_heard: bool = False


class LinkPlane:
    """Links and what goes through them. See `reconcile.ports.Plane` for what its methods promise.

    `run` goes on for as long as it is used: without it no link comes up.

    Args:
        links: the links of the ledger, by name, as they are now.
        relay: carries what goes through links.
        clock: the time.

    Attributes:
        on_change: called with the ids of mappings that may not be real any more, or could be now.
    """

    def __init__(
        self,
        links: Callable[[], Mapping[str, Link]],
        relay: Carriers,
        clock: Clock,
        launch: Launch = launch,
    ) -> None:
        self.name = "link"
        self.on_change: Callable[[Iterable[str]], None] = lambda _ids: None
        self._links = links
        self._relay = relay
        self._clock = clock
        self._launch = launch
        self._hooks = Hooks(self._link_changed, self._answered)
        self._keepers: dict[str, Keeper] = {}
        self._doors: dict[str, Ask] = {}
        self._held: dict[str, _Held] = {}
        self._through: dict[str, dict[str, _Held]] = {}
        """What is held, by link and id."""
        self._marks: dict[str, str] = {}
        self._news = asyncio.Event()
        """Set whenever a far end answered, or a link is another."""
        self._wake = asyncio.Event()

    # -- its life ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the links, until cancelled; then their processes have ended."""
        running: dict[str, tuple[Keeper, asyncio.Task[None]]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                self.follow()
                # The process of a link that is another now has gone before the new one is started: both would
                # ask the far end for the same ports, and the relay knows them by one name.
                leaving = [name for name, (kept, _) in running.items() if self._keepers.get(name) is not kept]
                await _end([running.pop(name)[1] for name in leaving])
                for name, keeper in self._keepers.items():
                    if name not in running:
                        running[name] = keeper, tasks.create_task(keeper.run(), name=f"link {name}")
                await self._wake.wait()

    def follow(self) -> None:
        """Keep the links that the ledger has now, and no others. One that is the same stays up."""
        links = self._links()
        former = dict(self._keepers)
        for name, keeper in former.items():
            if name not in links or start_frame(links[name]) != start_frame(keeper.link):
                self._keepers.pop(name).retire()
            else:
                keeper.link = links[name]
        for name in links.keys() - self._keepers.keys():
            self._keepers[name] = self._keep(links[name])
        others = former.keys() | self._keepers.keys()
        others = {name for name in others if former.get(name) is not self._keepers.get(name)}
        if others:
            self._wake.set()
            self._judge([held for name in others for held in self._through.get(name, {}).values()])

    def retry(self) -> None:
        """The network is another one: links that wait try at once."""
        for keeper in self._keepers.values():
            keeper.retry()

    def register(self, name: str, ask: Ask) -> None:
        """A door carries by this name from now on (`link.SSH_DOOR`): its clients take the place of a link."""
        self._doors[name] = ask
        self.look_again(self._through.get(name, ()))

    def unregister(self, name: str) -> None:
        """That door is shut."""
        if self._doors.pop(name, None) is not None:
            self.look_again(self._through.get(name, ()))

    def look_again(self, ids: Iterable[str]) -> None:
        """These mappings may be real now, or no longer: the client of a door came or went."""
        self._judge([held for each in list(ids) if (held := self._held.get(each)) is not None])

    # -- what others may know --------------------------------------------------------------------

    def told(self) -> Mapping[str, LinkFacts]:
        """How each link is, by name."""
        return {name: keeper.facts for name, keeper in self._keepers.items()}

    def note_test(self, link: Link, test: LinkTest) -> None:
        """Keep of a test what only a test finds, for as long as the link is the one that was tested."""
        keeper = self._keepers.get(link.name)
        if keeper is not None and test.problem is None and start_frame(keeper.link) == start_frame(link):
            keeper.facts = replace(keeper.facts, outside=test.outside)

    def far_ports(self, mapping_id: str) -> Mapping[str, int]:
        """The ports that a far end said it listens on for a mapping, by the key of each (`tcp/8080`)."""
        held = self._held.get(mapping_id)
        answers = held.answers if held is not None else {}
        return {key: answer for key, answer in answers.items() if isinstance(answer, int)}

    @property
    def pids(self) -> Mapping[str, int]:
        """The processes of the links, by name."""
        return {name: keeper.pid for name, keeper in self._keepers.items() if keeper.pid is not None}

    # -- Plane ---------------------------------------------------------------------------------

    def unable(self, mapping: PortMapping) -> Text | None:
        """What no far end can be asked for."""
        return why_unable(mapping)

    async def preflight(self, mapping: PortMapping, leaving: Sequence[PortMapping]) -> Problem | None:
        """Nothing: what a far end can do is seen when it is asked."""
        return None

    async def lay(self, ground: Ground) -> Problem | None:
        """Nothing of the machine as a whole concerns a link."""
        return None

    def fingerprint(self, wanted: Wanted) -> str:
        """A hash of the link, what is sent through it, and where its far end listens."""
        return terms_of(wanted.mapping, self._relay.home_of(wanted.mapping.id))

    async def observe(self) -> Mapping[str, str]:
        """What goes through links that are up, and is listened for at their far ends as they said."""
        return MappingProxyType(self._marks)

    async def apply(self, changes: Changes) -> Mapping[str, Problem]:
        """Let go first, of what others may want; then ask, and wait a moment for what is answered."""
        self.follow()
        for key in changes.remove:
            self._let_go(key)
        put = [self._put(wanted) for wanted in changes.put]
        await self._hear([held for held in put if self._ask(held)])
        failed: dict[str, Problem] = {}
        for held in put:
            problem = self._note(held)
            if problem is not None:
                failed[held.mapping.id] = problem
        return failed

    def _note(self, held: _Held) -> Problem | None:
        """Have what is observed of a mapping be as it is now; what keeps it from being real."""
        problem = self._problem(held)
        held.told = None if problem is None else problem.titles
        if self._held.get(held.mapping.id) is held:
            self._marks[held.mapping.id] = held.mark if problem is None else _NOTHING
        return problem

    def _put(self, wanted: Wanted) -> _Held:
        """Note what is wanted, and let go of all that its terms before this had and these have not."""
        mapping, link = wanted.mapping, wanted.mapping.link or ""
        worker = self._relay.home_of(mapping.id)
        listens, mark = tuple(listens_of(mapping, worker)), terms_of(mapping, worker)
        old = self._held.get(mapping.id)
        if old is not None and (old.link, old.mark) == (link, mark):
            old.mapping = mapping
            return old
        self._let_go(mapping.id)
        held = self._held[mapping.id] = _Held(mapping, link, mark, listens)
        self._through.setdefault(link, {})[mapping.id] = held
        self._marks[mapping.id] = _NOTHING
        return held

    def _let_go(self, key: str) -> None:
        held = self._held.pop(key, None)
        self._marks.pop(key, None)
        if held is None:
            return
        del self._through[held.link][key]
        keeper = self._keepers.get(held.link)
        if held.listens and keeper is not None:
            keeper.unlisten(key)

    def _ask(self, held: _Held) -> bool:
        """Have the far end listen, and once more where it could not; false where it need not be asked."""
        keeper = self._keepers.get(held.link)
        if not held.listens or keeper is None:
            return False
        key = held.mapping.id
        if not keeper.listens(key):
            keeper.listen(key, held.listens)
            return True
        refused = {port for port, answer in held.answers.items() if isinstance(answer, Problem)}
        for port in refused:
            del held.answers[port]
        keeper.listen_again(key, refused)
        return bool(refused)

    async def _hear(self, asked: Sequence[_Held]) -> None:
        """Wait until every far end that can answer has, but not for long."""
        for held in asked:
            held.is_heard = True
        try:
            async with asyncio.timeout(PATIENCE):
                while any(self._is_awaited(held) for held in asked):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return  # told as a problem; the answer is taken when it comes
        finally:
            for held in asked:
                held.is_heard = False

    def _is_awaited(self, held: _Held) -> bool:
        keeper = self._keepers.get(held.link)
        is_asked = keeper is not None and keeper.is_up and self._held.get(held.mapping.id) is held
        return is_asked and len(held.answers) < len(held.listens)

    def _problem(self, held: _Held) -> Problem | None:
        """What keeps a mapping from being real now; None where nothing does."""
        door = self._doors.get(held.link)
        if door is not None:
            return door(held.mapping)
        keeper = self._keepers.get(held.link)
        if keeper is None:
            return _without_link(held)
        down = why_down(keeper.facts)
        if down is not None:
            return down
        if not held.listens:
            no_udp = keeper.facts.sekimori is False and carries_datagrams(held.mapping)
            return Problem("link-no-udp", link=held.link) if no_udp else None
        refused = (answer for answer in held.answers.values() if isinstance(answer, Problem))
        problem = next(refused, None)
        if problem is None and len(held.answers) < len(held.listens):
            return Problem("link-slow", link=held.link, name=held.mapping.name)
        return problem

    # -- what is heard -------------------------------------------------------------------------

    def _keep(self, link: Link) -> Keeper:
        """A keeper for a link, which asks its far end for all that is held at it."""
        keeper = Keeper(link, self._relay, self._clock, self._hooks, self._launch)
        for key, held in self._through.get(link.name, {}).items():
            held.answers.clear()
            if held.listens:
                keeper.listen(key, held.listens)
        return keeper

    def _link_changed(self, name: str) -> None:
        through = list(self._through.get(name, {}).values())
        if self._keepers[name].facts.phase is not LinkPhase.UP:
            for held in through:
                held.answers.clear()
        self._judge(through)

    def _answered(self, link: str, mapping_id: str, key: str, answer: Answer) -> None:
        held = self._through.get(link, {}).get(mapping_id)
        if held is not None and any(each.key == key for each in held.listens):
            held.answers[key] = answer
            self._judge([held])

    def _judge(self, several: Iterable[_Held]) -> None:
        """See which of these are real now, and tell the engine of those that are otherwise than before."""
        self._news.set()
        changed = []
        for held in several:
            told = held.told
            self._note(held)
            if held.told != told and not held.is_heard:
                changed.append(held.mapping.id)
        if changed:
            self.on_change(changed)


def _without_link(held: _Held) -> Problem:
    if held.link.startswith("@"):
        return client_away(held.mapping)
    return Problem("link-down", link=held.link, why=cause("link-not-kept"))


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
