"""A known service: its ports, its risk, and the defaults that keep it safe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Preset", "RiskClass"]


class RiskClass(StrEnum):
    """What harm an open port of this service invites (research/ux-ecosystem §3.7)."""

    ADMIN = "admin"
    WEB = "web"
    GAME = "game"
    P2P = "p2p"
    INFRA = "infra"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Preset:
    """One service as the presets describe it."""

    name: str
    title: Mapping[str, str]
    """Its name for people, by language (`en`, `ja`)."""
    ports: tuple[str, ...]
    """Port specs as the CLI takes them."""
    risk: RiskClass
    sources: str
    """Who may come in unless said: `lan` or `anyone`."""
    lifetime: int
    """Seconds unless said."""
    aliases: tuple[str, ...] = ()
    limit: str | None = None
    """New connections per source unless said, as `20/min`."""
    danger: str | None = None
    """The named risk that must be accepted to open it to anyone."""
    note: Mapping[str, str] = field(default_factory=dict)
    """One sentence by language: what to know, or the safer way."""
