"""One run of the daemon: take the state, join the parts, serve, and end cleanly."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

import structlog

from sekimori.daemon.doors import Doors, igd_opener, open_portmap, ssh_opener
from sekimori.daemon.gateway import last_gateway, listeners
from sekimori.daemon.inside import DaemonInside
from sekimori.daemon.links import LinkSide
from sekimori.daemon.meters import Meters
from sekimori.daemon.outside import Outside
from sekimori.daemon.process import (
    make_private,
    print_problem,
    wait_for_stdin,
)
from sekimori.daemon.settings import Settings, read_settings
from sekimori.daemon.views import DaemonViews
from sekimori.doors.api.feed import Feed
from sekimori.doors.api.ports import Doctor
from sekimori.gate.local import LocalGate
from sekimori.host.clock import SystemClock
from sekimori.host.descriptors import raise_descriptors
from sekimori.host.leases import LeaseFiles
from sekimori.host.links import Links
from sekimori.host.listeners import read_connected
from sekimori.host.log import configure_log
from sekimori.host.memory import give_back
from sekimori.host.notify import notify, watchdog_interval
from sekimori.host.resolver import SystemResolver
from sekimori.host.sightings import LanSightings
from sekimori.host.state import hold_state
from sekimori.host.sysctl import read_sysctl
from sekimori.ledger.store import Ledger
from sekimori.model.door import DoorName
from sekimori.model.errors import Problem
from sekimori.model.events import Event
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.network import Facts, Network, NetworkSettings, find_roles
from sekimori.model.request import Context
from sekimori.model.target import Target, TargetKind
from sekimori.observe.guard.departures import Departures
from sekimori.planes.kernel.opening import KernelSide, open_kernel
from sekimori.planes.relay.control import WorkerLostError
from sekimori.planes.relay.plane import RelayPlane
from sekimori.policy.machine import Machine
from sekimori.policy.rules import Rules
from sekimori.presets.load import Presets, load_presets
from sekimori.reconcile.desired import Desired
from sekimori.reconcile.devices import Devices
from sekimori.reconcile.engine import GROUND, Engine
from sekimori.reconcile.names import Names
from sekimori.reconcile.ports import Plane
from sekimori.reconcile.writer import Writer

__all__ = ["main"]

_SAVE_EVERY: Final = 60.0
"""Seconds between savings of the figures of workers that are gone."""

_KERNEL_TURN: Final = 10
"""Savings of those for one of the kernel's, which are all read for it."""

_log = structlog.get_logger("daemon")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to stop; its exit code."""
    configure_log()
    # Start-up makes much and drops little; looking through it for cycles would cost a third more.
    gc.disable()
    presets = load_presets()
    language = "ja" if os.environ.get("SEKIMORI_LANG", os.environ.get("LANG", "")).startswith("ja") else "en"
    try:
        settings = read_settings(sys.argv[1:] if arguments is None else arguments, os.environ, presets)
        lock = hold_state(settings.state_dir)
        try:
            import uvloop

            uvloop.run(_run(settings, presets))
        finally:
            os.close(lock)
    except Problem as problem:
        print_problem(problem, language)
        return problem.exit_code
    except WorkerLostError as lost:
        fault = Problem("unexpected", what=str(lost))
        print_problem(fault, language)
        return fault.exit_code
    return 0


async def _run(settings: Settings, presets: Presets) -> None:
    raise_descriptors()
    make_private(settings.relay_dir)
    relay = RelayPlane(settings.relay_dir, settings.workers, settings.worker_user)
    # Together: workers take as long to start as a large ledger takes to read.
    _, ledger, kernel = await asyncio.gather(
        relay.start(float(settings.config.relay.grace)),
        asyncio.to_thread(Ledger.open, settings.state_dir),
        asyncio.to_thread(open_kernel),
    )
    try:
        await _Daemon(settings, presets, ledger, relay, kernel).run()
    finally:
        ledger.close()


class _Daemon:
    """The parts of one process, joined."""

    def __init__(
        self, settings: Settings, presets: Presets, ledger: Ledger, relay: RelayPlane, kernel: KernelSide
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock = SystemClock()
        self._feed = feed = Feed()
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._fault: Problem | None = None
        self._relay = relay
        self._kernel = kernel
        resolver = SystemResolver()
        self._network = Network()
        self._outside = outside = Outside(
            settings.state_dir,
            settings.config.line,
            lambda: self._network,
            lambda: ledger.snapshot,
            resolver,
            clock,
        )
        router = outside.router
        self._far = far = LinkSide(relay, lambda: ledger.snapshot, clock, settings.worker_user)
        # In this order they act: a port that moves to the kernel is let go of by the relay first; and what a
        # link or a router brings, it brings to a plane here.
        every: Sequence[Plane] = (relay, kernel, far.plane, router)
        planes = {plane.name: plane for plane in every}
        self._names = Names(resolver, clock, self._name_changed)
        section = settings.config.network
        self._roles = NetworkSettings(section.wan, section.lan)
        self._links = Links(self._network_changed, lambda _neighbours: self._devices.wake())
        places = settings.config.network.leases
        files = LeaseFiles() if places is None else LeaseFiles(places)
        sightings = LanSightings(self._links.neighbours, lambda: self._network, files)
        self._devices = Devices(sightings, clock, self._device_moved)
        self._writer = Writer(ledger, self._publish)
        grace = float(settings.config.relay.grace)
        desired = Desired(lambda: ledger.snapshot, self._names, self._devices, planes, grace)
        self._engine = Engine(self._writer, planes, clock, desired, feed.publish)
        self._rules = rules = self._make_rules(presets)
        relay.on_change = kernel.on_change = router.on_change = far.plane.on_change = self._engine.wake
        kernel.join(
            guests=lambda: listeners(ledger.snapshot, relay.name),
            workers=lambda: relay.worker_pids,
            last_gateway=lambda: last_gateway(ledger),
        )
        self._meters = Meters(ledger, relay, kernel)
        self._gate = LocalGate(self._writer, self._engine, planes, self._names, self._devices, clock, rules)
        inside = self._make_inside(sightings)
        opens = {
            DoorName.IGD: igd_opener(self._meters.packets_in),
            DoorName.PORTMAP: open_portmap,
            DoorName.SSH: ssh_opener(relay, far, settings.worker_user),
        }
        self._doors = Doors(self._gate, inside, opens)
        self._departures = Departures(self._gate, inside, clock)
        outside.join(self._gate, rules)
        far.join(self._gate, self._meters.counters, settings.state_dir)
        self._views = self._make_views(presets, desired)

    def _make_rules(self, presets: Presets) -> Rules:
        policy = self._settings.config.policy
        kernel, relay = self._kernel, self._relay
        return Rules(
            new_id=lambda: f"m{secrets.token_hex(5)}",
            danger_for=presets.danger_for,
            planes=(kernel, relay),
            lifetime=policy.lifetime,
            longest=policy.longest,
            confirm_within=policy.confirm,
            connected=read_connected,
            machine=Machine(lambda: kernel.obstacle, lambda: self._network, read_sysctl),
            owned=lambda owner: self._devices.owned(owner.id),
            router=self._outside.router,
            line=self._outside.line,
            used=self._far.used,
        )

    def _make_inside(self, sightings: LanSightings) -> DaemonInside:
        return DaemonInside(
            self._settings.state_dir,
            self._clock,
            self._ledger,
            self._engine,
            lambda: self._network,
            sightings,
            self._feed,
            self._outside.address,
        )

    def _make_views(self, presets: Presets, desired: Desired) -> DaemonViews:
        settings, ledger, engine, clock = self._settings, self._ledger, self._engine, self._clock
        machine = self._rules.machine

        def open_doctor() -> Doctor:
            from sekimori.daemon.doctor import open_clinic  # late: the start does not wait for it

            return open_clinic(ledger, engine, desired, machine, settings.state_dir, clock.now)

        return DaemonViews(
            settings,
            ledger,
            engine,
            self._gate,
            self._meters,
            self._feed,
            clock,
            presets,
            self._rules,
            open_doctor,
            self._doors,
            self._outside,
            self._far,
        )

    async def run(self) -> None:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        leave = True  # what ends by a fault leaves its flows to the next daemon, as a crash does
        try:
            await self._serve()
            leave = self._settings.leave_flows
        finally:
            notify("STOPPING=1")
            await self._links.close()
            await self._relay.stop(leave=leave)
            self._meters.save()
            await self._meters.save_kernel()
            await self._kernel.close()
            # What the daemon leaves in the kernel goes on working, and needs its router till the lease ends.
            await self._outside.router.close(leave=True)
            self._writer.close()
            self._feed.close()

    async def _serve(self) -> None:
        self._names.keep(self._ledger.snapshot.hosts(TargetKind.NAME))
        # Before the engine first runs: nothing is to be closed because nobody has looked yet.
        await self._links.start()
        self._kernel.start()
        self._outside.router.start()
        await self._devices.start(
            m.target for m in self._ledger.snapshot if m.target.kind is TargetKind.DEVICE
        )
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._names.run(), name="names"),
                tasks.create_task(self._devices.run(), name="devices"),
                tasks.create_task(self._kernel.run(), name="kernel"),
                tasks.create_task(self._outside.run(), name="outside"),
                tasks.create_task(self._far.run(), name="links"),
            ]
            await self._engine.ensure()
            running.append(tasks.create_task(self._gate.confirming.run(), name="confirm"))
            self._load_figures()
            await self._meters.settle()
            if self._settings.config_file_exists:
                await self._sync()
            running += [
                tasks.create_task(self._engine.run(), name="engine"),
                tasks.create_task(self._doors.run(), name="doors"),
                tasks.create_task(self._departures.run(), name="departures"),
                tasks.create_task(self._serve_api(), name="api"),
                tasks.create_task(self._reload_when_asked(), name="reload"),
                tasks.create_task(self._keep_figures(), name="figures"),
                tasks.create_task(self._keep_alive(), name="watchdog"),
            ]
            if self._settings.attached:
                running.append(tasks.create_task(wait_for_stdin(self._stop), name="stdin"))
            await self._stop.wait()
            await self._gate.confirming.revert_all("the daemon was stopped before it was confirmed")
            for task in running:
                task.cancel()
        if self._fault is not None:
            raise self._fault

    def _load_figures(self) -> None:
        # Mappings are served already while what reads them loads; nothing is counted before the API asks.
        try:
            self._meters.load()
        except Problem as problem:  # raised by `_serve`: from here it would come out in a group
            self._fault = problem
            self._stop.set()

    async def _serve_api(self) -> None:
        # Imported late: mappings are served already while the web framework loads.
        from sekimori.doors.api.access import Access
        from sekimori.doors.api.app import create_app
        from sekimori.doors.api.server import serve

        api = self._settings.config.api
        access = Access(os.geteuid(), api.admins, api.viewers)
        app = create_app(self._gate, self._views, access)
        try:
            await serve(app, self._settings.socket, mode=access.socket_mode, started=self._ready)
        except Problem as problem:  # raised by `_serve`: from here it would come out in a group
            self._fault = problem
        finally:
            self._stop.set()

    def _ready(self) -> None:
        gc.freeze()
        gc.enable()
        give_back()
        notify(f"READY=1\nMAINPID={os.getpid()}")
        _log.info(
            "ready", socket=str(self._settings.socket), mappings=len(self._ledger.snapshot), pid=os.getpid()
        )

    async def _sync(self) -> None:
        """Bring the ledger to what our own config file says.

        A file that policy refuses leaves everything as it is, said loudly: a port that is
        taken must not keep all the others closed.
        """
        path = self._settings.config.path
        context = Context(Owner(OwnerKind.FILE, str(path)), "file", "the daemon read it")
        try:
            outcome, skipped = await self._views.sync(None, None, context, plan=False, unasked=True)
        except Problem as problem:
            _log.error("config_not_applied", file=str(path), problem=problem.title(), fix=problem.fix())
            return
        for notice in skipped:
            _log.warning("config_skipped", file=str(path), code=notice.code, notice=notice.en)
        if outcome.changes:
            _log.info("config_applied", file=str(path), changes=len(outcome.changes))

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            await self._sync()
            notify("READY=1")

    async def _keep_figures(self) -> None:
        for turn in itertools.count(1):
            await asyncio.sleep(_SAVE_EVERY)
            self._meters.save()
            if turn % _KERNEL_TURN == 0:
                await self._meters.save_kernel()

    async def _keep_alive(self) -> None:
        interval = watchdog_interval()
        while interval is not None:
            notify("WATCHDOG=1")
            await asyncio.sleep(interval)

    def _publish(self, event: Event) -> None:
        self._feed.publish(event)
        self._far.heed(event)
        if self._doors.heed(event):
            self._engine.wake((GROUND,))  # the firewall lets in who comes to a door

    def _network_changed(self, facts: Facts) -> None:
        before, self._network = self._network, find_roles(facts, self._roles, self._network)
        if self._network != before:
            self._far.plane.retry()
        self._kernel.reframe(self._network)
        self._outside.network_changed()
        self._doors.reframe()
        self._engine.wake((GROUND,))

    def _device_moved(self, target: Target) -> None:
        self._engine.wake(m.id for m in self._ledger.snapshot.leading_to(target))

    def _name_changed(self, host: str) -> None:
        self._engine.wake(m.id for m in self._ledger.snapshot.leading_to(Target(TargetKind.NAME, host)))
