"""NAT-PMP as it is served (RFC 6886)."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

from sekimori.doors.portmap.results import natpmp_result
from sekimori.doors.portmap.standing import (
    Asking,
    clamp,
    find_lease,
    is_by_hand,
    pair_of,
    seconds_left,
)
from sekimori.gate.devices import Inside, Leases
from sekimori.model.address import PortRange
from sekimori.model.lease import LeaseProtocol, LeaseTerms, Obtain
from sekimori.model.source import Sources
from sekimori.wire import natpmp

__all__ = ["NatPmpService"]

_TERMS = LeaseTerms(protocol=LeaseProtocol.NATPMP)


class NatPmpService:
    """Reads NAT-PMP's requests and carries them out.

    Args:
        leases: the way to the gate.
        inside: what is known.
        epoch: the seconds that answers carry, now.
    """

    def __init__(self, leases: Leases, inside: Inside, epoch: Callable[[], int]) -> None:
        self._leases = leases
        self._inside = inside
        self._epoch = epoch

    def begin_untrusted(self, data: bytes) -> natpmp.MapRequest | bytes | None:
        """Read a datagram: the request that is to be carried out, or what to answer at once, if anything."""
        try:
            request = natpmp.decode_request_untrusted(data)
        except natpmp.BadRequest as bad:
            return None if bad.result is None else natpmp.encode_error(data, bad.result, self._epoch())
        return self.address() if isinstance(request, natpmp.AddressRequest) else request

    def address(self) -> bytes:
        """The answer to a request for the outside address, and the announcement of it (§3.2.1)."""
        address = self._inside.outside_address(4)
        if not isinstance(address, IPv4Address):
            failure = natpmp.ErrorResponse(self._epoch(), 0, natpmp.Result.NETWORK_FAILURE)
            return natpmp.encode_response(failure)
        return natpmp.encode_response(natpmp.AddressResponse(self._epoch(), address))

    def refuse_unknown(self, data: bytes) -> bytes | None:
        """The refusal of a host that is not proved to be there."""
        return natpmp.encode_error(data, natpmp.Result.NOT_AUTHORIZED, self._epoch())

    def refuse(self, data: bytes, request: natpmp.MapRequest, code: str) -> bytes | None:
        """The refusal of a request for a problem's code."""
        return natpmp.encode_error(data, natpmp_result(code), self._epoch())

    async def serve(self, data: bytes, request: natpmp.MapRequest, who: Asking) -> bytes | None:
        """Carry the request in `data` out; the answer.

        Raises:
            Problem: policy or a plane refused; `refuse` makes the answer of it.
        """
        if request.lifetime == 0:
            return await self._close(data, request, who)
        if request.inside_port == 0:  # all ports: only to close (§3.4)
            return natpmp.encode_error(data, natpmp.Result.NOT_AUTHORIZED, self._epoch())
        if self._inside.outside_address(4) is None:
            return natpmp.encode_error(data, natpmp.Result.NETWORK_FAILURE, self._epoch())
        return await self._map(request, who)

    async def _map(self, request: natpmp.MapRequest, who: Asking) -> bytes:
        here, port = who.asker.address, request.inside_port
        before = find_lease(self._inside.snapshot(), who.device, request.protocol, here, port)
        was_outbound = before is not None and before.lease is not None and before.lease.outbound
        ask = Obtain(
            asker=who.asker,
            protocol=request.protocol,
            inside=here,
            ports=before.ports[0].inside if before else PortRange(port, port),
            lifetime=clamp(request.lifetime),
            terms=_TERMS,
            outside=request.outside_port or None,
            # What PEER opened for one peer is open to all from now on: this is how a listener asks.
            sources=Sources(anyone=True) if was_outbound else None,
            nonce_rule=who.rule,
        )
        mapping = await self._leases.obtain(who.device, ask)
        pair = pair_of(mapping, request.protocol, port)
        assert pair is not None, "what was obtained leads to the port that was asked for"
        outside = pair.outside.first + port - pair.inside.first
        left = seconds_left(mapping, self._inside.now())
        return natpmp.encode_response(
            natpmp.MapResponse(self._epoch(), request.protocol, port, outside, left)
        )

    async def _close(self, data: bytes, request: natpmp.MapRequest, who: Asking) -> bytes | None:
        """End one lease, or with inside port 0 all that the client asked for in NAT-PMP and this transport
        protocol (§3.4). What is not there is ended too.
        """
        snapshot, here, port = self._inside.snapshot(), who.asker.address, request.inside_port
        if port == 0:
            ending = [
                each
                for each in snapshot.leases_of(who.device)
                if each.lease is not None
                and each.lease.protocol is LeaseProtocol.NATPMP
                and each.ports[0].protocol is request.protocol
                and each.target.address == here
            ]
        else:
            found = find_lease(snapshot, who.device, request.protocol, here, port)
            ending = [] if found is None else [found]
            if found is None and is_by_hand(snapshot, request.protocol, here, port):  # §3.4: a MUST
                return natpmp.encode_error(data, natpmp.Result.NOT_AUTHORIZED, self._epoch())
        for lease in ending:
            await self._leases.release(who.device, lease, None, who.rule)
        return natpmp.encode_response(natpmp.MapResponse(self._epoch(), request.protocol, port, 0, 0))
