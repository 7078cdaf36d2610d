"""What the three protocols have in common: how a router is asked, and how it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from sekimori.planes.router.facts import RouterProtocol
from sekimori.planes.router.terms import Run

__all__ = ["Asker", "Grant", "Greeting", "OtherPort", "PortTaken", "Refusal", "Silence", "Wish"]


class Silence(Exception):  # noqa: N818 - it is no error of the program
    """No answer, or none that can be read: the router does not speak the protocol, is away, or busy."""


class Refusal(Exception):  # noqa: N818 - nor is this
    """The router said no.

    Attributes:
        protocol: by which it was asked.
        code: the protocol's number; None where it gave none.
        said: the code's name in the protocol, or the router's own words, on one line.
        meaning: the key of the cause that says it in plain words, without `router-says-`.
        of_protocol: whether another protocol may fare better, because this one is switched off or halved.
        holder: the mapping that is in the way, where that is the reason.
    """

    def __init__(
        self,
        protocol: RouterProtocol,
        code: int | None,
        said: str,
        meaning: str,
        *,
        of_protocol: bool = False,
        holder: str = "",
    ) -> None:
        super().__init__(f"{protocol.label} {code if code is not None else ''} {said}")
        self.protocol = protocol
        self.code = code
        self.said = said
        self.meaning = meaning
        self.of_protocol = of_protocol
        self.holder = holder

    @property
    def answer(self) -> str:
        """The answer as the router gave it: `UPnP 718 ConflictInMappingEntry`."""
        words = (self.protocol.label, "" if self.code is None else str(self.code), self.said)
        return " ".join(word for word in words if word)


class OtherPort(Exception):  # noqa: N818 - nor is this
    """The router gave another outside port than the one asked for; it was given back."""

    def __init__(self, offered: int) -> None:
        super().__init__(f"port {offered} instead")
        self.offered = offered


class PortTaken(Exception):  # noqa: N818 - nor is this
    """The router leads the outside port to another place already.

    Attributes:
        client: the address it leads to.
        port: the port there.
        description: the router's own words for the entry.
    """

    def __init__(self, client: str, port: int, description: str) -> None:
        super().__init__(f"{client} port {port} ({description})")
        self.client = client
        self.port = port
        self.description = description


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a router says of itself.

    Attributes:
        address: its outside address; None where this protocol does not tell it.
        epoch: seconds since it lost its state, or its line came up; None where it does not say.
        model: its own words; "".
    """

    address: IPv4Address | None = None
    epoch: int | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes:
        nonce: 12 bytes, for PCP.
        lifetime: seconds for which it is wanted; None is for ever.
        label: what the router's own pages show.
    """

    run: Run
    nonce: bytes
    lifetime: int | None
    label: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What was granted.

    Attributes:
        size: ports, from the first one that was asked for; the others are to be asked for by themselves.
        lifetime: seconds; None is until it is taken away.
        address: the router's outside address, where it told.
    """

    size: int
    lifetime: int | None
    address: IPv4Address | None = None


class Asker(Protocol):
    """Asks a router by one protocol.

    Every method raises `Silence` when no answer came in time.
    """

    protocol: RouterProtocol
    at_once: int
    """Questions that may be under way at one time."""
    one_outside: bool
    """Whether an inside port can have one outside port only."""
    runs: bool
    """Whether several ports can be asked for together."""
    lasting_only: bool
    """Whether the router has turned out to keep entries only without an end."""
    longest: int
    """Seconds of the longest lifetime that is asked for."""

    async def greet(self) -> Greeting:
        """Whether it is there.

        Raises:
            Refusal: it is, and will not be asked by this protocol.
        """
        ...

    async def open(self, wish: Wish) -> Grant:
        """Make or renew an entry.

        Raises:
            Refusal: it did not.
            OtherPort: it had another port, which it was told to take back.
            PortTaken: the port leads elsewhere.
        """
        ...

    async def shut(self, wish: Wish) -> None:
        """Take an entry away. That it is not there is no failure.

        Raises:
            Refusal: it stays.
        """
        ...

    async def stands(self, run: Run) -> bool:
        """Whether an entry is there and leads here; True where the protocol cannot tell."""
        ...

    async def taker(self, run: Run) -> PortTaken | None:
        """Who else has an outside port; None where nobody has, or the protocol cannot tell."""
        ...

    def close(self) -> None:
        """Let go of its sockets."""
        ...
