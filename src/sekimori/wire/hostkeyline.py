"""Lines of the host keys that machines on the way of a link may have: `PLACE [cert-authority] TYPE KEY`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sekimori.model.causes import Unreadable
from sekimori.model.errors import Problem
from sekimori.model.link import SshPlace
from sekimori.wire.errors import BadPacket
from sekimori.wire.sshkeys import ALGORITHMS, read_key_untrusted

__all__ = ["HostKeyLine"]

_MARK: Final = "cert-authority"


@dataclass(frozen=True, slots=True)
class HostKeyLine:
    """One line.

    Attributes:
        place: the machine that may have the key, as the text of an `SshPlace`.
        certifies: the key is no machine's, and signs theirs.
        algorithm: the kind of key, as `ssh-ed25519`.
        text: the key in base64.
    """

    place: str
    algorithm: str
    text: str
    certifies: bool = False

    @classmethod
    def parse(
        cls, line: str, places: Collection[SshPlace] | None, usual: SshPlace | None = None
    ) -> HostKeyLine:
        """Read a line about one of `places`, or any; where it names none, it is about the `usual` one.

        Raises:
            Unreadable: it is no such line; its cause says why.
        """
        words = line.split()
        if usual is not None and words and (words[0] == _MARK or words[0] in ALGORITHMS):
            words.insert(0, str(usual))
        certifies = words[1:2] == [_MARK]
        if certifies:
            del words[1]
        if len(words) != 3:
            raise Unreadable("host-key-form")
        place, algorithm, text = words
        try:
            place = str(SshPlace.parse(place))
        except Problem as problem:
            raise Unreadable("host-key-form") from problem
        if places is not None and place not in map(str, places):
            raise Unreadable("host-key-place", place=place)
        try:
            if algorithm not in ALGORITHMS:
                raise BadPacket("another kind of key")
            read_key_untrusted(algorithm, text)
        except BadPacket:
            raise Unreadable("host-key-broken", algorithm=algorithm) from None
        return cls(place, algorithm, text, certifies)

    def __str__(self) -> str:
        return " ".join((self.place, *([_MARK] if self.certifies else []), self.algorithm, self.text))
