"""Network settings of the kernel (`/proc/sys/net`): read, and set with the old value told.

The kernel shows each thread the values of the network namespace that the thread is in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sekimori.model.causes import os_cause
from sekimori.model.errors import Problem

__all__ = ["read_sysctl", "set_sysctl"]

_ROOT: Final = Path("/proc/sys")
_SWAP: Final = str.maketrans("./", "/.")


def read_sysctl(name: str) -> str | None:
    """The value of a setting, words apart by one space; None where this kernel has no such setting.

    Args:
        name: `net.ipv4.ip_forward` or `net/ipv4/ip_forward`. As for sysctl(8), the first separator
            decides: an interface with a dot is `net/ipv4/conf/eth0.7/rp_filter` or
            `net.ipv4.conf.eth0/7.rp_filter`.

    Raises:
        ValueError: the name is not one of `net`'s.
        Problem: `sysctl-not-read`.
    """
    try:
        return _read(_path(name))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Problem("sysctl-not-read", name=name, why=os_cause(error)) from None


def set_sysctl(name: str, value: str | int) -> str:
    """Set a setting, where it is not so already, and return what it was: what to set to undo it.

    Args:
        name: as for `read_sysctl`.
        value: one value, or several with spaces between.

    Raises:
        ValueError: the name is not one of `net`'s.
        Problem: `sysctl-not-set`.
    """
    path, wanted = _path(name), " ".join(str(value).split())
    try:
        old = _read(path)
        if old != wanted:  # a container's /proc/sys cannot be written to, though what it says may do
            path.write_text(f"{wanted}\n", encoding="ascii")
    except OSError as error:
        raise Problem("sysctl-not-set", name=name, value=wanted, why=os_cause(error)) from None
    return old


def _read(path: Path) -> str:
    return " ".join(path.read_text(encoding="ascii").split())


def _path(name: str) -> Path:
    separators = [char for char in name if char in "./"]
    relative = name.translate(_SWAP) if separators[:1] == ["."] else name
    parts = relative.split("/")
    if parts[0] != "net" or len(parts) < 2 or not all(parts) or {".", ".."} & set(parts):
        raise ValueError(f"not a network setting: {name!r}")
    return _ROOT.joinpath(*parts)
