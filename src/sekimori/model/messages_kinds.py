"""Refusals of terms that do not fit the kind of a mapping: a DMZ host, a trigger, a pinhole."""

from __future__ import annotations

from typing import Final

from sekimori.model.message import Message

__all__ = ["KINDS"]

KINDS: Final[dict[str, Message]] = {
    "kinds-mixed": Message(
        "usage",
        ("cannot open {ports} in one mapping: {why}", "Open them one by one, each as its own mapping."),
        (
            "{ports} を 1 つのマッピングで開けられません: {why}",
            "それぞれ別のマッピングとして開けてください。",
        ),
    ),
    "not-a-dmz": Message(
        "usage",
        (
            "cannot except {excepted} from {ports}: only a DMZ host has exceptions",
            "Leave --except out (or clear it with --except none), or open dmz.",
        ),
        (
            "{ports} から {excepted} を除けません: 例外があるのは DMZ ホストだけです",
            "--except を外すか（消すなら --except none）、dmz を開けてください。",
        ),
    ),
    "not-a-trigger": Message(
        "usage",
        (
            "cannot use {key}: nothing was named that sets the mapping off",
            "Name it with --trigger; for example --trigger tcp/6667.",
        ),
        (
            "{key} は使えません: きっかけになるポートがありません",
            "--trigger で指定してください（例: --trigger tcp/6667）。",
        ),
    ),
    "trigger-without-ports": Message(
        "usage",
        (
            "cannot use {name} with a trigger: it has no ports",
            "Name ports of tcp, udp or sctp, such as tcp/113 or udp/6970-7170.",
        ),
        (
            "{name} はトリガーに使えません: ポートがありません",
            "tcp、udp、sctp のポートを書いてください（例: tcp/113、udp/6970-7170）。",
        ),
    ),
    "same-port-only": Message(
        "usage",
        (
            "cannot lead {outside} to port {inside} of {target}: {why}",
            "Use one port on both sides, such as {example}, and have the service listen there.",
        ),
        (
            "{outside} を {target} のポート {inside} につなげません: {why}",
            "外側と内側を同じポート（例: {example}）にし、サービスもそこで待ち受けてください。",
        ),
    ),
    "way-unfit": Message(
        "usage",
        ("cannot open {ports} {how}: {why}", "{do}"),
        ("{ports} を{how}開けられません: {why}", "{do}"),
    ),
    "not-socks": Message(
        "usage",
        (
            "cannot use {key}: this port leads to {target}, and only of a SOCKS port the client names where to",
            "Leave {key} out, or say --socks in place of --to.",
        ),
        (
            "{key} は使えません: 転送先は {target} です。クライアントが宛先を指定できるのは SOCKS ポートだけです",
            "{key} を外すか、--to の代わりに --socks を指定してください。",
        ),
    ),
    "target-unfit": Message(
        "usage",
        ("cannot open {ports} to {target}: {why}", "Lead it to another target, such as {example}."),
        (
            "{ports} を {target} につなげません: {why}",
            "別の転送先（例: {example}）にしてください。",
        ),
    ),
}
"""A code to its message; part of `messages.MESSAGES`."""
