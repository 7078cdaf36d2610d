"""Flows whose client names the destination: SOCKS 4, 4a and 5, and HTTP CONNECT, on one port.

What a client says is read by `wire.negotiation`, judged by `dynamiclogins` and `dynamicrules`, and dialled
through a carrier: a link, or the direct dialler. It is told of success once the destination is reached, and
not before. From then on the flow is like any other.

UDP ASSOCIATE is in `dynamicudp`. BIND is served by the direct dialler only: through a link it would need a
port at the far end that the client's peer could reach.
"""

from __future__ import annotations

import select
from _socket import socket as Socket  # noqa: N812 - the C type: half the cost of its Python subclass
from collections.abc import Sequence
from socket import MSG_DONTWAIT, SHUT_WR
from typing import Final, Literal

from sekimori.planes.relay.admission import LOCAL
from sekimori.planes.relay.carried import NOBODY, Arrival, Endpoint, Order, Pending
from sekimori.planes.relay.carriers import CARRIER_DIAL_TIMEOUT, DIRECT
from sekimori.planes.relay.dynamiclogins import FAILURE_PAUSE, logins_of
from sekimori.planes.relay.dynamicrules import allows
from sekimori.planes.relay.dynamicudp import Association
from sekimori.planes.relay.entry import Socks
from sekimori.planes.relay.flows import Failure, SourceRow
from sekimori.planes.relay.loop import Timer
from sekimori.planes.relay.tcpflow import Entrance, TcpFlow
from sekimori.wire.asked import UNSAID, Asked, LogIn, Refused, Wants
from sekimori.wire.asked import Failure as Answer
from sekimori.wire.errors import BadPacket
from sekimori.wire.negotiation import Negotiation

__all__ = ["ASK_WITHIN", "BIND_WITHIN", "DynamicFlow"]

ASK_WITHIN: Final = 30.0
"""Seconds for all that a client has to say, from when it came."""
BIND_WITHIN: Final = 125.0
"""Seconds that a BIND waits: a little longer than the dialler, so that its word comes first."""
_LEAVE_WITHIN: Final = 2.0
"""Seconds that a client has to hang up once it was refused."""
_JUDGE_AGAIN: Final = 0.1

_READ: Final = 4096
_HEARD: Final = select.EPOLLIN | select.EPOLLRDHUP
_BROKEN: Final = select.EPOLLHUP | select.EPOLLERR
_GONE: Final = _BROKEN | select.EPOLLRDHUP
"""Of a client whose BIND waits: it has nothing to say before its peer has come, so its end is the end."""

Phase = Literal["asking", "judging", "dialling", "waiting", "associated", "leaving", "carried"]


class DynamicFlow(TcpFlow):
    """A connection whose client first says where it wants to go.

    Its phases: *asking* (the client's turn), *judging* (a password), *dialling*, *waiting* (a BIND, for its
    peer), then *carried* like any flow, *associated* (UDP), or *leaving* (refused, until the client has hung
    up).
    """

    __slots__ = ("_association", "_login", "_named", "_negotiation", "_phase", "_timer", "_user")

    def __init__(
        self,
        entrance: Entrance,
        sock: Socket,
        row: SourceRow,
        source: str,
        port: int,
        near: Arrival | None = None,
    ) -> None:
        """Takes over `sock`. `near` is how a carrier brought it."""
        super().__init__(entrance, sock, row, source, port, near)
        self._negotiation = Negotiation(bool(self._socks.users))
        self._phase: Phase = "asking"
        self._named = 0
        self._login: LogIn | None = None  # being judged
        self._user: tuple[str, str] | None = None  # who that was, and the verifier it was held against
        self._timer: Timer | None = None
        self._association: Association | None = None

    @property
    def state(self) -> str:
        """asking, dialling, waiting, associated, open, half-closed or leaving."""
        if self._phase == "carried":
            return super().state
        return "asking" if self._phase == "judging" else self._phase

    @property
    def target_port(self) -> int:
        """The port that the client named."""
        return self._named

    @property
    def _socks(self) -> Socks:
        """Who may, and where to, as of now."""
        return self._service.entry.socks or Socks()

    # -- asking ----------------------------------------------------------------

    def dial(self, addresses: Sequence[Endpoint]) -> None:
        """Begin to hear where the client wants to go; the mapping has no targets of its own."""
        self.carrier = self._service.entry.carrier
        self._enter("asking", ASK_WITHIN, since=self.started)
        self._shared.loop.register(self._client.fileno(), _HEARD, self)

    def on_event(self, events: int) -> None:
        """The client has said something, or is gone."""
        if self._phase in ("judging", "dialling", "waiting"):
            if events & (_GONE if self._phase == "waiting" else _BROKEN):
                self.reset()
            return
        try:
            data = self._client.recv(_READ, MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            self.reset()
            return
        if self._phase == "asking" and data:
            self._hear(data)
        elif not data:
            self._hung_up()
        # What an associated client says on its connection, or one that was refused, means nothing.

    def _hear(self, data: bytes) -> None:
        try:
            asked = self._negotiation.receive_untrusted(data)
        except BadPacket:
            self._turn_away()
        else:
            self._go_by(asked)

    def _go_by(self, asked: Asked | None) -> None:
        """Do what the client asks for, after telling it what there is to tell."""
        if not self._tell():
            return
        if isinstance(asked, LogIn):
            self._login = asked
            self._deafen("judging")
            self._judge()
        elif isinstance(asked, Refused):
            self._service.fail("prohibited")
            self._leave()
        elif isinstance(asked, Wants):
            self._serve(asked)

    def _judge(self) -> None:
        login, loop = self._login, self._shared.loop
        assert login is not None
        users = self._socks.users
        verdict = logins_of(loop).judge(users, login.name, login.password, self.source, loop.now)
        if verdict == "right":
            self._user = next((each for each in users if each[0] == login.name), None)
            self._listen("asking")
            self._answer_login(True)
        elif verdict == "wrong":
            self._timer = loop.call_later(FAILURE_PAUSE, self._deny)
        else:
            self._timer = loop.call_later(_JUDGE_AGAIN, self._judge)

    def _deny(self) -> None:
        self._answer_login(False)

    def _answer_login(self, ok: bool) -> None:
        self._timer = self._login = None
        try:
            asked = self._negotiation.logged_in(ok)
        except BadPacket:
            self._turn_away()
        else:
            self._go_by(asked)

    def _turn_away(self) -> None:
        """What the client says is no request, and has no answer."""
        self._service.fail("other")
        self.reset()

    # -- dialling --------------------------------------------------------------

    def _serve(self, wants: Wants) -> None:
        self.target, self._named = wants.host, wants.port
        carrier = self._service.entry.carrier or DIRECT
        if self._is_stranger(self._socks):  # the terms have changed since it was greeted
            self._refuse("prohibited")
        elif wants.command == "udp":
            self._associate(carrier, wants)
        elif not allows(self._socks, wants.host, wants.port, far=carrier != DIRECT):
            self._refuse("prohibited")
        elif wants.command == "connect":
            self._deafen("dialling")
            self.dial_through(carrier, self.order(wants.host, wants.port))
            self._enter("dialling", CARRIER_DIAL_TIMEOUT)
        elif carrier == DIRECT:
            self._deafen("waiting")
            self.carrier = carrier
            order = self.order(wants.host, wants.port, op="bind")
            self._dial = self._far = self._shared.carriers.named(carrier).dial(order, self, self._bound)
            self._enter("waiting", BIND_WITHIN)
        else:
            self._refuse("unsupported")

    def order(
        self,
        host: str,
        port: int,
        protocol: Literal["tcp", "udp"] = "tcp",
        op: Literal["dial", "bind"] = "dial",
    ) -> Order:
        """What a carrier is to reach for this flow. The rules go along, for who looks the name up."""
        socks = self._socks
        source = None if self.source in (LOCAL, NOBODY) else (self.source, self.source_port)
        rules = {"rules": socks.rules, "own": socks.own}
        return Order(self._service.entry.id, protocol, host, port, source, self.entered_at(), op, rules)

    def _bound(self, local: Endpoint) -> None:
        """A BIND waits here: its first answer."""
        self._negotiation.succeeded(*local)
        self._tell()

    def dialled(self, sock: Socket, target: str, events: int, *, armed: bool = True) -> None:
        """The destination is reached: tell the client, and carry."""
        tie = self._far
        where = None
        if isinstance(tie, Pending):
            where = tie.peer if self._phase == "waiting" else tie.local
        if tie is not None and self.carrier == DIRECT:
            # The connection is its own: it needs its dialler no more, and outlives it.
            tie.end()
            self._far = None
        self._dial = None
        self._shared.loop.unregister(self._client.fileno())
        self._phase = "carried"
        self._negotiation.succeeded(*(where or UNSAID))
        if not self._tell():  # nobody is there to carry for
            self._shared.loop.unregister(sock.fileno())
            sock.close()
            return
        super().dialled(sock, target, events, armed=armed)

    def first_words(self) -> bytes:
        """What the destination hears ahead of all that is read from the client."""
        rest = self._negotiation.take_rest()
        self.bytes_in += len(rest)
        return super().first_words() + rest

    def dial_failed(self, cause: Failure) -> None:
        """The destination was not reached: tell the client why. One that asked for none is reset."""
        self._service.fail(cause)
        if self._phase in ("dialling", "waiting"):
            if isinstance(self._dial, Pending):
                self._dial.cancel()  # where it is we who waited long enough
            self._dial = self._far = None
            self._negotiation.failed(cause)
            self._leave()
        else:
            self.reset()

    def _associate(self, carrier: str, wants: Wants) -> None:
        if self._near is not None or self.source in (LOCAL, NOBODY):
            self._refuse("unsupported")  # no address of ours that the client could send datagrams to
            return
        try:
            self._association = Association(
                self, self._shared, self._service, carrier, self._client.getsockname(), wants.port
            )
        except OSError:
            self._refuse("descriptors")
            return
        self.carrier = carrier
        self.target, self._named = "*", 0
        self._negotiation.succeeded(*self._association.address)
        self._enter("associated", self._idle())
        self._tell()

    def strays(self, socks: Socks) -> bool:
        """Whether these terms do not allow its client, or the destination that it named."""
        if self._phase in ("asking", "judging", "leaving"):
            return False
        if self._is_stranger(socks):
            return True
        return self._phase != "associated" and not allows(
            socks, self.target, self._named, far=self.carrier != DIRECT
        )

    def _is_stranger(self, socks: Socks) -> bool:
        return bool(socks.users) and self._user not in socks.users

    # -- ending ----------------------------------------------------------------

    def on_idle(self) -> None:
        """Silence: the client said nothing in time, was not answered in time, or the flow is over."""
        if self._phase == "associated" and self.idle_after < self._idle():
            self._enter("associated", self._idle(), since=self.last)  # the terms allow more of it by now
        elif self._phase in ("associated", "leaving"):
            self.reset()
        else:
            super().on_idle()

    def reset(self) -> None:
        """End now, both sides seeing a reset (nothing, when it has ended)."""
        self._release()
        super().reset()

    cut = reset

    def _release(self) -> None:
        """Let go of what this flow has beside its sockets."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._association is not None:
            self._association.close()
            self._association = None
        if self._halves is None and self._client.fileno() >= 0:
            self._shared.loop.unregister(self._client.fileno())

    def _hung_up(self) -> None:
        """The client has ended its connection, in order."""
        if self._phase == "asking":
            self.reset()
            return
        self._release()
        if self._near is not None:
            self._near.end()
        self._client.close()
        self._over()

    def _refuse(self, answer: Answer) -> None:
        self._service.fail("prohibited" if answer == "unsupported" else answer)
        self._negotiation.failed(answer)
        self._leave()

    def _leave(self) -> None:
        """Tell the client, and wait until it hangs up: to close on what it says would reset our answer."""
        if not self._tell():
            return
        try:
            self._client.shutdown(SHUT_WR)
        except OSError:  # it is gone
            self.reset()
            return
        self._listen("leaving")
        self._enter("leaving", _LEAVE_WITHIN)

    # -- phases ----------------------------------------------------------------

    def _tell(self) -> bool:
        """Send the client what is ready for it; False when it is gone, and the flow with it."""
        out = self._negotiation.take_out()
        try:
            if not out or self._client.send(out, MSG_DONTWAIT) == len(out):
                return True
        except OSError:  # reset, or it has not read any of our few words
            pass
        self.reset()
        return False

    def _enter(self, phase: Phase, seconds: float, since: float | None = None) -> None:
        self._phase = phase
        self.last = self._shared.loop.now if since is None else since
        self.idle_after = seconds
        self._service.wheel.add(self)

    def _deafen(self, phase: Phase) -> None:
        """It is our turn: what the client says waits in the kernel. That it is gone is still told."""
        self._phase = phase
        self._shared.loop.modify(self._client.fileno(), select.EPOLLRDHUP if phase == "waiting" else 0)

    def _listen(self, phase: Phase) -> None:
        self._phase = phase
        self._shared.loop.modify(self._client.fileno(), _HEARD)
