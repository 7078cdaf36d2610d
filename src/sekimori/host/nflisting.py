"""The whole ruleset listed by a process of its own.

What others have put into the kernel may be more than this libnftables understands, and it then ends the
process that it is in (an assertion, in 1.0.6 more than one). That is not to be the daemon.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

from sekimori.host.nfsocket import NetfilterError
from sekimori.host.nftables import Nftables, NftError, NftUnavailable

__all__ = ["list_ruleset_apart", "main"]

_TIMEOUT: Final = 30.0
_UNAVAILABLE: Final = 2


def list_ruleset_apart() -> dict[str, Any]:
    """What `Nftables.list_ruleset` tells, of the network namespace of this thread. Blocks.

    Raises:
        NftUnavailable: there is no nftables here, or not for this process.
        NftError: nft or the kernel refused, or the listing ended by a fault of nft's.
    """
    # -P: the directory it is started in must not be a place to import from.
    command = [sys.executable, "-P", "-m", __name__]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NftError(str(error)) from error
    said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
    if done.returncode == _UNAVAILABLE:
        raise NftUnavailable(said[0])
    if done.returncode != 0:
        raise NftError(said[0])
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def main() -> int:
    """Print the listing."""
    try:
        with Nftables() as nftables:
            document = nftables.list_ruleset()
    except NftUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return _UNAVAILABLE
    except (NftError, NetfilterError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    json.dump(document, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
