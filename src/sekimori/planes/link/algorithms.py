"""What a link agrees to with a server: nothing that is known to be weak, the fast before the slow."""

from __future__ import annotations

from typing import Final

from asyncssh.connection import SSHConnection
from asyncssh.kex import get_kex_algs
from asyncssh.packet import SSHPacket
from asyncssh.public_key import get_default_certificate_algs, get_default_public_key_algs

__all__ = ["CIPHERS", "HOST_KEYS", "KEX", "MACS", "agreed", "is_open_to_terrapin"]

_KEX: Final = (
    # What is recorded now must not be read once there are quantum computers: these first.
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "mlkem768nistp256-sha256",
    "mlkem1024nistp384-sha384",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
)
_HAS: Final = frozenset(each.decode() for each in get_kex_algs())

KEX: Final = tuple(each for each in _KEX if each in _HAS)

CIPHERS: Final = (
    # On a processor with AES, GCM carries twice what chacha20 does; 128 bits before 256 for the same reason.
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
)
MACS: Final = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "umac-128-etm@openssh.com")
"""Only over what was encrypted (EtM)."""

_WEAK: Final = ("ssh-rsa", "ssh-rsa-cert-v01@openssh.com")  # they sign with SHA-1

HOST_KEYS: Final = tuple(
    each
    for each in (
        "ssh-ed25519",
        *(name.decode() for name in (*get_default_certificate_algs(), *get_default_public_key_algs())),
    )
    if each not in _WEAK and "@ssh.com" not in each
)


def agreed(conn: SSHConnection, host_key: str) -> dict[str, str]:
    """What was agreed with a server, by `kex`, `cipher`, `mac` and `host_key`."""
    cipher = str(conn.get_extra_info("send_cipher", ""))
    mac = str(conn.get_extra_info("send_mac", ""))
    return {
        "kex": _kex(conn),
        "cipher": cipher,
        "mac": "" if mac == cipher else mac,
        "host_key": host_key,
    }


def _kex(conn: SSHConnection) -> str:
    """The first of ours that the server has too (RFC 4253 §7.1): asyncssh forgets which one it was."""
    packet = SSHPacket(conn._server_kexinit)
    packet.get_bytes(17)  # the kind and the cookie
    theirs = {each.decode("ascii", "replace") for each in packet.get_namelist()}
    return next((each for each in KEX if each in theirs), "")


def is_open_to_terrapin(conn: SSHConnection) -> bool:
    """Whether somebody in between could have cut the first messages away (CVE-2023-48795): without strict key
    exchange, chacha20 and EtM MACs let them, and GCM does not.
    """
    return not conn._strict_kex and "gcm" not in str(conn.get_extra_info("send_cipher", ""))
