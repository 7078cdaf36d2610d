"""Makes the SSH connection of a link: through each jump host in turn, each with its own pinned key."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import asyncssh
from asyncssh import SSHClientConnection

from sekimori.host.resolver import explain_failure
from sekimori.host.sshline import Line
from sekimori.model.causes import Text, cause, os_cause
from sekimori.model.errors import Problem
from sekimori.model.link import SshPlace
from sekimori.planes.link.algorithms import agreed, is_open_to_terrapin
from sekimori.planes.link.hostkeys import Watcher
from sekimori.planes.link.proxycommand import Proxy, start_proxy
from sekimori.planes.link.resolving import Plan, Resolved

__all__ = [
    "DEADLINE",
    "REFUSALS",
    "SILENCE",
    "Joined",
    "deadline_of",
    "join",
    "join_hop",
    "problem_of",
    "unnumbered",
    "wire_to",
]

DEADLINE: Final = 10.0
"""Seconds for transport and login together."""
_MORE: Final = 5.0
"""More of them for each jump host."""
SILENCE: Final = 8.0
"""Seconds after which a peer that answers nothing is given up."""

REFUSALS: Final = frozenset(
    {
        "host-key-changed",
        "host-key-unknown",
        "bad-link",
        "link-auth",
        "link-bad-key",
        "link-bad-pin",
        "link-config",
        "link-host-certificate",
        "link-key-locked",
        "link-no-algorithms",
        "link-no-key",
        "link-no-strict",
    }
)
"""Codes of problems that another try will hardly mend."""

_CLOSING: Final = 2.0
_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")


@dataclass(frozen=True, slots=True)
class Joined:
    """A connection that is logged in.

    Attributes:
        conn: with the link's server.
        line: its wire.
        chain: those it goes through, the first one first, and itself.
    """

    conn: SSHClientConnection
    line: Line
    chain: tuple[SSHClientConnection, ...]

    @property
    def server(self) -> str:
        """The version string of the server."""
        return str(self.conn.get_extra_info("server_version", ""))

    @property
    def is_sekimori(self) -> bool:
        """Whether Sekimori's own SSH door answers there."""
        return self.server.removeprefix("SSH-2.0-").startswith("Sekimori")

    @property
    def algorithms(self) -> dict[str, str]:
        """What was agreed."""
        key = self.conn.get_server_host_key()
        return agreed(self.conn, "" if key is None else key.get_algorithm())

    async def close(self) -> None:
        """End it, the last first, and wait a little until that is done."""
        await _close(self.chain)


def deadline_of(plan: Plan) -> float:
    """Seconds in which a link must be up."""
    return DEADLINE + _MORE * (len(plan.hops) - 1)


async def join(plan: Plan) -> Joined:
    """Log in at every hop.

    Raises:
        Problem: why that cannot be.
    """
    chain: list[SSHClientConnection] = []
    seconds = deadline_of(plan)
    place = plan.hops[0]
    try:
        async with asyncio.timeout(seconds):
            for place in plan.hops:
                chain.append(await join_hop(plan, place, chain[-1] if chain else None))
                if is_open_to_terrapin(chain[-1]):
                    server = str(chain[-1].get_extra_info("server_version", ""))
                    raise Problem("link-no-strict", place=str(place), server=server)
        return Joined(chain[-1], Line(chain[-1]), tuple(chain))
    except ConnectionError:  # it was lost in the moment after the login
        await _close(chain)
        raise Problem("link-cut", place=str(place), link=plan.name, why=_plain("closed")) from None
    except TimeoutError:
        await _close(chain)
        raise Problem("link-timeout", place=str(place), link=plan.name, seconds=int(seconds)) from None
    except BaseException:
        await _close(chain)
        raise


async def join_hop(plan: Plan, place: SshPlace, tunnel: SSHClientConnection | None) -> SSHClientConnection:
    """Log in at one hop, through the one before.

    Raises:
        Problem: why that cannot be.
        TimeoutError: the caller's.
    """
    pins = plan.pins_of(place)
    watcher = Watcher(pins)
    # In a thread: files are read, and `Match exec` runs programs.
    options = await asyncio.to_thread(plan.options, place, pins)
    where = await asyncio.to_thread(plan.resolve, place)
    try:
        async with wire_to(where, tunnel) as (wire, proxy):
            if proxy is not None:
                watcher.on_lost = proxy.end
            conn = await asyncssh.connect(client_factory=lambda: watcher, **options, **wire)
    except asyncssh.HostKeyNotVerifiable:
        raise watcher.refusal(plan.name, str(place)) from None
    except (asyncssh.Error, OSError, ValueError) as error:
        raise problem_of(plan, place, where.user, error) from None
    _watch_wire(conn)
    return conn


@asynccontextmanager
async def wire_to(
    where: Resolved, tunnel: SSHClientConnection | None
) -> AsyncIterator[tuple[dict[str, Any], Proxy | None]]:
    """What a place is reached by, as arguments of asyncssh; and the program that does, which ends with an
    error here.
    """
    proxy = await start_proxy(where.command) if where.command and tunnel is None else None
    wire = {"tunnel": tunnel, "proxy_command": None, "sock": None if proxy is None else proxy.sock}
    try:
        yield wire, proxy
    except BaseException:
        if proxy is not None:
            proxy.end()
            proxy.sock.close()  # nobody may have taken it
        raise


def problem_of(plan: Plan, place: SshPlace, user: str, error: Exception) -> Problem:
    """Why a place is not reached, or does not let us in, by what asyncssh raised.

    Raises:
        TimeoutError: it was that, and the caller's.
    """
    text = str(place)
    match error:
        case asyncssh.ChannelOpenError():
            by = _before(plan, place)
            return Problem("link-jump", place=text, link=plan.name, by=by, why=_plain(error.reason))
        case asyncssh.PermissionDenied():
            keys = _plain(", ".join(plan.identity)) if plan.identity else cause("link-usual-keys")
            return Problem("link-auth", place=text, link=plan.name, user=user, keys=keys)
        case asyncssh.KeyExchangeFailed():
            return Problem("link-no-algorithms", place=text, why=_plain(error.reason))
        case asyncssh.Error():
            return Problem("link-cut", place=text, link=plan.name, why=unnumbered(error.reason))
        case socket.gaierror():
            return Problem("link-no-such-host", place=text, link=plan.name, why=explain_failure(error))
        case TimeoutError() if error.errno is None:
            raise error
        case OSError() if error.filename is not None:
            return Problem("link-config", file=str(error.filename), why=_why(error))
        case OSError():
            return Problem("link-refused", place=text, link=plan.name, why=_why(error))
    # What is left are files and settings that asyncssh cannot read.
    return Problem(
        "link-config", file=", ".join((*plan.config, *plan.identity)) or "~/.ssh", why=_plain(str(error))
    )


def unnumbered(text: str) -> Text:
    """A text of asyncio's or asyncssh's. Where it has the numbers of errors, as of several addresses that
    were tried, it is the causes of these, each once.
    """
    numbers = dict.fromkeys(map(int, _NUMBER.findall(text)))
    causes = [os_cause(OSError(number, os.strerror(number))) for number in numbers]
    if not causes:
        return _plain(text)
    return {"en": ", ".join(each["en"] for each in causes), "ja": "、".join(each["ja"] for each in causes)}


def _why(error: OSError) -> Text:
    return os_cause(error) if error.errno else unnumbered(str(error))


def _plain(text: str) -> Text:
    return {"en": text, "ja": text}


def _before(plan: Plan, place: SshPlace) -> str:
    return str(plan.hops[max(plan.hops.index(place) - 1, 0)])


def _watch_wire(conn: SSHClientConnection) -> None:
    """Have the kernel give up, too, when what we sent is not taken: it may be all that we do for a while."""
    sock = conn.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENCE * 1000))


async def _close(chain: list[SSHClientConnection] | tuple[SSHClientConnection, ...]) -> None:
    for conn in reversed(chain):
        conn.abort()
    with suppress(TimeoutError):  # nothing more can be done for a peer that is gone
        async with asyncio.timeout(_CLOSING):
            for conn in reversed(chain):
                await conn.wait_closed()
