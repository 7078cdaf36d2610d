"""What a refusal is called in NAT-PMP and in PCP."""

from __future__ import annotations

from typing import Final

from sekimori.wire import natpmp, pcp

__all__ = ["natpmp_result", "pcp_result"]

_NOT_ALLOWED: Final = frozenset(
    {"lease-refused", "not-permitted", "lease-nonce", "lease-paused", "risk-not-accepted"}
)
_TAKEN: Final = frozenset({"port-taken", "port-busy", "no-free-port"})


def natpmp_result(code: str) -> natpmp.Result:
    """The result code (RFC 6886 §3.5) for a problem's code."""
    if code in _NOT_ALLOWED:
        return natpmp.Result.NOT_AUTHORIZED
    if code in _TAKEN or code == "lease-quota":
        return natpmp.Result.OUT_OF_RESOURCES
    return natpmp.Result.NETWORK_FAILURE


def pcp_result(code: str, *, exact: bool) -> pcp.Result:
    """The result code (RFC 6887 §7.4) for a problem's code.

    Args:
        code: the problem's.
        exact: whether that outside port was asked for or none: only then may the answer be that it cannot be
            provided (§7.4, CANNOT_PROVIDE_EXTERNAL).
    """
    if code in _NOT_ALLOWED:
        return pcp.Result.NOT_AUTHORIZED
    if code == "lease-quota":
        return pcp.Result.USER_EX_QUOTA
    if code in _TAKEN:
        return pcp.Result.CANNOT_PROVIDE_EXTERNAL if exact else pcp.Result.NO_RESOURCES
    return pcp.Result.NETWORK_FAILURE
