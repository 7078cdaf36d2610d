"""Subscriptions to events: who is told of changes, and what each was told last."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import structlog

from sekimori.doors.igd.asking import Asking
from sekimori.model.mapping import Owner
from sekimori.wire.gena import (
    BadSubscription,
    Renew,
    Subscribe,
    encode_propertyset,
    next_seq,
    notify_fields,
)
from sekimori.wire.httpmessage import HttpUrl, write_head
from sekimori.wire.igddescription import Route
from sekimori.wire.igdservices import IgdVersion, Service, Value

__all__ = ["Deliver", "Subscription", "Subscriptions"]

Deliver = Callable[[str, HttpUrl, bytes], Awaitable[bool]]
"""Sends a message by an interface to a callback; whether it was taken."""

_ALTOGETHER: Final = 32
_EACH: Final = 4
_LOWEST_PORT: Final = 1024
"""Of a callback: who listens for events of UPnP is an ordinary program."""
_MODERATED: Final = 0.2  # seconds between events of one variable (UPnP Device Architecture 1.1 §4.7)
_TRIES: Final = 3
_AGAIN: Final = 1.0
_log = structlog.get_logger("igd")


@dataclass(eq=False, slots=True)
class Subscription:
    """One subscriber of one service.

    Attributes:
        until: by the clock of `Subscriptions`.
        told: the values that it knows.
        seq: the number of the next event.
        wake: set when there may be something to tell.
    """

    sid: str
    device: Owner
    interface: str
    callbacks: tuple[HttpUrl, ...]
    version: IgdVersion
    service: Service
    until: float
    told: dict[str, Value] = field(default_factory=dict)
    seq: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Subscriptions:
    """Keeps subscriptions and tells the subscribers.

    A subscriber is told what is so when its turn comes, not each step on the way there: so nothing queues up
    for one that is slow.

    Args:
        values: the variables of a service as they are now.
        deliver: the way to a callback.
        tasks: the parent of the tellers.
        clock: seconds of a clock that only goes on.
    """

    def __init__(
        self,
        values: Callable[[IgdVersion, Service], dict[str, Value]],
        deliver: Deliver,
        tasks: asyncio.TaskGroup,
        clock: Callable[[], float],
    ) -> None:
        self._values = values
        self._deliver = deliver
        self._tasks = tasks
        self._clock = clock
        self._here: dict[str, Subscription] = {}

    def __len__(self) -> int:
        return len(self._here)

    def begin(self, asked: Subscribe, who: Asking, route: Route) -> Subscription | None:
        """A new subscription, which is told nothing before its `wake` is set; None where there are too many.

        Raises:
            BadSubscription: a callback is on a port of the system.
        """
        if any(each.port < _LOWEST_PORT for each in asked.callbacks):
            raise BadSubscription(412, "a callback to a port of the system")
        self._forget_ended()
        mine = sum(each.device == who.device for each in self._here.values())
        if len(self._here) >= _ALTOGETHER or mine >= _EACH:
            return None
        assert route.service is not None
        made = Subscription(
            f"uuid:{uuid4()}",
            who.device,
            who.asker.interface,
            asked.callbacks,
            route.version,
            route.service,
            self._clock() + asked.seconds,
        )
        self._here[made.sid] = made
        made.task = self._tasks.create_task(self._tell(made))
        return made

    def renew(self, asked: Renew, who: Asking) -> None:
        """Give a subscription more time.

        Raises:
            BadSubscription: it is not one of this device.
        """
        self._own(asked.sid, who).until = self._clock() + asked.seconds

    def end(self, sid: str, who: Asking) -> None:
        """End a subscription.

        Raises:
            BadSubscription: it is not one of this device.
        """
        self._drop(self._own(sid, who))

    def heed(self) -> None:
        """Something may have changed."""
        for each in self._here.values():
            # One that waits for the answer to SUBSCRIBE to be sent is told all when it is.
            if each.told:
                each.wake.set()

    def _own(self, sid: str, who: Asking) -> Subscription:
        self._forget_ended()
        found = self._here.get(sid)
        if found is None or found.device != who.device:
            raise BadSubscription(412, "no such subscription")
        return found

    def _forget_ended(self) -> None:
        now = self._clock()
        for each in [each for each in self._here.values() if each.until <= now]:
            self._drop(each)

    def _drop(self, subscription: Subscription) -> None:
        self._here.pop(subscription.sid, None)
        if subscription.task is not None:
            subscription.task.cancel()

    async def _tell(self, to: Subscription) -> None:
        try:
            failures = await self._keep_telling(to)
            _log.info("subscription_ended", device=str(to.device), service=to.service.name, failures=failures)
        except Exception:  # one subscriber must not end the door for everybody
            _log.exception("subscription_broke", device=str(to.device), service=to.service.name)
        finally:
            self._here.pop(to.sid, None)

    async def _keep_telling(self, to: Subscription) -> int:
        """Tell a subscriber what changes, until its time is over or it takes no events any more; how often it
        did not take the last one.
        """
        failures = 0
        while failures < _TRIES:
            await to.wake.wait()
            to.wake.clear()
            if to.until <= self._clock():
                break
            now = self._values(to.version, to.service)
            news = {name: value for name, value in now.items() if to.told.get(name) != value}
            if not news:
                continue
            if await self._send(to, news):
                to.told.update(news)
                to.seq = next_seq(to.seq)
                failures = 0
                await asyncio.sleep(_MODERATED)
            else:
                failures += 1
                to.wake.set()
                await asyncio.sleep(_AGAIN)
        return failures

    async def _send(self, to: Subscription, news: dict[str, Value]) -> bool:
        body = encode_propertyset(to.service, news)
        for callback in to.callbacks:
            head = write_head(
                f"NOTIFY {callback.path} HTTP/1.1", notify_fields(callback, to.sid, to.seq, body)
            )
            if await self._deliver(to.interface, callback, head + body):
                return True
        return False
