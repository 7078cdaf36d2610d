"""A link tried once, for `link add` and `link test`: what its hops show, and what may be done there."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncssh
from asyncssh import ChannelListenError, ChannelOpenError, SSHClientConnection, SSHKey, SSHTCPSession

from sekimori.model.errors import Problem
from sekimori.model.link import SshPlace
from sekimori.model.linkfacts import HostKey, KeyStanding
from sekimori.planes.link.algorithms import HOST_KEYS, KEX
from sekimori.planes.link.hostkeys import Pins, describe, judge
from sekimori.planes.link.joining import Joined, deadline_of, join, join_hop, problem_of, wire_to
from sekimori.planes.link.liveness import ping
from sekimori.planes.link.opening import cause_of
from sekimori.planes.link.resolving import Plan

__all__ = ["run_once"]

_EACH: Final = 8.0
"""Seconds for each thing that is tried."""
_DIAL: Final = 2.5
"""Seconds for one address at which a port there may answer: where it is filtered, nothing ever does."""
_UNTRUSTED: Final = frozenset({"host-key-changed", "host-key-unknown", "link-host-certificate"})


async def run_once(line: str, *, test: bool) -> int:
    """Read a link's document (JSON), try it, print what came of it (JSON); an exit code.

    Of a scan: {"keys":[{"place","algorithm","key","fingerprint","standing","expected":[]}],
    "problem":{"code","facts"}|null}, keys in the order of the hops, up to the first that is not reached or
    that must be trusted first. Of a test: `model.linkfacts.LinkTest`, the problem as above.
    """
    try:
        plan = Plan.read(json.loads(line))
        result = await (_test(plan) if test else _scan(plan))
    except Problem as problem:
        result = {"problem": _told(problem), **({} if test else {"keys": []})}
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def _told(problem: Problem) -> dict[str, Any]:
    return {"code": problem.code, "facts": problem.facts}


async def _scan(plan: Plan) -> dict[str, Any]:
    keys: list[HostKey] = []
    problem: Problem | None = None
    tunnel: SSHClientConnection | None = None
    place = plan.hops[0]
    seconds = deadline_of(plan)
    try:
        async with asyncio.timeout(seconds):
            for number, place in enumerate(plan.hops):
                pins = plan.pins_of(place)
                keys.append(await _shown(plan, place, pins, tunnel))
                if number < len(plan.hops) - 1:
                    # The next one is behind this: it must be logged in at, and so be trusted.
                    tunnel = await join_hop(plan, place, tunnel)
    except Problem as error:
        problem = error
    except TimeoutError:
        problem = Problem("link-timeout", place=str(place), link=plan.name, seconds=int(seconds))
    finally:
        if tunnel is not None:
            tunnel.abort()
    return {
        "keys": [
            {
                "place": each.place,
                "algorithm": each.algorithm,
                "key": each.key,
                "fingerprint": each.fingerprint,
                "standing": each.standing,
                "expected": list(each.expected),
            }
            for each in keys
        ],
        "problem": None if problem is None else _told(problem),
    }


async def _shown(plan: Plan, place: SshPlace, pins: Pins, tunnel: SSHClientConnection | None) -> HostKey:
    if pins.authorities and (key := await _certified(plan, place, pins, tunnel)) is not None:
        return describe(str(place), key, KeyStanding.PINNED)
    where = await asyncio.to_thread(plan.resolve, place)
    first = [alg.decode() for key in pins.keys for alg in key.sig_algorithms if alg.decode() in HOST_KEYS]
    plain = [each for each in HOST_KEYS if "-cert-" not in each]
    try:
        async with wire_to(where, tunnel) as (wire, proxy):
            shown: SSHKey | None = await asyncssh.get_server_host_key(
                place.host,
                place.port or (),
                config=list(plan.config) or None,
                kex_algs=KEX,
                server_host_key_algs=list(dict.fromkeys((*first, *plain))),
                options=asyncssh.SSHClientConnectionOptions(config=None, client_keys=None),
                **wire,
            )
        if proxy is not None:
            proxy.end()
    except (asyncssh.Error, OSError, ValueError) as error:
        raise problem_of(plan, place, where.user, error) from None
    if shown is None:
        raise Problem("host-key-unasked", place=str(place))
    return judge(str(place), where.host, where.port, shown, pins)


async def _certified(
    plan: Plan, place: SshPlace, pins: Pins, tunnel: SSHClientConnection | None
) -> SSHKey | None:
    """The host key of a place that is pinned, or that an authority which is pinned has signed; None of any
    other. Only who goes on to log in is shown a certificate.
    """
    try:
        conn = await join_hop(plan, place, tunnel)
    except Problem as problem:
        if problem.code in _UNTRUSTED:
            return None
        raise
    try:
        return conn.get_server_host_key()
    finally:
        conn.abort()


async def _test(plan: Plan) -> dict[str, Any]:
    joined = await join(plan)
    try:
        rtt = await ping(joined.conn)
        # Another Sekimori tells by the destination, which its users are granted one by one.
        local, local_why = (None, "") if joined.is_sekimori else await _try(_open_channel, joined)
        remote, remote_why = await _try(_ask_port, joined)
        outside = await _reach_port(joined) if remote and not joined.is_sekimori else None
        return {
            "problem": None,
            "tried": ["publickey"],
            "local": local,
            "local_why": local_why,
            "remote": remote,
            "remote_why": remote_why,
            "outside": outside,
            "sekimori": joined.is_sekimori,
            "rtt": rtt,
            "server": joined.server,
            "algorithms": joined.algorithms,
        }
    finally:
        await joined.close()


async def _try(what: Callable[[Joined], Awaitable[str]], joined: Joined) -> tuple[bool | None, str]:
    """Whether something may be done; None where no answer came. And what was said where not."""
    try:
        async with asyncio.timeout(_EACH):
            why = await what(joined)
    except TimeoutError:
        return None, ""
    return not why, why


async def _open_channel(joined: Joined) -> str:
    # Port 1 is nobody's: "refused" means that it was tried, and so that it may be.
    try:
        chan, _session = await joined.conn.create_connection(SSHTCPSession, "127.0.0.1", 1, "127.0.0.1", 0)
    except ChannelOpenError as error:
        return error.reason if cause_of(error) == "prohibited" else ""
    chan.abort()
    return ""


async def _ask_port(joined: Joined) -> str:
    try:
        listener = await joined.conn.create_server(lambda _host, _port: False, "127.0.0.1", 0)
    except ChannelListenError as error:
        return str(error)
    listener.close()
    await listener.wait_closed()
    return ""


async def _reach_port(joined: Joined) -> bool | None:
    """Whether others come in by a port there; None where that cannot be told.

    sshd agrees to listen, and listens on loopback alone, unless its GatewayPorts says otherwise
    (sshd_config(5)). So the port is dialled from the far machine: at an address of it that a socket bound to
    127.0.0.1 does not answer at, and at 127.0.0.1. Where it is no Linux, 127.0.0.2 is nobody's; then the
    address that we see of it may tell, unless that is a router's.
    """
    try:
        async with asyncio.timeout(_EACH):
            listener = await joined.conn.create_server(lambda _host, _port: False, "", 0)
            try:
                port = listener.get_port()
                peer = joined.conn.get_extra_info("peername") or ("",)  # so it is through a jump, too
                for host in ("127.0.0.2", *(peer[:1] if peer[0] and not _is_loopback(peer[0]) else ())):
                    if await _dials(joined, host, port):
                        return True
                return False if await _dials(joined, "127.0.0.1", port) else None
            finally:
                listener.close()
                await listener.wait_closed()
    except (ChannelListenError, TimeoutError):
        return None


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


async def _dials(joined: Joined, host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_DIAL):
            chan, _session = await joined.conn.create_connection(SSHTCPSession, host, port, "127.0.0.1", 0)
    except (ChannelOpenError, TimeoutError):
        return False
    chan.abort()
    return True
