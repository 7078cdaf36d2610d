"""PEER: an inside port that talks with one peer, and is to keep its outside port (RFC 6887 §12)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from sekimori.doors.portmap.options import sources_of
from sekimori.doors.portmap.places import Place, find_place, refuse_other_outside
from sekimori.doors.portmap.standing import Asking, clamp, pair_of, seconds_left
from sekimori.gate.devices import Inside, Leases
from sekimori.model.address import IPNetwork, PortRange
from sekimori.model.errors import Problem
from sekimori.model.lease import LeaseProtocol, LeaseTerms, NonceRule, Obtain
from sekimori.model.mapping import Mapping
from sekimori.model.source import Sources
from sekimori.wire import pcp
from sekimori.wire.pcpoptions import ThirdParty

__all__ = ["Peers"]

_MOST: Final = 16
"""Peers of one inside port."""


class Peers:
    """Carries PEER out.

    A peer is let in as the only source of a lease; a second one from the same inside port joins it, since
    they share the outside port. What the port leaves by is the kernel's, which gives a mapped port its own
    outside port on the way out. A lease that MAP made is left as it is, and at most made to last longer.
    """

    def __init__(self, leases: Leases, inside: Inside) -> None:
        self._leases = leases
        self._inside = inside

    async def serve(self, request: pcp.Request, body: pcp.Peer, who: Asking) -> pcp.Response:
        """The response; its epoch is not filled in.

        Raises:
            Problem: policy or a plane refused.
            pcp.BadRequest: the protocol refuses.
        """
        third = next((each.address for each in request.options if isinstance(each, ThirdParty)), None)
        place = find_place(self._inside, who, body, third)
        if body.peer_address.version != place.host.version:  # NAT64 is not made here
            raise _cannot("a peer of the other family")
        if request.lifetime == 0:
            await self._leave(body, place, who)
            return pcp.Response(0, 0, body, request.options)
        outside = place.outside_address(self._inside)
        refuse_other_outside(place, body, outside)
        mapping = await self._keep(request, body, place, who)
        pair = pair_of(mapping, place.protocol, place.port)
        assert pair is not None, "what was obtained leads to the port that was asked for"
        port = pair.outside.first + place.port - pair.inside.first
        if body.outside_port not in (0, port):
            raise _cannot(f"port {port} instead of {body.outside_port}")
        answer = replace(body, outside_port=port, outside_address=outside)
        return pcp.Response(seconds_left(mapping, self._inside.now()), 0, answer, request.options)

    async def _keep(self, request: pcp.Request, body: pcp.Peer, place: Place, who: Asking) -> Mapping:
        """The lease by which the peer is let in."""
        wished, before = clamp(request.lifetime), place.lease
        terms = LeaseTerms(protocol=LeaseProtocol.PCP, nonce=body.nonce.hex(), outbound=True)
        ask = Obtain(
            asker=who.asker,
            protocol=place.protocol,
            inside=place.host,
            ports=PortRange(place.port, place.port),
            lifetime=wished,
            terms=terms,
            outside=(body.outside_port or None) if place.host.version == 4 else None,
            exact=body.outside_port != 0 and place.host.version == 4,
            sources=_sources([ipaddress.ip_network(body.peer_address)]),
            nonce_rule=who.rule,
        )
        if before is None or before.lease is None:
            return await self._leases.obtain(who.device, ask)
        _hold_nonce(before, body.nonce.hex(), who)
        left = seconds_left(before, self._inside.now())
        ask = replace(ask, lifetime=max(wished, left), ports=before.ports[0].inside)
        if place.is_outbound:
            joined = _sources([*before.sources.prefixes, ipaddress.ip_network(body.peer_address)])
            return await self._leases.obtain(who.device, replace(ask, sources=joined))
        if left >= wished:
            return before
        return await self._leases.obtain(who.device, replace(ask, sources=None, terms=before.lease))

    async def _leave(self, body: pcp.Peer, place: Place, who: Asking) -> None:
        """Let a peer in no longer. A lease of MAP is not PEER's to end, nor to make shorter (§12.1)."""
        lease = place.lease
        if lease is None or lease.lease is None or not place.is_outbound:
            return
        _hold_nonce(lease, body.nonce.hex(), who)
        peer = ipaddress.ip_network(body.peer_address)
        rest = [each for each in lease.sources.prefixes if each != peer]
        if len(rest) == len(lease.sources.prefixes):
            return
        if not rest:
            await self._leases.release(who.device, lease, body.nonce.hex(), who.rule)
            return
        ask = Obtain(
            asker=who.asker,
            protocol=place.protocol,
            inside=place.host,
            ports=lease.ports[0].inside,
            lifetime=seconds_left(lease, self._inside.now()),
            terms=lease.lease,
            sources=_sources(rest),
            nonce_rule=who.rule,
        )
        await self._leases.obtain(who.device, ask)


def _sources(peers: Iterable[IPNetwork]) -> Sources:
    wanted = set(peers)
    if len(wanted) > _MOST:
        raise pcp.BadRequest(f"{len(wanted)} peers of one port", pcp.Result.NO_RESOURCES)
    return sources_of(wanted)


def _hold_nonce(lease: Mapping, nonce: str, who: Asking) -> None:
    """Hold a nonce against the lease's, also where the gate is not asked."""
    assert lease.lease is not None
    if who.rule is NonceRule.STRICT and lease.lease.nonce not in ("", nonce):
        raise Problem("lease-nonce", name=lease.name, who=who.device.label)


def _cannot(why: str) -> pcp.BadRequest:
    return pcp.BadRequest(why, pcp.Result.CANNOT_PROVIDE_EXTERNAL)
