"""Asks a router by NAT-PMP (RFC 6886)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sekimori.host.routersockets import Place, RouterSocket, open_router_socket
from sekimori.planes.router.asking import Grant, Greeting, OtherPort, PortTaken, Refusal, Silence, Wish
from sekimori.planes.router.facts import RouterProtocol
from sekimori.planes.router.meanings import NATPMP_MEANINGS
from sekimori.planes.router.pcp import GREETING_WITHIN, LONGEST, WITHIN
from sekimori.planes.router.terms import Run
from sekimori.wire.errors import BadPacket
from sekimori.wire.natpmp import (
    PORT,
    AddressRequest,
    AddressResponse,
    ErrorResponse,
    MapRequest,
    MapResponse,
    Request,
    Response,
    Result,
    decode_response_untrusted,
    encode_request,
)
from sekimori.wire.pcpepoch import EpochReading, natpmp_state_lost

__all__ = ["NatPmpAsker"]

_OPCODES: Final = {"udp": 1, "tcp": 2}
_NAMES: Final = {int(each): each.name for each in Result}
_OF_PROTOCOL: Final = frozenset(
    {Result.UNSUPPORTED_VERSION, Result.NOT_AUTHORIZED, Result.UNSUPPORTED_OPCODE}
)


class NatPmpAsker:
    """Asks by NAT-PMP. See `asking.Asker`; its arguments are those of `PcpAsker`.

    One question at a time, as §3.1 wants it: an answer carries nothing to know its question by but ports.

    Raises:
        OSError: it cannot be asked from there.
    """

    protocol = RouterProtocol.NATPMP
    at_once = 1
    one_outside = True
    runs = False
    longest = LONGEST

    def __init__(self, place: Place, steady: Callable[[], float], lost: Callable[[], None]) -> None:
        self._steady = steady
        self._lost = lost
        self._reading: EpochReading | None = None
        self._socket: RouterSocket = open_router_socket(place, PORT)
        self.lasting_only = False

    async def greet(self) -> Greeting:
        """By asking for the outside address (§3.2). One that has none yet is there all the same."""
        answer = await self._ask(AddressRequest(), GREETING_WITHIN)
        if isinstance(answer, AddressResponse):
            return Greeting(address=answer.address, epoch=answer.epoch)
        if isinstance(answer, ErrorResponse) and answer.result not in _OF_PROTOCOL:
            return Greeting(epoch=answer.epoch)
        raise _refusal(answer)

    async def open(self, wish: Wish) -> Grant:
        """By a map request (§3.3)."""
        run = wish.run
        lifetime = max(1, min(wish.lifetime or LONGEST, LONGEST))
        answer = await self._ask(MapRequest(run.protocol, run.inside, run.outside, lifetime))
        if not isinstance(answer, MapResponse):
            raise _refusal(answer)
        if answer.outside_port != run.outside:
            await self.shut(wish)
            raise OtherPort(answer.outside_port)
        return Grant(1, answer.lifetime)

    async def shut(self, wish: Wish) -> None:
        """By a map request with a lifetime of 0 (§3.4)."""
        answer = await self._ask(MapRequest(wish.run.protocol, wish.run.inside, 0, 0))
        if not isinstance(answer, MapResponse):
            raise _refusal(answer)

    async def stands(self, run: Run) -> bool:
        """NAT-PMP cannot be asked; to renew makes anew what is gone."""
        return True

    async def taker(self, run: Run) -> PortTaken | None:
        """NAT-PMP tells nobody about others."""
        return None

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    async def _ask(self, request: Request, within: float = WITHIN) -> Response:
        try:
            answer: Response = await self._socket.ask(
                encode_request(request), lambda data: _read_untrusted(data, request), within
            )
        except OSError as error:  # a timeout is one too
            raise Silence(str(error) or "no answer") from None
        reading = EpochReading(answer.epoch, self._steady())
        before, self._reading = self._reading, reading
        if natpmp_state_lost(before, reading):
            self._lost()
        return answer


def _read_untrusted(data: bytes, asked: Request) -> Response | None:
    """What a datagram says, if it is the answer."""
    try:
        answer = decode_response_untrusted(data)
    except BadPacket:
        return None
    if isinstance(asked, AddressRequest):
        address = isinstance(answer, AddressResponse)
        return answer if address or (isinstance(answer, ErrorResponse) and answer.opcode == 0) else None
    if isinstance(answer, MapResponse):
        same = (answer.protocol, answer.inside_port) == (asked.protocol, asked.inside_port)
        # What comes late of an earlier question about the port, asked twice, must not answer this one.
        return answer if same and bool(answer.lifetime) == bool(asked.lifetime) else None
    if isinstance(answer, ErrorResponse) and answer.opcode == _OPCODES[asked.protocol]:
        return answer if answer.inside_port in (0, asked.inside_port) else None
    return None


def _refusal(answer: Response) -> Refusal:
    number = answer.result if isinstance(answer, ErrorResponse) else 0
    said = _NAMES.get(number, "")
    meaning = NATPMP_MEANINGS.get(number, "unknown")
    return Refusal(RouterProtocol.NATPMP, number, said, meaning, of_protocol=number in _OF_PROTOCOL)
