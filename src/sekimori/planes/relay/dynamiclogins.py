"""Who may name a destination: passwords, judged without stopping the loop for those who guess.

A password costs some 3 ms to judge. One that was right is remembered (by a keyed digest, in this process
only), so a client pays once. Guesses are counted by source, and all of a worker's judging has a ceiling.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, Literal
from weakref import WeakKeyDictionary

from sekimori.model.socks import verify
from sekimori.planes.relay.admission import TokenBucket, number
from sekimori.planes.relay.entry import Rate
from sekimori.planes.relay.loop import Loop

__all__ = ["FAILURE_PAUSE", "Logins", "Verdict", "logins_of"]

Verdict = Literal["right", "wrong", "later"]

FAILURE_PAUSE: Final = 1.0
"""Seconds before a wrong password is answered."""

_GUESSES: Final = 5
_GUESSES_WITHIN: Final = 60.0
"""Wrong passwords of one source, in so many seconds from the first. After that every one that is not
remembered is wrong, without being looked at."""
_JUDGING: Final = Rate(20, 1.0)
"""Of all sources: 6 % of a core."""
_KEPT: Final = 4096
"""Remembered passwords, and sources that have guessed: strangers shall not fill the memory."""

_DECOY: Final = f"scrypt$1024${'00' * 16}${'00' * 32}"
"""What the password of an unknown name is held against, so that it takes as long as a known one's."""


class Logins:
    """The judging of one worker's passwords."""

    def __init__(self, now: float) -> None:
        self._key = os.urandom(32)
        self._right: dict[bytes, None] = {}
        self._guesses: dict[str | int, tuple[int, float]] = {}
        self._judging = TokenBucket(_JUDGING, now)

    def judge(
        self, users: Iterable[tuple[str, str]], name: str, password: bytes, source: str, now: float
    ) -> Verdict:
        """Whether a name's password is right; `later` when too many others are being judged.

        Args:
            users: names, and the verifiers of their passwords (`model.socks`); none lets everybody in.
            name: who they say they are.
            password: as it came.
            source: the client's address.
            now: the loop's time.
        """
        known = dict(users)
        if not known:
            return "right"
        # The verifier, salted, is of one name and one password: when that changes, nothing is remembered.
        verifier = known.get(name, _DECOY)
        digest = blake2b(verifier.encode() + b"\0" + password, key=self._key).digest()
        if digest in self._right:
            return "right"
        if self._guessed(source, now)[0] >= _GUESSES:
            return "wrong"
        if not self._judging.take(now):
            return "later"
        if not verify(verifier, password) or name not in known:
            self._note_guess(source, now)
            return "wrong"
        self._right[digest] = None
        if len(self._right) > _KEPT:
            del self._right[next(iter(self._right))]
        return "right"

    def _guessed(self, source: str, now: float) -> tuple[int, float]:
        """Wrong passwords of late, and since when."""
        count, since = self._guesses.get(_place(source), (0, now))
        return (count, since) if now - since < _GUESSES_WITHIN else (0, now)

    def _note_guess(self, source: str, now: float) -> None:
        count, since = self._guessed(source, now)
        self._guesses[_place(source)] = (count + 1, since)
        if len(self._guesses) > _KEPT:
            del self._guesses[next(iter(self._guesses))]


def _place(source: str) -> str | int:
    """One source: an IPv6 host has a /64 of addresses to come from."""
    return source if ":" not in source else number(source)[1] >> 64


_logins: WeakKeyDictionary[Loop, Logins] = WeakKeyDictionary()


def logins_of(loop: Loop) -> Logins:
    """The worker's judging, made when it is first needed."""
    logins = _logins.get(loop)
    if logins is None:
        logins = _logins[loop] = Logins(loop.now)
    return logins
