"""What the router above refused, in English and Japanese."""

from __future__ import annotations

from typing import Final

from sekimori.model.message import Message

__all__ = ["ROUTER"]

ROUTER: Final[dict[str, Message]] = {
    "no-router": Message(
        "outside",
        (
            "cannot open {ports} at the router {gateway}: it answers none of PCP, NAT-PMP and UPnP",
            "Switch on UPnP, NAT-PMP or PCP on http://{gateway}/, or forward there by hand: {hand}.",
        ),
        (
            "ルーター {gateway} で {ports} を開けられません: PCP・NAT-PMP・UPnP のどれにも応答しません",
            "http://{gateway}/ で UPnP・NAT-PMP・PCP のどれかを有効にするか、手動で転送してください: {hand}。",
        ),
    ),
    "router-no-line": Message(
        "outside",
        (
            "cannot open {ports} at a router: this machine has no line with an IPv4 address now",
            "See whether its cable or wireless network is connected; it is tried again by itself.",
        ),
        (
            "ルーターで {ports} を開けられません: いま IPv4 アドレスのある回線がありません",
            "ケーブルや無線の接続を確かめてください。自動で再試行します。",
        ),
    ),
    "router-silent": Message(
        "outside",
        (
            "cannot open {ports} at the router {gateway}: it answered by {protocol} before, and does not any more",
            "It may be starting; it is asked again by itself. If it stays so, see on http://{gateway}/ whether "
            "{protocol} is still on, or forward there by hand: {hand}.",
        ),
        (
            "ルーター {gateway} で {ports} を開けられません: 以前は {protocol} で応答しましたが、いまは応答しません",
            "再起動中かもしれません。自動で再試行します。続くようなら http://{gateway}/ で {protocol} が有効か確かめるか、"
            "手動で転送してください: {hand}。",
        ),
    ),
    "router-slow": Message(
        "outside",
        (
            "cannot say yet that {ports} is open at the router {gateway}: it has not answered within {seconds} s",
            "It is asked again by itself.",
        ),
        (
            "ルーター {gateway} で {ports} が開いたかまだ分かりません: {seconds} 秒以内に応答がありません",
            "自動で再試行します。",
        ),
    ),
    "router-refused": Message(
        "outside",
        (
            "cannot open {ports} at the router {gateway}: {why} ({answer})",
            "{todo} Or forward there by hand: {hand}.",
        ),
        (
            "ルーター {gateway} で {ports} を開けられません: {why}（{answer}）",
            "{todo}または手動で転送してください: {hand}。",
        ),
    ),
    "router-other-port": Message(
        "outside",
        (
            "cannot open {port} at the router {gateway}: it gives {offered} instead",
            "Open {offered} outside, or free {port} on http://{gateway}/.",
        ),
        (
            "ルーター {gateway} で {port} を開けられません: 代わりに {offered} を割り当てようとします",
            "外側を {offered} にするか、http://{gateway}/ で {port} を空けてください。",
        ),
    ),
    "router-port-taken": Message(
        "outside",
        (
            "cannot open {port} at the router {gateway}: it leads to {holder} there already",
            "Choose another outside port, or delete that entry on http://{gateway}/.",
        ),
        (
            "ルーター {gateway} で {port} を開けられません: すでに {holder} に転送されています",
            "別の外側ポートにするか、http://{gateway}/ でその項目を消してください。",
        ),
    ),
    "router-kept": Message(
        "outside",
        (
            "cannot take {ports} away from the router {gateway}: {why}",
            "It is tried again by itself; or delete the entry on http://{gateway}/.",
        ),
        (
            "ルーター {gateway} から {ports} を消せません: {why}",
            "自動で再試行します。http://{gateway}/ で項目を消すこともできます。",
        ),
    ),
}
"""A code to its message; part of `messages.MESSAGES`."""
