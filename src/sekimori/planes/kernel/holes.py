"""The look-ups of IPv6 pinholes: who may come in, what is counted in, what is counted out. Pure."""

from __future__ import annotations

from typing import Final

from sekimori.planes.kernel.frame import FORWARD_LABEL
from sekimori.planes.kernel.policies import FIRST

__all__ = ["HOLE_CHAINS"]

_ROUTED: Final = "::ffff:ffff:ffff:ffff"
"""The bits of an IPv6 address that are not its /64."""


def _hole_keys(side: str, port: str) -> tuple[tuple[str, str], ...]:
    """Suffixes of the pinhole sets with the key each is looked up by."""
    exact = f"meta l4proto . ip6 {side} . th {port}"
    suffix = f"meta l4proto . ip6 {side} & {_ROUTED} . th {port}"
    portless = f"meta l4proto . ip6 {side}"
    return (("", exact), ("r", exact), ("s", suffix), ("sr", suffix), ("p", portless), ("a", f"ip6 {side}"))


HOLE_CHAINS: Final = (
    ("holegates", tuple(f"{key} vmap @holegate{end}" for end, key in _hole_keys("daddr", "dport"))),
    (
        "holes",
        (
            f"{FIRST} jump holefresh",
            *(f"{key} @hole{end} goto admit" for end, key in _hole_keys("daddr", "dport")[:-1]),
            "meta l4proto . th dport vmap @trig6",
            "meta l4proto . ip6 daddr . th dport @holex return",
            "ip6 daddr @holea goto admit",
        ),
    ),
    ("holefresh", tuple(f"{key} @holefresh{end}" for end, key in _hole_keys("daddr", "dport"))),
    (
        "holesout",
        (
            *(f"{key} @holeout{end} accept" for end, key in _hole_keys("saddr", "sport")),
            f"ct label {FORWARD_LABEL} meta l4proto . th sport @trigout6 accept",
        ),
    ),
)
"""Chains without a hook, each with its rules."""
