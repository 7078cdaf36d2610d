"""How much of the work each of many askers gets, so that none of them leaves nothing for the others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

__all__ = ["Fairness"]


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Fairness:
    """A token bucket for each host.

    The hosts that were heard of longest ago are forgotten first, and begin with a full bucket when they come
    back. So `hosts` is to be more than can be there at one time: who can pretend to be that many has no
    limit, and must be held by something that cannot be pretended.

    Args:
        rate: requests a second that a host may go on with.
        burst: requests that it may begin with.
        hosts: how many are remembered.
    """

    def __init__(self, rate: float, burst: float, hosts: int) -> None:
        if not (rate > 0 and burst >= 1 and hosts >= 1):
            raise ValueError(f"nobody would be admitted: {rate=} {burst=} {hosts=}")
        self._rate = rate
        self._burst = burst
        self._hosts = hosts
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def admits(self, host: Hashable, now: float) -> bool:
        """Whether one more request of a host is to be looked at; if so, it is counted.

        Args:
            host: an address, or better what cannot be made up.
            now: seconds by any clock; one that goes back stands still here.
        """
        bucket = self._buckets.get(host)
        if bucket is None:
            bucket = self._buckets[host] = _Bucket(self._burst, now)
            if len(self._buckets) > self._hosts:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(host)
        bucket.tokens = min(self._burst, bucket.tokens + max(0.0, now - bucket.at) * self._rate)
        bucket.at = max(bucket.at, now)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def __len__(self) -> int:
        """How many hosts are remembered."""
        return len(self._buckets)
