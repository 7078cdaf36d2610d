"""Signatures by which clients prove to have a key, made by hand."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import time

import asyncssh
import pytest
from asyncssh.packet import Byte, String, UInt32
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekimori.doors.ssh.admission import Roster
from sekimori.doors.ssh.keysource import FileKeys, rows_of
from sekimori.doors.ssh.proof import Proof
from sekimori.doors.ssh.rosterframes import RosterReader, roster_frames
from sekimori.model.user import Grant

HERE = ipaddress.ip_address("192.0.2.1")
SESSION, MESSAGE = b"session", b"message"
SK = "sk-ssh-ed25519@openssh.com"


def roster(line: str) -> Roster:
    (frame,), _ = roster_frames(rows_of([], FileKeys((("alice", line),)), Grant()), [], "UTC")
    reader = RosterReader()
    found = reader.take(frame)
    assert found is not None
    assert not reader.problems
    return found


def is_taken(line: str, blob: bytes, signature: bytes, session: bytes = SESSION) -> bool:
    proof = Proof("door", blob, HERE)
    admitted = proof.admit(roster(line), time.time())
    assert admitted is not None
    return proof.verify(session, MESSAGE, signature, admitted.options)


def line_of(blob: bytes, kind: str) -> str:
    return f"{kind} {base64.b64encode(blob).decode()}"


def test_rsa_with_sha2_and_not_with_sha1() -> None:
    key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    blob = key.public_data
    line = line_of(blob, "ssh-rsa")
    data = String(SESSION) + MESSAGE
    assert is_taken(line, blob, key.sign(data, b"rsa-sha2-256"))
    assert is_taken(line, blob, key.sign(data, b"rsa-sha2-512"))
    assert not is_taken(line, blob, key.sign(data, b"ssh-rsa"))
    assert not is_taken(line, blob, key.sign(data, b"rsa-sha2-256"), b"another session")
    other = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    assert not is_taken(line, blob, other.sign(data, b"rsa-sha2-256"))
    for broken in (b"", b"x", String(b"rsa-sha2-256"), String(b"rsa-sha2-256") + String(b"")):
        assert not is_taken(line, blob, broken)


class Token:
    """A FIDO key (OpenSSH's PROTOCOL.u2f)."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        self.blob = String(SK) + String(self._key.public_key().public_bytes(*raw)) + String("ssh:")

    def sign(self, flags: int) -> bytes:
        message = hashlib.sha256(String(SESSION) + MESSAGE).digest()
        signed = hashlib.sha256(b"ssh:").digest() + Byte(flags) + UInt32(7) + message
        return String(SK) + String(self._key.sign(signed)) + Byte(flags) + UInt32(7)


@pytest.mark.parametrize(
    ("options", "flags", "taken"),
    [
        ("", 0, False),
        ("", 1, True),
        ("", 5, True),
        ("no-touch-required", 0, True),
        ("no-touch-required,touch-required", 0, False),
        ("verify-required", 1, False),
        ("verify-required", 5, True),
        ("verify-required,no-touch-required", 4, True),
        ("verify-required,no-touch-required", 0, False),
    ],
)
def test_tokens(options: str, flags: int, taken: bool) -> None:
    token = Token()
    line = f"{options} {line_of(token.blob, SK)}".strip()
    assert is_taken(line, token.blob, token.sign(flags)) is taken


@pytest.mark.parametrize(
    "blob", [b"", b"\0\0\0\x0bssh-ed25519", String("ssh-ed25519-cert-v01@openssh.com"), b"\xff" * 9]
)
def test_bytes_that_are_no_key(blob: bytes) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519").public_data
    assert Proof("door", blob, HERE).admit(roster(line_of(key, "ssh-ed25519")), time.time()) is None


@pytest.mark.parametrize(
    ("kind", "size", "comes_in"),
    [
        ("ssh-rsa", 1024, False),
        ("ssh-rsa", 2047, False),
        ("ssh-rsa", 2048, True),
        ("ssh-ed25519", 0, True),
        ("ecdsa-sha2-nistp256", 0, True),
        ("ssh-dss", 0, False),
    ],
)
def test_certified_keys_are_held_to_what_others_are(kind: str, size: int, comes_in: bool) -> None:
    authority = asyncssh.generate_private_key("ssh-ed25519")
    key = asyncssh.generate_private_key(kind, key_size=size) if size else asyncssh.generate_private_key(kind)
    certificate = authority.generate_user_certificate(key, "key", principals=["alice"])
    there = roster(f"cert-authority {line_of(authority.public_data, 'ssh-ed25519')}")
    found = Proof("alice", certificate.public_data, HERE).admit(there, time.time())
    assert (found is not None) is comes_in
