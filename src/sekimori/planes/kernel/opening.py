"""Taking up the kernel plane: whether this machine can have it, and what it needs."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

import structlog

from sekimori.host.nfmonitor import Monitor
from sekimori.host.nfsocket import NfSocket
from sekimori.host.nftables import NftError, NftUnavailable
from sekimori.model.causes import Text, cause
from sekimori.model.network import Network
from sekimori.model.source import LAN_PREFIXES
from sekimori.planes.kernel.absent import AbsentKernel
from sekimori.planes.kernel.cutting import Cutter
from sekimori.planes.kernel.frame import DMZ_LABEL, Frame
from sekimori.planes.kernel.plane import KernelPlane
from sekimori.planes.kernel.policies import sources_policy
from sekimori.planes.kernel.structure import structure_text
from sekimori.planes.kernel.table import Table

__all__ = ["KernelSide", "open_kernel"]

KernelSide = KernelPlane | AbsentKernel
"""The kernel plane, or what stands in for it."""

_log = structlog.get_logger("kernel")

_FEATURES: Final = (
    ("conntrack labels (CONFIG_NF_CONNTRACK_LABELS)", f"ct label set {DMZ_LABEL}"),
    ("look-ups of sockets (CONFIG_NFT_SOCKET)", "meta l4proto tcp socket wildcard 0 return"),
    ("conntrack state (CONFIG_NFT_CT)", "ct state new accept"),
)
"""What a kernel may be built without, in nftables' rules of a chain at prerouting."""


def open_kernel() -> KernelSide:
    """The kernel plane in the network namespace of this thread, or what stands in for it. Blocks."""
    with ExitStack() as stack:
        try:
            monitor = stack.enter_context(Monitor())
            table = Table(monitor)
            stack.callback(table.close)
            cutter = Cutter(stack.enter_context(NfSocket()))
        except NftUnavailable as error:
            return AbsentKernel(cause("kernel-no-nftables", why=str(error)))
        except OSError:  # EPERM without CAP_NET_ADMIN
            return AbsentKernel(cause("kernel-no-rights"))
        why = _lacking(table)
        if why is not None:
            return AbsentKernel(why)
        plane = KernelPlane(table, cutter, monitor)
        plane.adopt(stack.pop_all())
        return plane


def _lacking(table: Table) -> Text | None:
    """What the kernel lacks for the table, tried without making it; None when all is there."""
    everything = sources_policy(LAN_PREFIXES).text + structure_text(Frame(Network()))
    try:
        table.check(f"add table inet sekimori\n{everything}")
    except NftError as error:
        if "Operation not permitted" in error.text:
            return cause("kernel-no-rights")
        _log.warning("kernel_plane_refused", why=error.text)
        return cause("kernel-lacks", feature=_missing_feature(table) or error.text.splitlines()[0])
    return None


def _missing_feature(table: Table) -> str | None:
    for name, rule in _FEATURES:
        chain = "{ type filter hook prerouting priority -105 ; }"
        text = f"add table inet sekimori_try\nadd chain inet sekimori_try c {chain}\n"
        try:
            table.check(f"{text}add rule inet sekimori_try c {rule}\n")
        except NftError:
            return name
    return None
