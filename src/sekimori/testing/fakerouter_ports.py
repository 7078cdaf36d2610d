"""The fake router's port 5351: PCP and NAT-PMP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sekimori.model.address import IpProtocol
from sekimori.testing.fakerouter import Ledge, TableFull
from sekimori.wire import natpmp, pcp
from sekimori.wire.pcpoptions import PortSet, PreferFailure

if TYPE_CHECKING:
    from sekimori.testing.fakerouter import FakeRouter

__all__ = ["PortServer"]

_BY_NUMBER: Final = {6: IpProtocol.TCP, 17: IpProtocol.UDP}


class PortServer:
    """Answers datagrams."""

    def __init__(self, router: FakeRouter) -> None:
        self._router = router

    def answer(self, data: bytes, sender: tuple[str, int]) -> list[bytes]:
        """What goes back; mostly one datagram."""
        quirks = self._router.quirks
        if pcp.dialect_untrusted(data) is pcp.Dialect.PCP and quirks.pcp:
            answered = self._answer_pcp(data, sender[0])
        elif quirks.natpmp:
            answered = self._answer_natpmp(data, sender[0])
        else:
            answered = None
        return [] if answered is None else [answered]

    # -- NAT-PMP ---------------------------------------------------------------------------------

    def _answer_natpmp(self, data: bytes, client: str) -> bytes | None:
        router = self._router
        try:
            request = natpmp.decode_request_untrusted(data)
        except natpmp.BadRequest as error:
            return None if error.result is None else natpmp.encode_error(data, error.result, router.epoch)
        if isinstance(request, natpmp.AddressRequest):
            router.asked.append("natpmp address")
            return natpmp.encode_response(natpmp.AddressResponse(router.epoch, router.outside))
        router.asked.append("natpmp map" if request.lifetime else "natpmp unmap")
        if router.quirks.refuses:
            return natpmp.encode_error(data, natpmp.Result(router.quirks.refuses), router.epoch)
        protocol, inside = request.protocol, request.inside_port
        outside = router.entry_of(protocol, client, inside)
        if request.lifetime == 0:
            if outside is not None:
                del router.table[protocol, outside]
            return natpmp.encode_response(natpmp.MapResponse(router.epoch, protocol, inside, 0, 0))
        if outside is None:
            outside = router.free_from(protocol, request.outside_port + router.quirks.shift)
        router.put(protocol, outside, Ledge(client, inside, router.now() + request.lifetime))
        response = natpmp.MapResponse(router.epoch, protocol, inside, outside, request.lifetime)
        return natpmp.encode_response(response)

    # -- PCP -------------------------------------------------------------------------------------

    def _answer_pcp(self, data: bytes, client: str) -> bytes | None:
        router = self._router
        try:
            request = pcp.decode_request_untrusted(data)
            result = self._refusal(request, client)
            if result is not None:
                return self._refuse(data, result)
        except pcp.BadRequest as error:
            return None if error.result is None else self._refuse(data, error.result)
        if isinstance(request.body, pcp.Announce):
            router.asked.append("pcp announce")
            return pcp.encode_response(pcp.Response(0, router.epoch, pcp.Announce()))
        assert isinstance(request.body, pcp.Map)
        router.asked.append("pcp map" if request.lifetime else "pcp unmap")
        try:
            return self._map(data, request, request.body, client)
        except TableFull:
            return self._refuse(data, pcp.Result.NO_RESOURCES)

    def _refusal(self, request: pcp.Request, client: str) -> pcp.Result | None:
        quirks = self._router.quirks
        if str(request.client) != client:
            return pcp.Result.ADDRESS_MISMATCH
        if isinstance(request.body, pcp.Peer):
            return pcp.Result.UNSUPP_OPCODE
        if isinstance(request.body, pcp.Map):
            if PreferFailure() in request.options and not quirks.knows_prefer_failure:
                return pcp.Result.UNSUPP_OPTION
            if quirks.refuses:
                return pcp.Result(quirks.refuses)  # type: ignore[call-arg]  # mypy takes it for the constructor
        return None

    def _map(self, data: bytes, request: pcp.Request, body: pcp.Map, client: str) -> bytes:
        router, protocol = self._router, _BY_NUMBER[body.protocol]
        outside = router.entry_of(protocol, client, body.inside_port)
        if outside is not None and router.table[protocol, outside].nonce != body.nonce:
            return self._refuse(data, pcp.Result.NOT_AUTHORIZED)
        asked = next((each for each in request.options if isinstance(each, PortSet)), None)
        size = asked.size if asked is not None and router.quirks.port_sets else 1
        if request.lifetime == 0:
            for step in range(size if outside is not None else 0):
                router.table.pop((protocol, (outside or 0) + step), None)
            return self._granted(request, body, 0, None)
        if outside is None:
            outside = router.free_from(protocol, body.outside_port + router.quirks.shift)
            prefers = PreferFailure() in request.options and not router.quirks.prefers_success
            if prefers and outside != body.outside_port:
                return self._refuse(data, pcp.Result.CANNOT_PROVIDE_EXTERNAL)
        for step in range(size):
            until = router.now() + request.lifetime
            ledge = Ledge(client, body.inside_port + step, until, "", body.nonce)
            router.put(protocol, outside + step, ledge)
        used = PortSet(size, body.inside_port, parity=False) if size > 1 else None
        return self._granted(request, body, outside, used)

    def _granted(self, request: pcp.Request, body: pcp.Map, outside: int, used: PortSet | None) -> bytes:
        router = self._router
        answer = pcp.Map(body.nonce, body.protocol, body.inside_port, outside, router.outside)
        options = () if used is None else (used,)
        return pcp.encode_response(pcp.Response(request.lifetime, router.epoch, answer, options))

    def _refuse(self, data: bytes, result: pcp.Result) -> bytes:
        answered = pcp.encode_error(data, result, result.retry_after, self._router.epoch)
        assert answered is not None
        return answered
