"""A key or certificate that a client showed, and the signature by which it proves to have it."""

from __future__ import annotations

from asyncssh.packet import PacketDecodeError, SSHPacket, String
from asyncssh.public_key import (
    CERT_TYPE_USER,
    KeyImportError,
    SSHKey,
    SSHOpenSSHCertificate,
    decode_ssh_certificate,
    decode_ssh_public_key,
)

from sekimori.doors.ssh.admission import Admitted, Certificate, Roster
from sekimori.model.address import IPAddress
from sekimori.wire.authorizedkeys import LEAST_RSA_BITS, KeyOptions
from sekimori.wire.errors import BadPacket
from sekimori.wire.sshkeys import measure_untrusted

__all__ = ["Proof"]

_SIGNATURES = frozenset(
    {
        b"ssh-ed25519",
        b"ecdsa-sha2-nistp256",
        b"ecdsa-sha2-nistp384",
        b"ecdsa-sha2-nistp521",
        b"rsa-sha2-256",
        b"rsa-sha2-512",
        b"sk-ssh-ed25519@openssh.com",
        b"sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
"""Kinds of signatures that are taken: none with SHA-1."""

_CERTIFICATE = b"-cert-v01@openssh.com"
_LONGEST = 65_536
_VERIFIED = 0x04
"""The flag in a FIDO signature that says the token knew its user (WebAuthn §6.1)."""


class Proof:
    """What a request to log in shows.

    Args:
        login: the login name.
        data: the key or certificate, a stranger's bytes.
        address: where it comes from.
    """

    def __init__(self, login: str, data: bytes, address: IPAddress) -> None:
        self._login = login
        self._data = data
        self._address = address
        self._key: SSHKey | None = None

    def admit(self, roster: Roster, now: float) -> Admitted | None:
        """Who comes in by it, once it is proved; None is nobody.

        Bytes that no line names are not even decoded.
        """
        try:
            if _kind(self._data).endswith(_CERTIFICATE):
                return self._admit_certificate(roster, now)
            admitted = roster.admit(self._data, self._address, now)
            if admitted is not None:
                self._key = decode_ssh_public_key(self._data)
        except (KeyImportError, PacketDecodeError, ValueError):  # not a key, or one that cannot be used
            return None
        return admitted

    def verify(self, session: bytes, message: bytes, signature: bytes, options: KeyOptions) -> bool:
        """Whether a signature over the session and the request is by the key that was admitted."""
        if self._key is None or not _is_taken(signature, options):
            return False
        self._key.set_touch_required(not options.no_touch)
        return self._key.verify(String(session) + message, signature)

    def _admit_certificate(self, roster: Roster, now: float) -> Admitted | None:
        if len(self._data) > _LONGEST:
            return None
        shown = decode_ssh_certificate(self._data)
        if not isinstance(shown, SSHOpenSSHCertificate) or not roster.knows(shown.signing_key.public_data):
            return None
        if shown._cert_type != CERT_TYPE_USER or _kind(_signature(shown, self._data)) not in _SIGNATURES:
            return None
        if _is_weak(shown.key):
            return None
        self._key = shown.key
        certificate = _read(shown)
        return roster.admit_certified(shown.key.public_data, certificate, self._login, self._address, now)


def _is_weak(key: SSHKey) -> bool:
    """Whether no line could have a certified key: RSA of few bits, or a kind that is not taken.

    sshd 9.2 holds certified keys to RequiredRSASize as it does others (auth2-pubkey.c, userauth_pubkey();
    tried: `refusing RSA-CERT key: Invalid key length`), but not the keys that certify. Those stand in a line
    here, and are held to it there.
    """
    algorithm = key.algorithm.decode()
    try:
        bits = measure_untrusted(algorithm, key.public_data)
    except BadPacket:
        return True
    return algorithm == "ssh-rsa" and bits < LEAST_RSA_BITS


def _read(shown: SSHOpenSSHCertificate) -> Certificate:
    options = shown.options
    sources = options.get("source-address")
    command = options.get("force-command")
    return Certificate(
        authority=shown.signing_key.public_data,
        principals=tuple(shown.principals),
        valid_from=shown._valid_after,
        valid_until=shown._valid_before,
        sources=None if sources is None else tuple(sources),  # type: ignore[arg-type]
        forwards=bool(options.get("permit-port-forwarding")),
        command=None if command is None else str(command),
        no_touch=bool(options.get("no-touch-required")),
    )


def _is_taken(signature: bytes, options: KeyOptions) -> bool:
    """Whether a signature is of a kind that is taken, and its token knew its user where that is asked."""
    try:
        packet = SSHPacket(signature)
        kind = packet.get_string()
        if kind not in _SIGNATURES:
            return False
        if options.verify:
            packet.get_string()
            return bool(packet.get_byte() & _VERIFIED)
    except PacketDecodeError:
        return False
    return True


def _kind(data: bytes) -> bytes:
    return SSHPacket(data).get_string() if data else b""


def _signature(shown: SSHOpenSSHCertificate, data: bytes) -> bytes:
    """What stands in a certificate after the key that signed it."""
    _, found, rest = data.rpartition(String(shown.signing_key.public_data))
    return SSHPacket(rest).get_string() if found else b""
