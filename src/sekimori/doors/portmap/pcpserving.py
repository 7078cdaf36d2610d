"""PCP as it is served (RFC 6887, RFC 7753): MAP and ANNOUNCE here, PEER in `peers`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address

from sekimori.doors.portmap.options import MapOptions, read_options
from sekimori.doors.portmap.peers import Peers
from sekimori.doors.portmap.places import Place, find_place, refuse_other_outside
from sekimori.doors.portmap.results import pcp_result
from sekimori.doors.portmap.standing import Asking, clamp, is_by_hand, pair_of, seconds_left
from sekimori.gate.devices import Inside, Leases
from sekimori.model.address import IPAddress, PortRange
from sekimori.model.errors import Problem
from sekimori.model.lease import LeaseProtocol, LeaseTerms, Obtain
from sekimori.model.mapping import Mapping
from sekimori.model.source import Sources
from sekimori.wire import pcp
from sekimori.wire.pcpoptions import PreferFailure

__all__ = ["PcpService"]


class PcpService:
    """Reads PCP's requests and carries them out.

    Args:
        leases: the way to the gate.
        inside: what is known.
        epoch: the seconds that answers carry, now.
    """

    def __init__(self, leases: Leases, inside: Inside, epoch: Callable[[], int]) -> None:
        self._leases = leases
        self._inside = inside
        self._epoch = epoch
        self._peers = Peers(leases, inside)

    def begin_untrusted(self, data: bytes, source: IPAddress) -> pcp.Request | bytes | None:
        """Read a datagram: the request that is to be carried out, or what to answer at once, if anything."""
        try:
            request = pcp.decode_request_untrusted(data)
        except pcp.BadRequest as bad:
            return self._error(data, bad.result)
        if request.client != source:  # a NAT between us (§8.2)
            return self._error(data, pcp.Result.ADDRESS_MISMATCH)
        return self.announce() if isinstance(request.body, pcp.Announce) else request

    def announce(self) -> bytes:
        """The answer to ANNOUNCE, and the announcement of a new epoch (§14.1)."""
        return pcp.encode_response(pcp.Response(0, self._epoch(), pcp.Announce()))

    def refuse_version(self, data: bytes) -> bytes | None:
        """The answer to a protocol that is not spoken here: PCP's version is (§9)."""
        return self._error(data, pcp.Result.UNSUPP_VERSION)

    def refuse_unknown(self, data: bytes) -> bytes | None:
        """The refusal of a host that is not proved to be there, which a moment later it may be."""
        lifetime = pcp.Result.NETWORK_FAILURE.retry_after
        return pcp.encode_error(data, pcp.Result.NOT_AUTHORIZED, lifetime, self._epoch())

    def refuse(self, data: bytes, request: pcp.Request, code: str) -> bytes | None:
        """The refusal of a request for a problem's code."""
        # PEER wants back what it had: another port is of no use to it (§12.3).
        is_exact = isinstance(request.body, pcp.Peer) or PreferFailure() in request.options
        return self._error(data, pcp_result(code, exact=is_exact))

    async def serve(self, data: bytes, request: pcp.Request, who: Asking) -> bytes | None:
        """Carry the request in `data` out; the answer.

        Raises:
            Problem: policy or a plane refused; `refuse` makes the answer of it.
        """
        try:
            match request.body:
                case pcp.Map():
                    response = await self._map(request, request.body, who)
                case pcp.Peer():
                    response = await self._peers.serve(request, request.body, who)
                case pcp.Announce():
                    return self.announce()
        except pcp.BadRequest as bad:
            return self._error(data, bad.result)
        return pcp.encode_response(replace(response, epoch=self._epoch()))

    async def _map(self, request: pcp.Request, body: pcp.Map, who: Asking) -> pcp.Response:
        options = read_options(request.options, body.inside_port, request.lifetime)
        place = find_place(self._inside, who, body, options.third_party)
        if request.lifetime == 0:
            await self._close(body, place, who)
            return pcp.Response(0, 0, body, request.options)
        outside = place.outside_address(self._inside)
        if options.exact:
            refuse_other_outside(place, body, outside)
        wished = body.outside_port if options.exact and place.host.version == 4 else 0
        mapping = await self._obtain(_ask(request, body, options, place, who), who)
        pair = pair_of(mapping, place.protocol, body.inside_port)
        assert pair is not None, "what was obtained leads to the port that was asked for"
        port = pair.outside.first + body.inside_port - pair.inside.first
        if wished and port != wished:  # somebody else's mapping, which leads here by another port
            raise pcp.BadRequest("reached by another port", pcp.Result.CANNOT_PROVIDE_EXTERNAL)
        granted = PortRange(body.inside_port, pair.inside.last)
        left = seconds_left(mapping, self._inside.now())
        answer = replace(body, outside_port=port, outside_address=outside)
        return pcp.Response(left, 0, answer, options.answered(granted, port))

    async def _obtain(self, ask: Obtain, who: Asking) -> Mapping:
        """Obtain a lease; of fewer ports where so many in a row are not free (RFC 7753 §4.3)."""
        try:
            return await self._leases.obtain(who.device, ask)
        except Problem as problem:
            if ask.ports.size == 1 or ask.exact or problem.code not in ("no-free-port", "lease-refused"):
                raise
        one = replace(ask, ports=PortRange(ask.ports.first, ask.ports.first))
        return await self._leases.obtain(who.device, one)

    async def _close(self, body: pcp.Map, place: Place, who: Asking) -> None:
        """End a lease. What is not there is ended (§15.1)."""
        if place.lease is not None:
            await self._leases.release(who.device, place.lease, body.nonce.hex(), who.rule)
        elif is_by_hand(self._inside.snapshot(), place.protocol, place.host, place.port):
            raise pcp.BadRequest("made by hand", pcp.Result.NOT_AUTHORIZED)

    def _error(self, data: bytes, result: pcp.Result | None) -> bytes | None:
        if result is None:  # nothing is said to that
            return None
        return pcp.encode_error(data, result, result.retry_after, self._epoch())


def _ask(request: pcp.Request, body: pcp.Map, options: MapOptions, place: Place, who: Asking) -> Obtain:
    """What a MAP asks the gate for. The same inside port is the same lease, whatever else is said (§11.3)."""
    lease = place.lease
    # What PEER opened for one peer is a listener's from now on: that peer is no filter of it.
    standing = None if lease is None or place.is_outbound else lease.sources
    sources = options.sources(standing, place.host.version)
    if sources is None and place.is_outbound:
        sources = Sources(anyone=True)
    is_hole = isinstance(place.host, IPv6Address)
    return Obtain(
        asker=who.asker,
        protocol=place.protocol,
        inside=place.host,
        ports=lease.ports[0].inside if lease else options.ports(body.inside_port),
        lifetime=clamp(request.lifetime),
        terms=LeaseTerms(protocol=LeaseProtocol.PCP, nonce=body.nonce.hex()),
        outside=None if is_hole else body.outside_port or None,
        exact=options.exact and not is_hole and body.outside_port != 0,
        sources=sources,
        nonce_rule=who.rule,
    )
