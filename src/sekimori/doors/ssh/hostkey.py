"""The door's own key: made at its first use, and kept where the daemon keeps what must outlast it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekimori.host.writing import write_whole
from sekimori.wire.sshkeys import fingerprint

__all__ = ["HostKey", "load_host_key"]

_NAME: Final = "ssh-host-ed25519"


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host key.

    Attributes:
        private: as OpenSSH writes private keys; it goes to the door's process and nowhere else.
        public: `ssh-ed25519 AAAA…`.
    """

    private: str
    public: str

    @property
    def told(self) -> str:
        """`ssh-ed25519 SHA256:…`, as users compare it."""
        algorithm, blob = self.public.split()
        return f"{algorithm} {fingerprint(base64.b64decode(blob))}"


def load_host_key(directory: Path) -> HostKey:
    """The key in a directory, made where there is none. Blocks.

    Raises:
        OSError: it cannot be read or written.
        ValueError: what is there is no such key. It is left as it is: clients know the one that was.
    """
    # Here, because cryptography takes longer to load than all the rest that the daemon needs to answer.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = directory / _NAME
    try:
        private = path.read_bytes()
    except FileNotFoundError:
        private = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        write_whole(path, private)
    key = serialization.load_ssh_private_key(private, None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} holds another kind of key")
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return HostKey(private.decode(), public.decode())
