"""Asks a router by PCP (RFC 6887), and for several ports at a time by PORT_SET (RFC 7753)."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Final

from sekimori.host.routersockets import Place, RouterSocket, open_router_socket
from sekimori.planes.router.asking import Grant, Greeting, OtherPort, PortTaken, Refusal, Silence, Wish
from sekimori.planes.router.facts import RouterProtocol
from sekimori.planes.router.meanings import PCP_MEANINGS
from sekimori.planes.router.terms import Run
from sekimori.wire.errors import BadPacket
from sekimori.wire.pcp import (
    PORT,
    Announce,
    Body,
    ErrorResponse,
    Map,
    Opcode,
    OtherVersion,
    Request,
    Response,
    Result,
    decode_response_untrusted,
    encode_request,
)
from sekimori.wire.pcpepoch import EpochReading, pcp_state_lost
from sekimori.wire.pcpoptions import Option, PortSet, PreferFailure

__all__ = ["GREETING_WITHIN", "LONGEST", "WITHIN", "PcpAsker"]

LONGEST: Final = 7200
"""Seconds that are asked for at most: what RFC 6886 §3.3 recommends, and what a router that forgets to look
after itself is left with when we are gone."""
WITHIN: Final = 2.0
"""Seconds for an answer: a question is asked four times meanwhile."""
GREETING_WITHIN: Final = 1.0
"""Seconds for an answer to the question whether it is there, while another protocol may have to wait."""
_ANY: Final = IPv4Address("0.0.0.0")
_OF_PROTOCOL: Final = frozenset(
    {
        Result.UNSUPP_VERSION,
        Result.NOT_AUTHORIZED,
        Result.UNSUPP_OPCODE,
        Result.UNSUPP_OPTION,
        Result.MALFORMED_REQUEST,
        Result.MALFORMED_OPTION,
        Result.UNSUPP_PROTOCOL,
    }
)
"""What speaks of the protocol more than of the port."""

_NAMES: Final = {int(each): each.name for each in Result}

_Answer = Response | ErrorResponse | OtherVersion


class PcpAsker:
    """Asks by PCP. See `asking.Asker`.

    Args:
        place: where the router is.
        steady: seconds that only go forward, in sleep too.
        lost: called when the router turns out to have lost its mappings.

    Raises:
        OSError: it cannot be asked from there.
    """

    protocol = RouterProtocol.PCP
    at_once = 1  # cheap routers answer one after the other, and what waits is asked again
    one_outside = True
    runs = True
    longest = LONGEST

    def __init__(self, place: Place, steady: Callable[[], float], lost: Callable[[], None]) -> None:
        self._place = place
        self._steady = steady
        self._lost = lost
        self._reading: EpochReading | None = None
        self._prefers_failure = True
        self._socket: RouterSocket = open_router_socket(place, PORT)
        self.lasting_only = False

    async def greet(self) -> Greeting:
        """By ANNOUNCE, which every server has to answer (§14.1)."""
        answer = await self._ask(0, Announce(), (), GREETING_WITHIN)
        if isinstance(answer, OtherVersion):
            raise Silence(f"it speaks version {answer.version}")
        return Greeting(epoch=answer.epoch)

    async def open(self, wish: Wish) -> Grant:
        """By MAP with PREFER_FAILURE; without it where the router does not know that."""
        lifetime = max(1, min(wish.lifetime or LONGEST, LONGEST))
        answer = await self._map(wish, lifetime)
        if (
            isinstance(answer, ErrorResponse)
            and answer.result == Result.UNSUPP_OPTION
            and self._prefers_failure
        ):
            self._prefers_failure = False
            answer = await self._map(wish, lifetime)
        if not isinstance(answer, Response):
            raise _refusal(answer)
        assert isinstance(answer.body, Map)  # or it would not have been taken for the answer
        if answer.body.outside_port != wish.run.outside:
            await self.shut(wish)
            raise OtherPort(answer.body.outside_port)
        outside = answer.body.outside_address
        return Grant(
            _size(answer.options, wish.run),
            answer.lifetime,
            outside if isinstance(outside, IPv4Address) else None,
        )

    async def shut(self, wish: Wish) -> None:
        """By MAP with a lifetime of 0 (§15.1)."""
        answer = await self._map(wish, 0)
        # Some servers (miniupnpd) have "no resources" for what they do not know.
        if isinstance(answer, Response) or _is(answer, Result.NO_RESOURCES):
            return
        raise _refusal(answer)

    async def stands(self, run: Run) -> bool:
        """PCP cannot be asked; to renew makes anew what is gone."""
        return True

    async def taker(self, run: Run) -> PortTaken | None:
        """PCP tells nobody about others."""
        return None

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    async def _map(self, wish: Wish, lifetime: int) -> _Answer:
        run = wish.run
        options: tuple[Option, ...] = ()
        if lifetime and self._prefers_failure:
            options += (PreferFailure(),)
        if run.size > 1:
            options += (PortSet(run.size, run.inside, parity=False),)
        outside = run.outside if lifetime else 0
        body = Map(wish.nonce, run.protocol.number, run.inside, outside, _ANY)
        return await self._ask(lifetime, body, options)

    async def _ask(
        self, lifetime: int, body: Body, options: tuple[Option, ...], within: float = WITHIN
    ) -> _Answer:
        request = encode_request(Request(lifetime, self._place.local, body, options))
        try:
            answer: _Answer = await self._socket.ask(
                request, lambda data: _read_untrusted(data, body, lifetime), within
            )
        except OSError as error:  # a timeout is one too
            raise Silence(str(error) or "no answer") from None
        if not isinstance(answer, OtherVersion):
            self._hear(answer.epoch)
        return answer

    def _hear(self, epoch: int) -> None:
        reading = EpochReading(epoch, self._steady())
        before, self._reading = self._reading, reading
        if pcp_state_lost(before, reading):
            self._lost()


def _read_untrusted(data: bytes, asked: Body, lifetime: int) -> _Answer | None:
    """What a datagram says, if it is the answer."""
    try:
        answer = decode_response_untrusted(data)
    except BadPacket:
        return None
    if isinstance(answer, OtherVersion):
        return answer
    if isinstance(asked, Announce):
        opcode = answer.opcode if isinstance(answer, ErrorResponse) else None
        return answer if opcode == Opcode.ANNOUNCE or isinstance(answer.body, Announce) else None
    if isinstance(answer, ErrorResponse) and answer.body is None:
        return answer if answer.opcode == Opcode.MAP else None
    if isinstance(answer, Response) and bool(answer.lifetime) != bool(lifetime):
        return None  # it comes late, of an earlier question about the port that was asked twice
    return answer if _key(answer.body) == _key(asked) else None


def _key(body: Body | None) -> tuple[bytes, int, int] | None:
    return (body.nonce, body.protocol, body.inside_port) if isinstance(body, Map) else None


def _size(options: tuple[Option, ...], run: Run) -> int:
    """How many ports were mapped."""
    for option in options:
        if isinstance(option, PortSet) and option.first_inside_port == run.inside:
            return min(option.size, run.size)
    return 1


def _is(answer: _Answer, result: Result) -> bool:
    return isinstance(answer, ErrorResponse) and answer.result == result


def _refusal(answer: ErrorResponse | OtherVersion | Response) -> Refusal:
    if isinstance(answer, OtherVersion):
        return Refusal(RouterProtocol.PCP, 1, "UNSUPP_VERSION", "version", of_protocol=True)
    number = answer.result if isinstance(answer, ErrorResponse) else 0
    said = _NAMES.get(number, "")
    meaning = PCP_MEANINGS.get(number, "unknown")
    return Refusal(RouterProtocol.PCP, number, said, meaning, of_protocol=number in _OF_PROTOCOL)
