"""What the kernel refused, in English and Japanese."""

from __future__ import annotations

from typing import Final

from sekimori.model.message import Message

__all__ = ["KERNEL_MESSAGES"]

KERNEL_MESSAGES: Final[dict[str, Message]] = {
    "kernel-unable": Message(
        "conflict",
        (
            "cannot lead '{name}' through the kernel: {why}",
            "Choose a target behind this machine, or have the relay carry it with --via relay.",
        ),
        (
            "「{name}」をカーネルで通せません: {why}",
            "このマシンの内側にある転送先にするか、--via relay で中継してください。",
        ),
    ),
    "kernel-refused": Message(
        "internal",
        (
            "cannot change the ruleset: {why}",
            "'sekimori doctor' looks at the ruleset; it is tried again by itself.",
        ),
        (
            "ルールセットを変えられません: {why}",
            "sekimori doctor でルールセットを調べられます。自動で再試行します。",
        ),
    ),
}
