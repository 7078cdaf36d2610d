"""One SSH connection as the door serves it: asyncssh's, less all that is not forwarding.

What asyncssh would do by itself with keys, options, addresses to listen on and places to connect to is not
used: a key is judged by `admission`, and every port and every channel by the `Guest`. It hangs on these names
inside asyncssh 2.24: `_send_version`, `_send_kexinit`, `send_newkeys`, `_process_…_open`,
`_process_…_global_request`, `_report_global_response`, `_global_request_queue`, `_enc_algs`, `_strict_kex`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, cast

import asyncssh
from asyncssh import ChannelOpenError, DisconnectError, SSHServerChannel, SSHServerSession
from asyncssh.channel import SSHTCPChannel, SSHUNIXChannel
from asyncssh.connection import SSHServerConnection, SSHServerConnectionOptions
from asyncssh.constants import (
    DISC_KEY_EXCHANGE_FAILED,
    DISC_NO_MORE_AUTH_METHODS_AVAILABLE,
    DISC_TOO_MANY_CONNECTIONS,
    MSG_CHANNEL_OPEN,
    MSG_GLOBAL_REQUEST,
    MSG_KEXINIT,
    MSG_USERAUTH_REQUEST,
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_RESOURCE_SHORTAGE,
)
from asyncssh.kex import get_kex_algs
from asyncssh.packet import SSHPacket, UInt32
from asyncssh.session import SSHTCPSession, SSHUNIXSession

from sekimori.doors.ssh.admission import Admitted
from sekimori.doors.ssh.proof import Proof
from sekimori.doors.ssh.words import plain
from sekimori.host.sshpump import PACKET, WINDOW
from sekimori.model.address import IPAddress

__all__ = ["BANNER", "DEADLINE", "DoorConnection", "Guest", "make_options"]

BANNER: Final = b"SSH-2.0-Sekimori"
DEADLINE: Final = 20.0
"""Seconds for the key exchange and the login, together."""

_MOST_TRIES: Final = 10
"""Keys that may be tried in vain, and requests to log in beyond them (the first is `none`)."""
_MOST_REQUESTS: Final = 1024
"""Requests that wait for an answer: ssh(1) asks for all its `-R` at once, and a session may have 1000."""
_MOST_CHANNELS: Final = 4096

_KEX: Final = (
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
)
_GCM: Final = (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com")
_CHACHA: Final = b"chacha20-poly1305@openssh.com"
_SIGNATURES: Final = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_SPEAKS_FIRST: Final = re.compile(rb"SSH-2\.0-(?:OpenSSH_|AsyncSSH_2|Sekimori|Go\b)")
"""Clients that tell their algorithms without waiting for ours. Those that have AES-GCM are then offered
nothing else: it is several times as fast as ChaCha20 here, but theirs is the order that counts (RFC 4253
§7.1), and OpenSSH puts ChaCha20 first."""


class Guest(Protocol):
    """Who decides for a connection what its client may do."""

    def admit(self, proof: Proof, now: float) -> Admitted | None:
        """Who comes in by a key that was shown; None is nobody."""
        ...

    def keyed(self) -> None:
        """The first key exchange is done."""
        ...

    async def listen(self, host: str, port: int) -> int | None:
        """Open a port (RFC 4254 §7.1); which one, or None where it may not be."""
        ...

    async def unlisten(self, host: str, port: int) -> bool:
        """Close it again; false where it is not open."""
        ...

    async def reach(self, host: str, port: int) -> SSHTCPSession[bytes]:
        """Connect to a place (RFC 4254 §7.2).

        Raises:
            ChannelOpenError: it may not be, or could not.
        """
        ...

    def visit(self, channel: SSHServerChannel[str]) -> SSHServerSession[str]:
        """Who talks on a session channel.

        Raises:
            ChannelOpenError: nobody.
        """
        ...

    def refuse_path(self) -> None:
        """A unix socket was asked for, to listen on or to reach."""
        ...


def make_options(
    host_keys: list[bytes], server: Callable[[], asyncssh.SSHServer]
) -> SSHServerConnectionOptions:
    """What all connections have in common. Blocks: load it in a thread.

    Args:
        host_keys: private keys as OpenSSH writes them.
        server: makes the owner of each connection.
    """
    there = {name.decode() for name in get_kex_algs()}
    return SSHServerConnectionOptions(
        server_factory=server,
        server_version=BANNER.removeprefix(b"SSH-2.0-").decode(),
        server_host_keys=[asyncssh.import_private_key(key) for key in host_keys],
        config=None,
        kex_algs=[name for name in _KEX if name in there],
        encryption_algs=[name.decode() for name in (*_GCM, _CHACHA)],
        mac_algs=["hmac-sha2-256-etm@openssh.com"],  # named and never used: both kinds of cipher are AEAD
        compression_algs=["none"],
        signature_algs=list(_SIGNATURES),
        host_based_auth=False,
        kbdint_auth=False,
        password_auth=False,
        gss_host=None,
        x11_forwarding=False,
        agent_forwarding=False,
        login_timeout=DEADLINE,
        keepalive_interval=0,
        line_editor=False,
    )


class DoorConnection(SSHServerConnection):
    """A connection whose socket has been greeted with `BANNER` already.

    Attributes:
        admitted: who it is, once a signature was verified.
        tries: keys that were tried in vain.
        guest: who decides; set before anything is received.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, options: SSHServerConnectionOptions) -> None:
        super().__init__(loop, options)
        self.admitted: Admitted | None = None
        self.tries = 0
        self.guest: Guest
        self._asked = 0

    @property
    def peer(self) -> IPAddress:
        """The client's address; of an IPv4 address in IPv6's clothes, the address."""
        address = ipaddress.ip_address(self._peer_addr.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return cast(IPAddress, mapped or address)

    @property
    def client(self) -> str:
        """The client's version string."""
        return plain(self._client_version.decode("ascii", "replace"), 128)

    # -- keys ----------------------------------------------------------------------------------

    def _send_version(self) -> None:
        self._server_version = BANNER  # the entrance has sent it
        self.set_extra_info(server_version=BANNER.decode())

    def _send_kexinit(self) -> None:
        if self._session_id or not _SPEAKS_FIRST.match(self._client_version):
            super()._send_kexinit()

    async def _process_kexinit(self, kind: int, number: int, packet: SSHPacket) -> None:
        if not self._session_id and _SPEAKS_FIRST.match(self._client_version):
            if not _ciphers(packet).isdisjoint(_GCM):
                self._enc_algs = list(_GCM)
            super()._send_kexinit()
        await super()._process_kexinit(kind, number, packet)

    def send_newkeys(self, k: bytes, h: bytes) -> None:
        """Go over to the new keys, but not to ones that an attacker on the way may cut short.

        Raises:
            DisconnectError: the client knows no strict key exchange, which its cipher needs (CVE-2023-48795).
        """
        if _CHACHA in (self._enc_alg_cs, self._enc_alg_sc) and not self._strict_kex:
            raise DisconnectError(DISC_KEY_EXCHANGE_FAILED, "strict key exchange, or AES-GCM, is needed")
        super().send_newkeys(k, h)
        self.guest.keyed()

    # -- login ---------------------------------------------------------------------------------

    async def reload_config(self) -> None:
        """Nothing depends on the login name."""

    def _process_userauth_request(self, kind: int, number: int, packet: SSHPacket) -> Any:
        self._asked += 1
        if self.tries > _MOST_TRIES or self._asked > 4 * _MOST_TRIES:
            raise DisconnectError(DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "too many keys were tried")
        return super()._process_userauth_request(kind, number, packet)

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """Whether a key lets somebody in; with `msg`, whether its signature does."""
        now = time.time()
        proof = Proof(username, key_data, self.peer)
        admitted = self.guest.admit(proof, now)
        if admitted is None or (msg and not proof.verify(self._session_id, msg, signature, admitted.options)):
            self.tries += 1
            return False
        if msg:
            self.admitted = admitted
        return True

    # -- forwarding ------------------------------------------------------------------------------

    def _process_global_request(self, kind: int, number: int, packet: SSHPacket) -> None:
        if len(self._global_request_queue) >= _MOST_REQUESTS:
            raise DisconnectError(DISC_TOO_MANY_CONNECTIONS, "too many requests at one time")
        super()._process_global_request(kind, number, packet)

    def _process_tcpip_forward_global_request(self, packet: SSHPacket) -> None:
        host, port = _place(packet)
        self.create_task(self._forward(host, port))

    async def _forward(self, host: str, port: int) -> None:
        opened = await self.guest.listen(host, port)
        if opened is None:
            self._report_global_response(False)
        else:
            self._report_global_response(True if port else UInt32(opened))

    def _process_cancel_tcpip_forward_global_request(self, packet: SSHPacket) -> None:
        host, port = _place(packet)
        self.create_task(self._cancel(host, port))

    async def _cancel(self, host: str, port: int) -> None:
        self._report_global_response(await self.guest.unlisten(host, port))

    def _process_streamlocal_forward_at_openssh_dot_com_global_request(self, _packet: SSHPacket) -> None:
        self.guest.refuse_path()
        self._report_global_response(False)

    def _process_cancel_streamlocal_forward_at_openssh_dot_com_global_request(
        self, _packet: SSHPacket
    ) -> None:
        self._report_global_response(False)

    def _process_channel_open(self, kind: int, number: int, packet: SSHPacket) -> None:
        if len(self._channels) >= _MOST_CHANNELS:
            packet.get_string()
            self.send_channel_open_failure(
                packet.get_uint32(), OPEN_RESOURCE_SHORTAGE, "too many channels", ""
            )
            return
        super()._process_channel_open(kind, number, packet)

    def _process_direct_tcpip_open(
        self, packet: SSHPacket
    ) -> tuple[SSHTCPChannel[bytes], SSHTCPSession[bytes]]:
        host, port = _text(packet), packet.get_uint32()
        (
            packet.get_string(),
            packet.get_uint32(),
        )  # where it comes from on the client's side, as the client says
        packet.check_end()
        channel = self.create_tcp_channel(window=WINDOW, max_pktsize=PACKET)
        reached: Awaitable[SSHTCPSession[bytes]] = self.guest.reach(host, port)
        return channel, cast(SSHTCPSession[bytes], reached)

    def _process_direct_streamlocal_at_openssh_dot_com_open(
        self, packet: SSHPacket
    ) -> tuple[SSHUNIXChannel[bytes], SSHUNIXSession[bytes]]:
        self.guest.refuse_path()
        raise ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, "unix sockets are not forwarded here")

    def _process_session_open(self, packet: SSHPacket) -> tuple[SSHServerChannel[str], SSHServerSession[str]]:
        packet.check_end()
        channel = SessionChannel(self, self._loop)
        try:
            return channel, self.guest.visit(channel)
        except ChannelOpenError:
            channel.forsake()
            raise


_LOCALE: Final = (b"LC_ALL", b"LC_MESSAGES", b"LANG")
_LONGEST_LOCALE: Final = 64


# asyncssh looks handlers up by the packet's kind, and not by their names.
DoorConnection._packet_handlers = {
    **SSHServerConnection._packet_handlers,
    MSG_KEXINIT: DoorConnection._process_kexinit,
    MSG_USERAUTH_REQUEST: DoorConnection._process_userauth_request,
    MSG_GLOBAL_REQUEST: DoorConnection._process_global_request,
    MSG_CHANNEL_OPEN: DoorConnection._process_channel_open,
}


class SessionChannel(SSHServerChannel[str]):
    """A channel for a session, of which nothing is kept but the language its client speaks."""

    _conn: Any

    def __init__(self, conn: DoorConnection, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(conn, loop, True, False, False, 0, 0, "utf-8", "replace", WINDOW, PACKET)
        self._locale: dict[bytes, bytes] = {}

    @property
    def language(self) -> str:
        """`en` or `ja`, by the client's locale: what is set and stands first counts (locale(7))."""
        locale = next(filter(None, map(self._locale.get, _LOCALE)), b"")
        return "ja" if locale.lower().startswith(b"ja") else "en"

    def forsake(self) -> None:
        """It was never opened."""
        self._loop.call_soon(self._cleanup)

    def _process_env_request(self, packet: SSHPacket) -> bool:
        name, value = packet.get_string(), packet.get_string()
        packet.check_end()
        if name not in _LOCALE:
            return False
        self._locale[name] = value[:_LONGEST_LOCALE]
        return True


def _ciphers(packet: SSHPacket) -> frozenset[bytes]:
    """What ciphers a key exchange offers in either direction (RFC 4253 §7.1)."""
    offer = SSHPacket(packet.get_full_payload())
    offer.get_bytes(17)  # the kind and the cookie
    offer.get_namelist(), offer.get_namelist()
    return frozenset(offer.get_namelist()) & frozenset(offer.get_namelist())


def _place(packet: SSHPacket) -> tuple[str, int]:
    host, port = _text(packet), packet.get_uint32()
    packet.check_end()
    return host, port


def _text(packet: SSHPacket) -> str:
    """A host as the client wrote it.

    Raises:
        ProtocolError: it is no text.
    """
    try:
        return packet.get_string().decode("utf-8")
    except UnicodeDecodeError:
        raise asyncssh.ProtocolError("a host that is no text") from None
