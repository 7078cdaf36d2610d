"""Times, sizes and mappings as people read them; plain text, no terminal.

Instants come from the API as ISO 8601 in UTC and are shown in the local zone.
"""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sekimori.cli.words import has_word, word

__all__ = [
    "Clock",
    "aligned",
    "all_sources",
    "clean",
    "columns",
    "key_comment",
    "laid",
    "lead",
    "led_to",
    "one_line",
    "opened",
    "outside",
    "owner_label",
    "path_phrase",
    "protocol_name",
    "short_sources",
    "size",
    "span",
    "state_of",
    "tiny_size",
    "who_may",
    "wide",
    "wrapped",
]

_PROTOCOLS: Final = {"igd": "UPnP", "pcp": "PCP", "nat-pmp": "NAT-PMP"}
_AWAITED: Final = frozenset({"client-away", "link-down", "link-slow"})
"""Codes of problems that pass by themselves, as soon as a link is up or an SSH client is back."""
_UNBOUNDED: Final = 10_000
_NARROWEST: Final = 24
"""Cells that a text beside its label has at least."""
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def clean(text: str) -> str:
    """`text` without control characters, so that stored words cannot drive the terminal."""
    return "".join(
        one if one in "\n\t" or unicodedata.category(one)[0] != "C" else "\N{REPLACEMENT CHARACTER}"
        for one in text
    )


def one_line(text: str) -> str:
    """`clean`, on one line: what strangers say of themselves cannot look like a line of ours."""
    return clean(" ".join(text.split()))


def key_comment(key: Mapping[str, Any]) -> str:
    """What stands beside a key of a user; beside a line that cannot be read, which one that is and why."""
    return one_line(key["problem"]["title"] if key["problem"] else key["comment"])


def wide(text: str) -> int:
    """Cells `text` takes on a terminal: two for a full-width character (Unicode TR 11)."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


def columns() -> int:
    """Cells of a line: as the terminal has them, or as COLUMNS says; in a pipe, more than any text needs."""
    return shutil.get_terminal_size((_UNBOUNDED, 0)).columns


def wrapped(text: str, width: int) -> Iterator[str]:
    """Lines of at most `width` cells; breaks at spaces, and between full-width characters."""
    line = ""
    for piece in _pieces(text):
        if line and wide(line + piece.rstrip()) > width:
            yield line.rstrip()
            line = ""
        line += piece if line else piece.lstrip()
    if line.strip():
        yield line.rstrip()


def _pieces(text: str) -> Iterator[str]:
    """Parts that must not be broken: words with the space after them, single full-width characters."""
    part = ""
    for one in text:
        if wide(one) == 2:
            # Japanese closing marks never begin a line (JIS X 4051).
            if one in "、。）」":
                part += one
                continue
            if part:
                yield part
            part = one
        elif part and wide(part[-1]) == 2:
            yield part
            part = one
        else:
            part += one
            if one == " ":
                yield part
                part = ""
    if part:
        yield part


def aligned(rows: Iterable[tuple[str, str]]) -> str:
    """A line for each label and its text, the texts below each other."""
    listed = list(rows)
    column = max((wide(label) for label, _ in listed), default=0)
    return "\n".join(f"{label}{' ' * (column - wide(label) + 2)}{text}" for label, text in listed)


def laid(rows: Iterable[tuple[str, str]]) -> str:
    """`aligned`, with long texts going on below themselves where the terminal ends."""
    listed = list(rows)
    indent = max((wide(label) for label, _ in listed), default=0) + 2
    width = max(columns() - indent, _NARROWEST)
    pad = "\n" + " " * indent
    return aligned((label, pad.join(wrapped(text, width))) for label, text in listed)


def size(count: float) -> str:
    """Bytes with a binary unit: `0 B`, `1.2 MiB`."""
    amount = float(count)
    unit = 0
    while amount >= 1023.95 and unit < len(_UNITS) - 1:
        amount /= 1024
        unit += 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 or amount >= 99.95 else f"{amount:.1f} {_UNITS[unit]}"


def tiny_size(count: float) -> str:
    """`size` in as few cells as it goes: `0`, `1.2M`."""
    number, _, unit = size(count).partition(" ")
    return number + unit[0].replace("B", "")


def outside(view: Mapping[str, Any]) -> str:
    """The outside ports, and the inside ones only where the target does not say them; with the link at whose
    far end they are (`vps:8080`).
    """
    text = str(view["ports"])
    if text.startswith("unix:/"):
        return f"{view['at']}:{text}" if view.get("at") else text
    specs = text.split(",")
    heads = [spec.partition(":")[0] for spec in specs]
    insides = {spec.rpartition(":" if ":" in spec else "/")[2] for spec in specs}
    said = len(insides) == 1 and str(view["to"]).endswith(":" + insides.pop())
    shown = heads if said else specs
    if not view.get("at"):
        return ", ".join(shown)
    return f"{view['at']}:" + ", ".join(spec.removeprefix("tcp/") for spec in shown)


def lead(view: Mapping[str, Any], language: str) -> tuple[str, str]:
    """What is open, with its address where it is not on all of them; and where it leads.

    What is no forward is told as what it is: a DMZ host with its exceptions, a trigger with its ports.
    """
    on = view.get("on")
    return opened(view, language) + (f" @{on}" if on else ""), led_to(view, language)


def opened(view: Mapping[str, Any], language: str) -> str:
    """The outside ports, and what a DMZ host does not get of them."""
    ports = outside(view)
    return (
        word("lead.except", language, ports=ports, excepted=view["except"]) if view.get("except") else ports
    )


def led_to(view: Mapping[str, Any], language: str) -> str:
    """The target: of a trigger whoever sets it off, with the kind where nothing is rewritten, with the link
    through which it is reached.
    """
    if view.get("trigger"):
        return word("lead.trigger", language, ports=view["trigger"])
    if view["to"] == "client":
        return word("lead.client", language)
    target = word("lead.socks", language) if view["to"] == "socks" else view["to"]
    if f"link@{view.get('via')}" in (view.get("path") or ()):
        return word("lead.via", language, target=target, link=view["via"])
    if view["to"] == "socks":
        return target
    kind = view.get("kind")
    return f"{view['to']} ({word(f'kind.{kind}', language)})" if kind in ("permit", "pinhole") else view["to"]


def path_phrase(path: Iterable[str], language: str) -> str:
    """What a mapping is made by, from outside to its target: `by the relay, through the link vps`."""
    hops = list(path)
    phrases = []
    for number, hop in enumerate(hops):
        plane, _, link = hop.partition("@")
        key = f"path.{plane}"
        if link == "@ssh":
            key = "path.client"
        elif plane == "link":
            key = "path.from-link" if number == 0 and len(hops) > 1 else "path.link"
        phrases.append(word(key, language, link=link) if has_word(key) else hop)
    return word("path.joint", language).join(phrases)


def state_of(view: Mapping[str, Any]) -> str:
    """The state of a mapping as people are told it: what only waits for its link, or for the client that
    opened it, has not failed.
    """
    status = view["status"]
    code = (status.get("problem") or {}).get("code")
    return "waiting" if status["state"] == "failed" and code in _AWAITED else str(status["state"])


def who_may(view: Mapping[str, Any], language: str, *, short: bool = False) -> str:
    """Who may come in by a mapping: by a unix socket whom the mode of its file lets, on a loopback address
    the machine itself, whatever else the sources would admit.
    """
    if str(view["ports"]).startswith("unix:/"):
        return word("sources.by-mode", language)
    if view["from"] in ("lan", "anyone") and _is_loopback(str(view.get("on") or "")):
        return view["at"] if view.get("at") else word("open.here", language)
    return (short_sources if short else all_sources)(str(view["from"]), language)


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")


def all_sources(sources: str, language: str) -> str:
    """Who may come in, in words."""
    return ", ".join(_source_words(sources, language))


def short_sources(sources: str, language: str) -> str:
    """Who may come in, long lists cut to the first and a count."""
    shown = _source_words(sources, language)
    if len(shown) <= 2:
        return ", ".join(shown)
    return word("sources.more", language, first=shown[0], count=len(shown) - 1)


def _source_words(sources: str, language: str) -> list[str]:
    return [
        word(f"sources.{name}", language) if name in ("anyone", "lan") else clean(name)
        for name in sources.split(",")
    ]


class Clock:
    """Instants and durations in words, as seen from now in the local zone."""

    def __init__(self, language: str, now: datetime | None = None) -> None:
        self._language = language
        self._fixed = now

    @property
    def now(self) -> datetime:
        """The time it is, in the local zone."""
        return self._fixed if self._fixed is not None else datetime.now().astimezone()

    def when(self, instant: str) -> str:
        """`today 18:00`, `tomorrow 09:00` or `2026-12-01 18:00`."""
        at = self._local(instant)
        days = (at.date() - self.now.date()).days
        near = {0: "when.today", 1: "when.tomorrow"}.get(days)
        if near is not None:
            return word(near, self._language, time=f"{at:%H:%M}")
        return f"{at:%Y-%m-%d %H:%M}"

    def stamp(self, instant: str) -> str:
        """ISO 8601 with the local offset, to the second."""
        return self._local(instant).isoformat(timespec="seconds")

    def time(self) -> str:
        """The time of day, to the second."""
        return f"{self.now:%H:%M:%S}"

    def ago(self, instant: str) -> str:
        """How long ago it was."""
        passed = max(0.0, (self.now - self._local(instant)).total_seconds())
        return word("when.ago", self._language, duration=span(passed, self._language))

    def until(self, view: Mapping[str, Any]) -> str:
        """`tomorrow 18:00` or `permanent`, for a table."""
        ends = view.get("expires_at")
        return self.when(ends) if ends else word("until.permanent", self._language)

    def until_phrase(self, view: Mapping[str, Any]) -> str:
        """`until tomorrow 18:00`, or permanent with its reason, for a sentence."""
        ends = view.get("expires_at")
        if ends:
            return word("until.at", self._language, when=self.when(ends))
        return word("until.permanent-why", self._language, reason=view.get("permanent") or "-")

    def left(self, instant: str) -> str:
        """How long it still is."""
        ahead = (self._local(instant) - self.now).total_seconds()
        return word("when.in", self._language, duration=span(max(0.0, ahead), self._language))

    def _local(self, instant: str) -> datetime:
        at = datetime.fromisoformat(instant)
        return at.astimezone(self._fixed.tzinfo) if self._fixed is not None else at.astimezone()


def owner_label(owner: str, language: str) -> str:
    """An owner as people are told of it: `root`, `the file /etc/…`; unknown kinds as they are."""
    from sekimori.model.mapping import Owner  # here, for most commands show no owner

    try:
        return clean(Owner.parse(owner).label[language])
    except ValueError:  # a newer daemon may know more kinds
        return clean(owner)


def protocol_name(protocol: str) -> str:
    """What a lease was asked for by, as people call it; a newer daemon may know more of them."""
    return _PROTOCOLS.get(protocol) or clean(protocol)


def span(seconds: float, language: str) -> str:
    """A duration in its two greatest units: `1d 4h`, `12s`; `1日 4時間`, `12秒`."""
    left = timedelta(seconds=round(seconds))
    hours, rest = divmod(left.seconds, 3600)
    counts = (left.days, hours, rest // 60, rest % 60)
    units = [word(f"unit.{name}", language) for name in ("d", "h", "m", "s")]
    parts = list(zip(counts, units, strict=True))
    first = next((index for index, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count) or f"0{units[-1]}"
