"""The same of a gateway at home: bans, devices that ask by themselves, and a router that comes and goes."""

from __future__ import annotations

import ipaddress
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from sekimori.model.address import IpProtocol, PortRange
from sekimori.model.door import DisableDoor, Door, DoorName, EnableDoor
from sekimori.model.gateway import Gateway
from sekimori.model.lease import Adopt, Asker, LeaseProtocol, LeaseTerms, NonceRule, Obtain, Release
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.permission import Permission, SetPermissions
from sekimori.model.request import Configure, Context, LiftBan, PutBan, Reroute, Submit
from sekimori.testing.state_machine import BROKEN, PipelineMachine
from sekimori.testing.world import ALICE, FakeRouter, World

__all__ = ["HomeMachine"]

_BANNED: Final = st.sampled_from(["198.51.100.0/24", "198.51.100.7/32", "2001:db8::/32"]).map(
    ipaddress.ip_network
)
_DEVICES: Final = {
    Context(Owner(OwnerKind.DEVICE, f"02:00:00:00:00:0{last}"), "portmap"): f"192.168.1.{last}"
    for last in (5, 6)
}
_ASKING: Final = st.sampled_from(list(_DEVICES))
_RULES: Final = st.lists(
    st.sampled_from(
        [
            "allow all",
            "allow all outside 1-65535 inside 1-65535",
            "deny all",
            "allow 192.168.1.5 outside 1-65535 inside 1-65535",
            "allow 02:00:00:00:00:06 most 1",
        ]
    ),
    max_size=2,
)
_LEASED: Final = st.sampled_from(
    [
        (IpProtocol.TCP, PortRange(5000, 5000)),
        (IpProtocol.UDP, PortRange(5000, 5001)),
        (IpProtocol.TCP, PortRange(80, 80)),
    ]
)
"""Few, so that the same is asked for again."""

_SELDOM: Final = st.sampled_from([False, False, False, True])
_NETWORK: Final = Context(Owner(OwnerKind.TRIGGER, "network"), "guard")
_NONCES: Final = st.sampled_from(["00" * 12, "11" * 12])
_WHICH: Final = st.integers(0, 3)


class HomeMachine(PipelineMachine):
    """Every rule ends settled, and then the invariants hold, on both planes."""

    def make_world(self) -> World:
        """One behind a router that opens ports."""
        return World(router=FakeRouter())

    @property
    def router(self) -> FakeRouter:
        """The router before it."""
        assert self.world.router is not None
        return self.world.router

    def lease(self, which: int) -> Mapping | None:
        """One of the leases that stand."""
        leases = [each for each in self.world.ledger.snapshot if each.lease is not None]
        return leases[which % len(leases)] if leases else None

    # -- the machine as a whole ------------------------------------------------------

    @rule(prefix=_BANNED, seconds=st.none() | st.sampled_from([1, 60, 7200]))
    def ban(self, prefix: ipaddress.IPv4Network, seconds: int | None) -> None:
        """Keep somebody out, for a time or for ever."""
        until = None if seconds is None else int(self.world.clock.now()) + seconds
        self.attempt(PutBan(prefix, until))

    @rule(prefix=_BANNED)
    def lift(self, prefix: ipaddress.IPv4Network) -> None:
        """Let them in again."""
        self.attempt(LiftBan(prefix))

    @rule(firewall=st.none() | st.booleans())
    def configure(self, firewall: bool | None) -> None:
        """Become a gateway, or be one no longer."""
        gateway = None if firewall is None else Gateway(owner=ALICE.actor, firewall=firewall)
        self.attempt(Configure(gateway))

    @rule(barren=st.booleans())
    def break_ground(self, barren: bool) -> None:
        """The machine cannot be made what it should be, or can again."""
        self.world.plane.barren = BROKEN if barren else None
        self.pass_time(31)

    @rule(name=st.sampled_from(list(DoorName)), enabled=st.booleans())
    def door(self, name: DoorName, enabled: bool) -> None:
        """Enable a door, or disable it."""
        door = Door(door=name, owner=ALICE.actor, interfaces=("lan0",))
        self.attempt(EnableDoor(door) if enabled else DisableDoor(name))

    @rule(texts=st.none() | _RULES)
    def permit(self, texts: list[str] | None) -> None:
        """Write the rules for devices, or forget them."""
        rules = None if texts is None else tuple(map(Permission.parse, texts))
        self.attempt(SetPermissions(rules))

    # -- devices -----------------------------------------------------------------------

    @rule(
        device=_ASKING,
        leased=_LEASED,
        outside=st.none() | st.sampled_from([80, 81, 5000, 5001, 150]),
        exact=_SELDOM,
        by_outside=_SELDOM,
        elsewhere=_SELDOM,
        seconds=st.sampled_from([30, 7200]),
        nonce=_NONCES,
        strict=st.sampled_from(list(NonceRule)),
    )
    def obtain(
        self,
        device: Context,
        leased: tuple[IpProtocol, PortRange],
        outside: int | None,
        exact: bool,
        by_outside: bool,
        elsewhere: bool,
        seconds: int,
        nonce: str,
        strict: NonceRule,
    ) -> None:
        """A device asks for a port, or for its lease to go on."""
        here = ipaddress.ip_address(_DEVICES[device])
        ask = Obtain(
            asker=Asker(here, "lan0"),
            protocol=leased[0],
            inside=here + 1 if elsewhere else here,
            ports=leased[1],
            lifetime=seconds,
            terms=LeaseTerms(protocol=LeaseProtocol.PCP, nonce=nonce),
            outside=outside,
            exact=exact,
            by_outside=by_outside,
            nonce_rule=strict,
        )
        self._ask_as(device, ask)

    @rule(device=_ASKING, which=_WHICH, nonce=st.none() | _NONCES, strict=st.sampled_from(list(NonceRule)))
    def release(self, device: Context, which: int, nonce: str | None, strict: NonceRule) -> None:
        """A device ends a lease, perhaps another's."""
        lease = self.lease(which)
        if lease is not None:
            self._ask_as(device, Release(lease.id, nonce, strict))

    def _ask_as(self, device: Context, ask: Obtain | Release) -> None:
        self.attempt(ask, context=device)
        self.before_newest = None  # what a device asked for is not what a plain undo means

    @rule(which=_WHICH, seconds=st.none() | st.sampled_from([60, 7200]))
    def adopt(self, which: int, seconds: int | None) -> None:
        """Somebody makes a lease their own."""
        lease = self.lease(which)
        if lease is not None:
            lifetime = None if seconds is None else Lifetime.lasting(seconds, self.world.clock.now())
            self.attempt(Adopt(lease.id, lifetime))

    # -- the router --------------------------------------------------------------------

    @rule(ports=st.sampled_from(["80", "90", "udp/82"]), via=st.sampled_from(["auto", "router", "relay"]))
    def submit_to_the_world(self, ports: str, via: str) -> None:
        """Open to who is beyond the router."""
        wish = self.world.wish(ports=ports, to="192.168.1.5", from_="anyone", via=via)
        self.attempt(Submit(wish))

    @rule(stands=st.booleans(), choose=st.booleans())
    def router_comes_or_goes(self, stands: bool, choose: bool) -> None:
        """There is a router, or none; and paths are chosen anew, or that is still to come."""
        self.router.stands = stands
        if choose:
            self.attempt(*(Reroute(mapping.id) for mapping in self.world.ledger.snapshot), context=_NETWORK)
        self.before_newest = None  # what is undone from now on gets the path that is chosen now

    @rule(broken=st.booleans())
    def break_router(self, broken: bool) -> None:
        """The router stops answering, or answers again and is tried again."""
        self.router.broken = BROKEN if broken else None
        self.pass_time(31)

    @rule(number=st.integers(1, 8))
    def router_refuses(self, number: int) -> None:
        """The router refuses one mapping, which may be still to come."""
        self.router.refuses[f"0{number:04x}"] = BROKEN

    @precondition(lambda self: self.router.refuses)
    @rule()
    def router_refuses_no_more(self) -> None:
        """It no longer does."""
        self.router.refuses.clear()
        self.pass_time(31)

    @rule()
    def router_forgets(self) -> None:
        """It was restarted."""
        self.router.held.clear()
        self.world.engine.wake()
        self.run(self.world.engine.settle())
