"""Public keys as SSH writes them (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4, OpenSSH's PROTOCOL.u2f)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from typing import Final

from sekimori.wire.errors import BadPacket

__all__ = ["ALGORITHMS", "RETIRED", "SECURITY_KEYS", "fingerprint", "measure_untrusted", "read_key_untrusted"]

SECURITY_KEYS: Final = frozenset({"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"})
"""Keys in a FIDO token."""

_CURVES: Final = {"nistp256": 65, "nistp384": 97, "nistp521": 133}
"""Bytes of an uncompressed point, by curve."""

ALGORITHMS: Final = frozenset(
    {"ssh-ed25519", "ssh-rsa", *(f"ecdsa-sha2-{curve}" for curve in _CURVES), *SECURITY_KEYS}
)
"""Kinds of keys that may log in."""

RETIRED: Final = frozenset({"ssh-dss"})

_ED25519_BYTES: Final = 32
_LENGTH: Final = struct.Struct("!I")


def fingerprint(blob: bytes) -> str:
    """`SHA256:…` as ssh-keygen(1) tells it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode()


def read_key_untrusted(algorithm: str, text: str) -> tuple[bytes, int]:
    """The blob that base64 `text` stands for, once it is a whole key of `algorithm`; and its bits, of RSA.

    Whether a point lies on its curve is for whoever verifies signatures by it.

    Raises:
        BadPacket: it is not such a key, or something follows it.
    """
    try:
        blob = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadPacket("not base64") from error
    return blob, measure_untrusted(algorithm, blob)


def measure_untrusted(algorithm: str, blob: bytes) -> int:
    """The bits of an RSA key, once it is known that a blob is a whole key of `algorithm`; 0 of other kinds.

    Raises:
        BadPacket: it is not such a key, or something follows it.
    """
    fields = _split_untrusted(blob)
    if not fields or fields[0] != algorithm.encode("ascii", "replace"):
        raise BadPacket("another kind of key")
    return _check_untrusted(algorithm, fields[1:])


def _check_untrusted(algorithm: str, fields: list[bytes]) -> int:
    """See that the fields after the name are those of the kind; the bits of an RSA modulus, else 0."""
    match algorithm, fields:
        case "ssh-rsa", [exponent, modulus]:
            bits = _positive_untrusted(modulus).bit_length()
            if _positive_untrusted(exponent) < 3 or not bits:
                raise BadPacket("not an RSA key")
            return bits
        case "ssh-ed25519", [point] if len(point) == _ED25519_BYTES:
            return 0
        case "sk-ssh-ed25519@openssh.com", [point, application] if len(point) == _ED25519_BYTES:
            if application:
                return 0
        case "sk-ecdsa-sha2-nistp256@openssh.com", [curve, point, application]:
            if application and curve == b"nistp256" and _is_point(point, "nistp256"):
                return 0
        case _, [curve, point] if algorithm.startswith("ecdsa-sha2-"):
            name = algorithm.removeprefix("ecdsa-sha2-")
            if curve == name.encode() and _is_point(point, name):
                return 0
        case _:
            pass
    raise BadPacket("not the fields of such a key")


def _is_point(point: bytes, curve: str) -> bool:
    return len(point) == _CURVES.get(curve) and point[0] == 4


def _positive_untrusted(field: bytes) -> int:
    """An mpint (RFC 4251 §5) above zero, written in the shortest way."""
    value = int.from_bytes(field, "big", signed=True)
    if value <= 0 or len(field) != value.bit_length() // 8 + 1:
        raise BadPacket("not a positive number")
    return value


def _split_untrusted(blob: bytes) -> list[bytes]:
    """The strings (RFC 4251 §5) that a blob is made of."""
    fields, at = [], 0
    while at < len(blob):
        if at + _LENGTH.size > len(blob):
            raise BadPacket("a length that is cut off")
        (length,) = _LENGTH.unpack_from(blob, at)
        at += _LENGTH.size
        if at + length > len(blob):
            raise BadPacket("a string that is cut off")
        fields.append(blob[at : at + length])
        at += length
    return fields
