"""What a refusal says: two sentences, in two languages."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Message"]


@dataclass(frozen=True, slots=True)
class Message:
    """The kind of a problem and its two sentences in two languages."""

    kind: str
    en: tuple[str, str]
    ja: tuple[str, str]

    def title(self, language: str) -> str:
        """The sentence that says what cannot be done and why."""
        return (self.ja if language == "ja" else self.en)[0]

    def fix(self, language: str) -> str:
        """The sentence that says what to do."""
        return (self.ja if language == "ja" else self.en)[1]
