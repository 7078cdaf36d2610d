"""The same with links, users of the SSH door, and the ports that their sessions open."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from sekimori.model.door import DisableDoor, Door, DoorName, EnableDoor
from sekimori.model.grantwords import parse_grant
from sekimori.model.lease import LeaseProtocol
from sekimori.model.link import AddLink, Link, RemoveLink, SshPlace
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.request import Close, Context, Submit
from sekimori.model.user import Bind, PutUser, RemoveUser, Unbind, User
from sekimori.testing.publickeys import public_key
from sekimori.testing.state_machine import BROKEN, PipelineMachine
from sekimori.testing.world import ALICE

__all__ = ["FarMachine"]

_LINKS: Final = st.sampled_from(["vps", "home"])
_USERS: Final = st.sampled_from(["bob", "eve"])
_WORDS: Final[list[dict[str, Any]]] = [
    {},
    {"ports": "80-82", "from": "anyone"},
    {"ports": "80-82", "from": "lan", "for": "1m"},
    {"ports": "81,5000", "on": "192.168.1.1,127.0.0.1"},
    {"ports": "5000-5001", "most": 1, "max_connections": 5},
]
_GRANTS: Final = st.sampled_from([parse_grant(words) for words in _WORDS])
_HOSTS: Final = st.sampled_from(["", "localhost", "127.0.0.1", "192.168.1.1"])
_WHICH: Final = st.integers(0, 3)


class FarMachine(PipelineMachine):
    """Every rule ends settled, and then the invariants hold, on the plane of links too."""

    def __init__(self) -> None:
        super().__init__()
        self.held: set[str] = set()
        """Ids of what living sessions hold."""

    def ports(self) -> list[Mapping]:
        """The ports that sessions opened."""
        return [each for each in self.world.ledger.snapshot if each.lease is not None]

    # -- links ---------------------------------------------------------------------------------

    @rule(name=_LINKS, connections=st.integers(0, 2))
    def add_link(self, name: str, connections: int) -> None:
        """Add a link, or change it; none has no connection."""
        place = SshPlace.parse(f"ssh://{name}.example")
        link = Link(name=name, owner=ALICE.actor, place=place, connections=connections)
        self.attempt(AddLink(link))

    @rule(name=_LINKS, closing=st.booleans())
    def remove_link(self, name: str, closing: bool) -> None:
        """Remove a link, perhaps with all that goes through it."""
        through = [each.id for each in self.world.ledger.snapshot if name in (each.via, each.at)]
        self.attempt(RemoveLink(name), *(map(Close, through) if closing else ()))

    @rule(ports=st.sampled_from(["80", "90", "81-82"]), link=_LINKS, far=st.booleans())
    def submit_far(self, ports: str, link: str, far: bool) -> None:
        """Open a port there, or one here that leads there."""
        words: dict[str, Any] = {"at": link} if far else {"via": link}
        self.attempt(
            Submit(self.world.wish(ports=ports, to="db.example:1234" if not far else "self", **words))
        )

    @rule(broken=st.booleans())
    def break_links(self, broken: bool) -> None:
        """The plane of links stops answering, or answers again and is tried again."""
        self.world.links.broken = BROKEN if broken else None
        self.pass_time(31)

    # -- users and what they open --------------------------------------------------------------

    @rule(
        name=_USERS, keys=st.sampled_from(["", "b", "e", "be"]), grant=_GRANTS, ends=st.none() | st.just(90)
    )
    def put_user(self, name: str, keys: str, grant: Any, ends: int | None) -> None:
        """Let somebody in; a key of two users is refused."""
        user = User(
            name=name,
            owner=ALICE.actor,
            keys=tuple(map(public_key, keys)),
            grant=grant,
            expires_at=None if ends is None else int(self.world.clock.now()) + ends,
        )
        self.attempt(PutUser(user))

    @rule(name=_USERS)
    def remove_user(self, name: str) -> None:
        """Let somebody in no more."""
        self.attempt(RemoveUser(name))

    @rule(listen=st.sampled_from(["192.168.1.1:2222", "*:81"]), grant=st.none() | _GRANTS)
    def ssh_door(self, listen: str, grant: Any) -> None:
        """Open the door, or change what the keys of its file may do."""
        door = Door(
            door=DoorName.SSH,
            owner=ALICE.actor,
            interfaces=(),
            listen=(listen,),
            authorized_keys="/k",
            grant=grant,
        )
        self.attempt(EnableDoor(door) if grant is not None else DisableDoor(DoorName.SSH))

    @rule(name=_USERS, host=_HOSTS, port=st.sampled_from([0, 0, 80, 81, 5000]), grant=_GRANTS)
    def bind(self, name: str, host: str, port: int, grant: Any) -> None:
        """A session asks for a port, by the grant of its user or that of the door."""
        user = self.world.ledger.snapshot.users.get(name)
        ask = Bind(
            host=host, port=port, grant=grant if user is None else user.grant, held=frozenset(self.held)
        )
        self._ask_as(name, ask)
        self.held |= {each.id for each in self.ports() if each.owner.id == name}

    @rule(which=_WHICH, name=_USERS, keep=st.sampled_from([0, 30, 7200]), generation=st.integers(0, 2))
    def unbind(self, which: int, name: str, keep: int, generation: int) -> None:
        """A session goes, or says it of another's port."""
        ports = self.ports()
        if ports:
            chosen = ports[which % len(ports)]
            self.held.discard(chosen.id)
            self._ask_as(name, Unbind(chosen.id, keep, generation))

    def _ask_as(self, name: str, ask: Bind | Unbind) -> None:
        self.attempt(ask, context=Context(Owner(OwnerKind.KEY, name), "ssh"))
        self.before_newest = None  # what a session asked for is not what a plain undo means

    # -- what holds ----------------------------------------------------------------------------

    @invariant()
    def no_mapping_is_without_its_link(self) -> None:
        """Whatever was removed."""
        links = self.world.ledger.snapshot.links
        for mapping in self.world.ledger.snapshot:
            named = {mapping.at} if mapping.at else {mapping.via} - {"auto", "relay"}
            assert named <= links.keys()

    @invariant()
    def no_key_has_two_users(self) -> None:
        """Whichever way it went from hand to hand."""
        users = self.world.ledger.snapshot.users.values()
        keys = [key for user in users for key in user.keys]
        assert len(keys) == len(set(keys))

    @invariant()
    def users_have_no_more_than_they_are_granted(self) -> None:
        """Neither ports nor addresses, and nothing after their time."""
        snapshot = self.world.ledger.snapshot
        for mapping in self.ports():
            assert mapping.lease is not None
            assert mapping.lease.protocol is LeaseProtocol.SSH
            user = snapshot.users.get(mapping.owner.id)
            if user is None:
                continue
            assert any(mapping.ports[0].outside.first in ports for ports in user.grant.ports)
            assert user.grant.on is None or mapping.on in user.grant.on
            if user.expires_at is not None:
                assert mapping.lifetime.expires_at is not None
                assert mapping.lifetime.expires_at <= user.expires_at
