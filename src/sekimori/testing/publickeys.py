"""Public keys for tests: well-formed, and nobody has their private halves."""

from __future__ import annotations

import base64
import hashlib

__all__ = ["public_key"]


def public_key(seed: str, options: str = "") -> str:
    """A line of authorized_keys with an ed25519 key; the same seed is the same key."""
    name, point = b"ssh-ed25519", hashlib.sha256(seed.encode()).digest()
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (name, point))
    line = f"{name.decode()} {base64.b64encode(blob).decode()} {seed}"
    return f"{options} {line}" if options else line
