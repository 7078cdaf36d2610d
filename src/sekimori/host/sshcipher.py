"""The cipher of one direction of an SSH connection, shared with asyncssh packet by packet.

It hangs on `_cipher` of asyncssh's GCMEncryption, and on `_key`, `_iv` and `_update_iv` of that.
"""

from __future__ import annotations

from typing import Any, cast

from asyncssh.encryption import Encryption, GCMEncryption
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Cipher"]


class Cipher:
    """AES-GCM with the key and the nonce of asyncssh's, which it keeps in step (RFC 5647 §7.1)."""

    __slots__ = ("_cipher", "_of", "aes")

    aes: AESGCM

    def __init__(self) -> None:
        self._of: Encryption | None = None
        self._cipher: Any = None

    def of(self, encryption: Encryption | None) -> Cipher:
        """Be that of a direction, which changes with every key exchange."""
        if self._of is not encryption:
            assert isinstance(encryption, GCMEncryption)
            self._of = encryption
            self._cipher = encryption._cipher
            self.aes = AESGCM(self._cipher._key)
        return self

    @property
    def nonce(self) -> bytes:
        """Of the next packet."""
        return cast(bytes, self._cipher._iv)

    def advance(self) -> None:
        """A packet has been dealt with."""
        self._cipher._update_iv()
