"""Kernel settings that a gateway needs, set and given back; and routes that send replies out by their WAN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import structlog

from sekimori.host.policyroute import WanRoute, route_by_wan
from sekimori.host.sysctl import set_sysctl
from sekimori.model.errors import Problem
from sekimori.model.gateway import Gateway
from sekimori.model.network import HIGHEST_WAN_INDEX, Network, Wan
from sekimori.planes.kernel.frame import Frame
from sekimori.policy.machine import FORWARD4, FORWARD6, in_order, value_for

__all__ = ["COUNTING", "ReplyRoutes", "as_set_up", "give_back", "number_wans", "set_up", "switch_counting_on"]

COUNTING = ("net.netfilter.nf_conntrack_acct", "net.netfilter.nf_conntrack_timestamp")
"""Without them conntrack knows neither how much a flow carried nor since when it is there."""

_log = structlog.get_logger("kernel")


def set_up(gateway: Gateway) -> None:
    """Switch on what the gateway needs.

    Raises:
        Problem: `sysctl-not-set`.
    """
    for name, _ in in_order(gateway.found):
        set_sysctl(name, value_for(name))


def as_set_up(network: Network, gateway: Gateway) -> Network:
    """The network once `set_up` has switched on what the gateway found switched off."""
    changed = dict(gateway.found)
    return replace(
        network,
        forwarding4=network.forwarding4 or FORWARD4 in changed,
        forwarding6=network.forwarding6 or FORWARD6 in changed,
    )


def give_back(gateway: Gateway) -> None:
    """Give every setting the value it had before.

    Raises:
        Problem: `sysctl-not-set`.
    """
    for name, value in reversed(in_order(gateway.found)):
        set_sysctl(name, value)


def switch_counting_on() -> None:
    """Have conntrack count. Where it may not, mappings work all the same, so that is only logged."""
    for name in COUNTING:
        try:
            set_sysctl(name, 1)
        except Problem as problem:
            _log.warning("flows_not_counted", problem=problem.title())


class ReplyRoutes:
    """Where there are several WANs, replies leave by the one that their flow came in by."""

    def __init__(self) -> None:
        self._made: tuple[tuple[Wan, int], ...] | None = None
        """The WANs that there are routes for; None where that is not known."""

    def follow(self, frame: Frame | None) -> Problem | None:
        """Have just the routes that a table's marks ask for; what is in the way of them."""
        wans = frame.numbered if frame is not None else ()
        if wans == self._made:
            return None
        self._made = None
        lines = [WanRoute.of(number, wan) for wan, number in wans] if len(wans) > 1 else []
        try:
            for change in route_by_wan(lines):
                _log.info("routes_changed", what=change)
        except Problem as problem:
            return problem
        self._made = wans
        return None

    def are_made(self, frame: Frame) -> bool:
        """Whether `follow` has nothing to do for a table."""
        return self._made == frame.numbered

    def doubt(self) -> None:
        """Somebody else may have changed them: the next `follow` looks."""
        self._made = None


def number_wans(network: Network, before: Mapping[str, int]) -> dict[str, int]:
    """A number for every WAN. One that had a number keeps it: live flows carry it."""
    numbers = {wan.interface: before[wan.interface] for wan in network.wans if wan.interface in before}
    free = (number for number in range(1, HIGHEST_WAN_INDEX + 1) if number not in numbers.values())
    for wan in network.wans:
        if wan.interface not in numbers:
            numbers[wan.interface] = next(free)
    return numbers
