"""The process of one link: told what to do by the daemon over its control channel, and gone with it.

Frames (`host.frames`) from the daemon:
    {"op":"start","name","place","jump":[],"identity":[],"config","host_keys":[],"connections"}
    {"op":"worker","index":0} and a descriptor          the channel to a relay worker (`host.carrier`)
    {"op":"listen","id","port_key","protocol":"tcp"|"udp"|"unix","host","port","worker"}
    {"op":"unlisten","id"}
    {"op":"retry"}                                       try at once: the network is back
    {"op":"ping"}                                        answered by the same (`host.child`)
to the daemon:
    {"op":"state","phase","code","facts","since","rtt","server","algorithms","sekimori","next"}
    {"op":"listening","id","port_key","port"}
    {"op":"unable","id","port_key","code","facts"}
    {"op":"flows","flows"}                               how many streams it carries, when that has changed
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import Event, TaskGroup
from typing import Any, Final

import structlog

from sekimori.host.carrier import Carriage, Dial, DialFailed, Dialled
from sekimori.host.frames import BadFrameError, FrameReader, Outbox
from sekimori.model.link import LinkPhase
from sekimori.planes.link.datagrams import open_datagrams
from sekimori.planes.link.listening import Listens, Wanted
from sekimori.planes.link.opening import open_stream
from sekimori.planes.link.strand import Condition, Strand

__all__ = ["serve"]

_COUNT_EVERY: Final = 1.0
_log = structlog.get_logger("link")


async def serve(control: socket.socket) -> None:
    """Serve a daemon until its channel ends."""
    async with TaskGroup() as tasks:
        process = _Process(control, tasks)
        async with Carriage(process.dial) as carriage:
            process.begin(carriage)
            await process.ended.wait()
            process.stop()


class _Process:
    def __init__(self, control: socket.socket, tasks: TaskGroup) -> None:
        control.setblocking(False)
        self.ended = Event()
        self._control = control
        self._tasks = tasks
        self._reader = FrameReader(control)
        self._outbox = Outbox(control)
        self._loop = asyncio.get_running_loop()
        self._carriage: Carriage | None = None
        self._strands: list[Strand] = []
        self._listens: Listens | None = None
        self._running: list[asyncio.Task[None]] = []

    def begin(self, carriage: Carriage) -> None:
        """Listen to the daemon."""
        self._carriage = carriage
        self._loop.add_reader(self._control.fileno(), self._read)

    def stop(self) -> None:
        """End all that was started."""
        self._loop.remove_reader(self._control.fileno())
        self._loop.remove_writer(self._control.fileno())
        self._reader.close()
        self._outbox.close()
        self._control.close()
        self._leave()

    def _leave(self) -> None:
        """End the link that is kept now."""
        if self._listens is not None:
            self._listens.close()
            self._listens = None
        while self._running:
            self._running.pop().cancel()

    # The daemon

    def tell(self, message: dict[str, Any]) -> None:
        """Send a frame."""
        if self.ended.is_set():
            return
        self._outbox.put(message)
        self._write()

    def _write(self) -> None:
        try:
            done = self._outbox.send()
        except OSError:  # it has gone, and so do we
            self.ended.set()
            return
        if done:
            self._loop.remove_writer(self._control.fileno())
        else:
            self._loop.add_writer(self._control.fileno(), self._write)

    def _read(self) -> None:
        try:
            more = self._reader.read()
            while (frame := self._reader.next()) is not None:
                self._take(*frame)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # the daemon has gone with something of ours unread
            more = False
        except (BadFrameError, KeyError, TypeError, ValueError, IndexError) as error:
            _log.error("control_channel_broken", why=repr(error))
            more = False
        if not more:
            self.ended.set()

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        assert self._carriage is not None
        match message.get("op"):
            case "start":
                self._start(message)
            case "worker":
                self._carriage.add_worker(message["index"], socket.socket(fileno=fds[0]))
            case "listen" if self._listens is not None:
                self._listens.want(
                    Wanted(
                        message["id"],
                        message["port_key"],
                        message["protocol"],
                        message["host"],
                        message["port"],
                        message["worker"],
                    )
                )
            case "unlisten" if self._listens is not None:
                self._listens.drop(message["id"])
            case "ping":
                self.tell({"op": "ping"})
            case "retry":
                for strand in self._strands:
                    strand.retry()

    def _start(self, message: dict[str, Any]) -> None:
        assert self._carriage is not None
        self._leave()
        self._strands = [Strand(message, self._changed) for _ in range(max(1, message["connections"]))]
        first = self._strands[0]
        self._listens = Listens(message["name"], first, self._carriage, self._tasks, self.tell)
        self._report(first.condition)
        for strand in self._strands:
            self._running.append(self._tasks.create_task(strand.run()))
        self._running.append(self._tasks.create_task(self._count()))

    def _changed(self, strand: Strand) -> None:
        # The link is as its best connection is; the first of them has its ports.
        up = [each for each in self._strands if each.condition.phase is LinkPhase.UP]
        self._report((up or self._strands)[0].condition)

    async def _count(self) -> None:
        """Tell how many streams there are, now and then."""
        told = 0
        while True:
            await asyncio.sleep(_COUNT_EVERY)
            flows = sum(len(each.pumps) for each in self._strands)
            if flows != told:
                told = flows
                self.tell({"op": "flows", "flows": flows})

    def _report(self, condition: Condition) -> None:
        why = condition.why
        self.tell(
            {
                "op": "state",
                "phase": condition.phase,
                "code": None if why is None else why.code,
                "facts": {} if why is None else why.facts,
                "since": condition.since,
                "rtt": condition.rtt,
                "server": condition.server,
                "algorithms": condition.algorithms,
                "sekimori": condition.sekimori,
                "next": condition.next_try,
            }
        )

    # The workers

    async def dial(self, dial: Dial) -> Dialled:
        """Reach a place beyond the link.

        Raises:
            DialFailed: why not.
        """
        assert self._carriage is not None
        carriage = self._carriage
        up = [each for each in self._strands if each.joined is not None]
        if not up:
            raise DialFailed("down")
        if dial.op != "dial":  # to wait for a connection is not in SSH, but for ports that stay
            raise DialFailed("prohibited")
        strand = up[0] if len(up) == 1 else min(up, key=lambda each: each.load)  # it asks every flow
        if dial.protocol == "udp":
            assert strand.joined is not None
            records, datagrams = await open_datagrams(strand.joined, dial, lambda: carriage.over(dial))
            return Dialled(records, on_aborted=datagrams.close)

        def over(broken: bool) -> None:
            (carriage.abort if broken else carriage.over)(dial)

        sock, pump = await open_stream(strand, dial, over)
        return Dialled(sock, on_aborted=None if pump.is_over else pump.abort)
