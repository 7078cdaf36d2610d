"""What all carriers have in common: processes that dial, and take newcomers, for the relay's workers.

`host.carrierchannel` has the frames between a carrier and a worker.
"""

from __future__ import annotations

import socket
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable
from itertools import count
from types import TracebackType
from typing import Self

from sekimori.host.carrierchannel import (
    CAUSES,
    Cause,
    Channel,
    Dial,
    DialFailed,
    Dialled,
    Endpoint,
    Flow,
)

__all__ = ["CAUSES", "Arrival", "Carriage", "Cause", "Dial", "DialFailed", "Dialled", "Endpoint"]


class Arrival:
    """A newcomer that was handed to a worker; made by `Carriage.arrive`."""

    __slots__ = ("_channel", "_key")

    def __init__(self, channel: Channel, key: tuple[str, int]) -> None:
        self._channel = channel
        self._key = key

    def abort(self) -> None:
        """Have the worker reset the flow: the far side broke off. Nothing where it is over."""
        self._channel.abort(self._key)

    def over(self) -> None:
        """The flow has ended; nothing is called for it any more."""
        self._channel.forget(self._key)


class Carriage:
    """All channels to workers. An asynchronous context: what it started has ended when it is left.

    Args:
        serve: reaches a place; raises `DialFailed`. It is cancelled when the client has gone meanwhile.
        on_lost: told the index of a worker whose channel ended by itself.
    """

    def __init__(
        self,
        serve: Callable[[Dial], Awaitable[Dialled]],
        on_lost: Callable[[int], None] = lambda _index: None,
    ) -> None:
        self._serve = serve
        self._on_lost = on_lost
        self._tasks = TaskGroup()
        self._channels: dict[int, Channel] = {}
        self._numbers = count(1)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        await self._tasks.__aexit__(kind, error, traceback)

    @property
    def workers(self) -> tuple[int, ...]:
        """The indices of workers that are there."""
        return tuple(sorted(self._channels))

    def add_worker(self, index: int, sock: socket.socket) -> None:
        """Serve a worker over a channel, owned from now on. One of the same index gives way to it."""
        former = self._channels.pop(index, None)
        if former is not None:
            former.close()
        self._channels[index] = Channel(index, sock, self._tasks, self._serve, self._lose)

    def bound(self, dial: Dial, local: Endpoint) -> None:
        """Tell where a `bind` waits for its connection."""
        channel = self._channels.get(dial.worker)
        if channel is not None:
            channel.put({"op": "bound", "n": dial.n, "local": local})

    def arrive(
        self,
        worker: int,
        id: str,  # noqa: A002 - the frame's word
        protocol: str,
        source: Endpoint,
        listen: Endpoint,
        sock: socket.socket,
        on_turned_away: Callable[[], None],
        on_aborted: Callable[[], None] | None = None,
    ) -> Arrival:
        """Hand a newcomer to a worker.

        Args:
            worker: its index.
            id: the mapping's.
            protocol: tcp or udp.
            source: who came, as the far side says.
            listen: where they came in.
            sock: the worker's end; owned from now on, whatever happens.
            on_turned_away: called at most once, when the worker does not let it in, or is gone.
            on_aborted: called at most once when the worker breaks it off later; None is `on_turned_away`.

        Raises:
            DialFailed: `down`: there is no such worker now, or it takes nothing.
        """
        channel = self._channels.get(worker)
        if channel is None or channel.is_stuck:
            sock.close()
            raise DialFailed("down")
        key = ("k", next(self._numbers))
        channel.flows[key] = Flow(on_aborted or on_turned_away, on_turned_away)
        channel.put(
            {
                "op": "arrived",
                "k": key[1],
                "id": id,
                "protocol": protocol,
                "source": source,
                "listen": listen,
            },
            sock,
        )
        return Arrival(channel, key)

    def abort(self, dial: Dial) -> None:
        """Have the worker reset a dialled flow: the far side broke off. Nothing where it is over."""
        channel = self._channels.get(dial.worker)
        if channel is not None:
            channel.abort(("n", dial.n))

    def over(self, dial: Dial) -> None:
        """A dialled flow has ended; nothing is called for it any more."""
        channel = self._channels.get(dial.worker)
        if channel is not None:
            channel.forget(("n", dial.n))

    def close(self) -> None:
        """Leave all workers. What was being dialled is cancelled."""
        while self._channels:
            self._channels.popitem()[1].close()

    def _lose(self, channel: Channel) -> None:
        if self._channels.get(channel.index) is not channel:  # another has its place, or it is said already
            return
        del self._channels[channel.index]
        channel.close()
        self._on_lost(channel.index)
