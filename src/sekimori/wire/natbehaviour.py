"""How NATs on the way treat a socket, found out by asking STUN servers (RFC 5780 §4), without any I/O.

All servers are asked where they see a socket. The first that has another address and port is then used to
test filtering, before anything is sent to that other address; and with a second socket, mapping: a NAT may
keep in mind what it has refused to the first, as Linux does where no firewall drops it, and then give the
way back another port. What is told of filtering is proven:

- "endpoint-independent" only where an answer came in from the server's other address and port; not because
  the server says that it had answered from there.
- a narrower one only where such an answer does come in once the second socket has sent there itself. Where
  it does not, the server never answers from its other address, and its silence before proved nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from sekimori.model.behaviour import Behaviour, Endpoint, FilteringBehaviour, MappingBehaviour, Seen
from sekimori.wire.errors import BadPacket
from sekimori.wire.stun import Answer, Refusal, Request, decode_answer_untrusted, encode_request

__all__ = ["TIMING", "Exam", "Send", "Timing"]


@dataclass(frozen=True, slots=True)
class Send:
    """A datagram to send.

    Attributes:
        by: the number of the socket, 0 or 1.
    """

    data: bytes
    to: Endpoint
    by: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """When a request is sent again (RFC 8489 §6.2.1), in seconds.

    The RFC's 7 times and 40 s are for a client that has nothing else to go by; here silence is an answer
    too, and three of the tests may end in it.

    Attributes:
        first: until it is sent the second time; each wait is twice the one before.
        times: how often it is sent.
        last: from the last sending until it is given up.
    """

    first: float = 0.5
    times: int = 4
    last: float = 2.0


TIMING: Final = Timing()


class _Step(Enum):
    ASK = auto()
    FILTER_BOTH = auto()
    FILTER_PORT = auto()
    ASK_AGAIN = auto()
    MAP_ADDRESS = auto()
    MAP_PORT = auto()
    OPEN_OTHER = auto()
    CONTROL = auto()
    DONE = auto()


@dataclass(slots=True)
class _Pending:
    request: Request
    data: bytes
    to: Endpoint
    by: int
    due: float
    sent: int = 1


@dataclass(frozen=True, slots=True)
class _Tested:
    """The server that the tests are made with: where it was asked, and its other address."""

    server: Endpoint
    other: Endpoint


_Outcome = tuple[Answer | Refusal, Endpoint] | None
"""What a request came to: an answer and where it came from; None for silence."""

_CHANGES: Final = {
    _Step.FILTER_BOTH: (True, True),
    _Step.FILTER_PORT: (False, True),
    _Step.CONTROL: (True, True),
}


class Exam:
    """One look by two sockets, fresh ones: a NAT remembers whom a port has sent to.

    Call `start`, send what is returned, and then `receive_untrusted` for every datagram and `wake` at `due`,
    until `behaviour` is there. Times are seconds of any clock that only goes forward.

    Args:
        local: where the sockets are bound.
        servers: of the same family.
        new_transaction: makes 12 random bytes.
        deep: whether to test more than where the socket is seen.
    """

    def __init__(
        self,
        local: tuple[Endpoint, Endpoint],
        servers: Sequence[Endpoint],
        new_transaction: Callable[[], bytes],
        timing: Timing = TIMING,
        *,
        deep: bool = True,
    ) -> None:
        self._local = local
        self._servers = tuple(dict.fromkeys(servers))
        self._new_transaction = new_transaction
        self._timing = timing
        self._deep = deep
        self._step = _Step.ASK
        self._pending: dict[bytes, _Pending] = {}
        self._answers: dict[Endpoint, Answer | Refusal] = {}
        self._tested: _Tested | None = None
        self._first: Endpoint | None = None
        """Where the tested server saw the second socket,"""
        self._second: Endpoint | None = None
        """and where its other address did, at the same port."""
        self._mapping = MappingBehaviour.UNKNOWN
        self._filtering = FilteringBehaviour.UNKNOWN
        self._supposed: FilteringBehaviour | None = None
        """What filtering is if the server's silence meant anything."""
        self._after = {
            _Step.FILTER_BOTH: self._after_filter_both,
            _Step.FILTER_PORT: self._after_filter_port,
            _Step.ASK_AGAIN: self._after_ask_again,
            _Step.MAP_ADDRESS: self._after_map_address,
            _Step.MAP_PORT: self._after_map_port,
            _Step.OPEN_OTHER: self._after_open_other,
            _Step.CONTROL: self._after_control,
        }

    @property
    def behaviour(self) -> Behaviour | None:
        """What was found out; None while the exam goes on."""
        if self._step is not _Step.DONE:
            return None
        seen = tuple(_seen(server, self._answers.get(server)) for server in self._servers)
        return Behaviour(seen, self._mapping, self._filtering)

    @property
    def due(self) -> float | None:
        """When to call `wake`; None where nothing is waited for."""
        return min((each.due for each in self._pending.values()), default=None)

    def start(self, now: float) -> tuple[Send, ...]:
        """Ask every server."""
        if not self._servers:
            self._step = _Step.DONE
        return tuple(self._ask(Request(self._new_transaction()), server, 0, now) for server in self._servers)

    def receive_untrusted(self, by: int, data: bytes, source: Endpoint, now: float) -> tuple[Send, ...]:
        """Take a datagram from anywhere that came to socket `by`; what to send next.

        Raises:
            BadPacket: it answers nothing that was asked, or not from where it was asked.
        """
        pending = self._pending.get(data[8:20])
        if pending is None or pending.by != by:
            raise BadPacket("not an answer to anything asked")
        answer = decode_answer_untrusted(data, pending.request.transaction)
        changes = pending.request.change_address or pending.request.change_port
        if not changes and source != pending.to:
            raise BadPacket(f"an answer from {source} instead of {pending.to}")
        del self._pending[pending.request.transaction]
        return self._conclude(pending.to, (answer, source), now)

    def wake(self, now: float) -> tuple[Send, ...]:
        """Send again what has waited long enough, and give up what has been sent often enough."""
        sends: list[Send] = []
        for transaction, each in list(self._pending.items()):
            if each.due > now:
                continue
            if each.sent < self._timing.times:
                each.sent += 1
                each.due = now + self._wait(each.sent)
                sends.append(Send(each.data, each.to, each.by))
            else:
                del self._pending[transaction]
                sends += self._conclude(each.to, None, now)
        return tuple(sends)

    def _wait(self, sent: int) -> float:
        """Seconds to wait after it was sent for the `sent`th time."""
        return self._timing.last if sent == self._timing.times else self._timing.first * (1 << sent - 1)

    def _ask(self, request: Request, to: Endpoint, by: int, now: float) -> Send:
        data = encode_request(request)
        self._pending[request.transaction] = _Pending(request, data, to, by, now + self._wait(1))
        return Send(data, to, by)

    def _conclude(self, asked: Endpoint, outcome: _Outcome, now: float) -> tuple[Send, ...]:
        if self._step is not _Step.ASK:
            return self._enter(self._after[self._step](outcome), now)
        if outcome is not None:
            self._answers[asked] = outcome[0]
        return () if self._pending else self._enter(self._after_ask(), now)

    def _enter(self, step: _Step, now: float) -> tuple[Send, ...]:
        self._step = step
        if step is _Step.DONE or self._tested is None:
            return ()
        to = self._tested.server
        if step is _Step.MAP_ADDRESS:
            to = Endpoint(self._tested.other.address, to.port)
        elif step in (_Step.MAP_PORT, _Step.OPEN_OTHER):
            to = self._tested.other
        by = 0 if step in (_Step.FILTER_BOTH, _Step.FILTER_PORT) else 1
        return (self._ask(Request(self._new_transaction(), *_CHANGES.get(step, ())), to, by, now),)

    # What each step's outcome leads to.

    def _after_ask(self) -> _Step:
        answers = [(server, each) for server, each in self._answers.items() if isinstance(each, Answer)]
        self._mapping = self._compare(answers)
        for server, answer in answers if self._deep else ():
            if answer.other is not None and self._is_other(answer.other, server):
                self._tested = _Tested(server, answer.other)
                return _Step.FILTER_BOTH
        return _Step.DONE

    def _is_other(self, other: Endpoint, server: Endpoint) -> bool:
        """Whether tests can be made with it. At an address that was asked too, the filter is open already."""
        if other.address.version != server.address.version or other.port == server.port:
            return False
        return all(other.address != each.address for each in self._servers)

    def _compare(self, answers: Iterable[tuple[Endpoint, Answer]]) -> MappingBehaviour:
        """What servers at different addresses tell of mapping when their answers are laid side by side."""
        by_address = {server.address: answer.mapped for server, answer in answers}
        mapped = set(by_address.values())
        if mapped == {self._local[0]}:
            return MappingBehaviour.UNTRANSLATED
        if len(mapped) > 1:
            return MappingBehaviour.VARIES
        return MappingBehaviour.ENDPOINT_INDEPENDENT if len(by_address) > 1 else MappingBehaviour.UNKNOWN

    def _after_filter_both(self, outcome: _Outcome) -> _Step:
        if outcome is None:
            return _Step.FILTER_PORT
        if self._came_from_other(outcome):
            self._filtering = FilteringBehaviour.ENDPOINT_INDEPENDENT
        return _Step.ASK_AGAIN

    def _after_filter_port(self, outcome: _Outcome) -> _Step:
        assert self._tested is not None
        if outcome is None:
            self._supposed = FilteringBehaviour.ADDRESS_AND_PORT_DEPENDENT
        elif _is_from(outcome, Endpoint(self._tested.server.address, self._tested.other.port)):
            self._supposed = FilteringBehaviour.ADDRESS_DEPENDENT
        return _Step.ASK_AGAIN

    def _after_ask_again(self, outcome: _Outcome) -> _Step:
        self._first = _mapped(outcome)
        return _Step.DONE if self._first is None else _Step.MAP_ADDRESS

    def _after_map_address(self, outcome: _Outcome) -> _Step:
        self._second = _mapped(outcome)
        if self._second is None:
            return _Step.DONE
        if self._second != self._first:
            self._mapping = MappingBehaviour.VARIES
            return _Step.MAP_PORT
        if self._mapping is MappingBehaviour.UNKNOWN:
            self._mapping = MappingBehaviour.ENDPOINT_INDEPENDENT
        return _Step.OPEN_OTHER if self._supposed is not None else _Step.DONE

    def _after_map_port(self, outcome: _Outcome) -> _Step:
        third = _mapped(outcome)
        if third is not None:
            same = third == self._second
            self._mapping = (
                MappingBehaviour.ADDRESS_DEPENDENT if same else MappingBehaviour.ADDRESS_AND_PORT_DEPENDENT
            )
        return _Step.DONE

    def _after_open_other(self, outcome: _Outcome) -> _Step:
        return _Step.DONE if outcome is None else _Step.CONTROL

    def _after_control(self, outcome: _Outcome) -> _Step:
        if outcome is not None and self._supposed is not None and self._came_from_other(outcome):
            self._filtering = self._supposed
        return _Step.DONE

    def _came_from_other(self, outcome: tuple[Answer | Refusal, Endpoint]) -> bool:
        assert self._tested is not None
        return _is_from(outcome, self._tested.other)


def _mapped(outcome: _Outcome) -> Endpoint | None:
    return outcome[0].mapped if outcome is not None and isinstance(outcome[0], Answer) else None


def _is_from(outcome: tuple[Answer | Refusal, Endpoint], endpoint: Endpoint) -> bool:
    """Whether an answer came in from there, whatever it says of itself."""
    return isinstance(outcome[0], Answer) and outcome[1] == endpoint


def _seen(server: Endpoint, answer: Answer | Refusal | None) -> Seen:
    if isinstance(answer, Answer):
        return Seen(server, mapped=answer.mapped)
    return Seen(server, refusal=None if answer is None else answer.code)
