"""Refusals of doors, permission rules and leases."""

from __future__ import annotations

from typing import Final

from sekimori.model.message import Message

__all__ = ["DOORS"]

DOORS: Final[dict[str, Message]] = {
    "bad-permission": Message(
        "usage",
        (
            "cannot read the permission rule '{text}': {why}",
            "Write it like: allow 192.168.1.0/24 tcp outside 1024-65535 most 20 for 7d, or: deny all.",
        ),
        (
            "許可ルール「{text}」を読めません: {why}",
            "例: allow 192.168.1.0/24 tcp outside 1024-65535 most 20 for 7d、または deny all",
        ),
    ),
    "door-on-wan": Message(
        "refused",
        (
            "cannot open the {door} door on {interface}: it leads to the internet",
            "Name an interface of a LAN ({lans}); 'sekimori gateway status' shows which is which.",
        ),
        (
            "{door} の窓口を {interface} に開けません: インターネット側です",
            "LAN のインターフェース（{lans}）を指定してください。区別は sekimori gateway status で確かめられます。",
        ),
    ),
    "door-no-lan": Message(
        "conflict",
        (
            "cannot answer at the {door} door on {interface}: no LAN is there",
            "LANs that were found: {lans} ('sekimori gateway status'). It answers as soon as there is one; for "
            "another: 'sekimori door enable {door} --on INTERFACE'.",
        ),
        (
            "{door} の窓口が {interface} で応答できません: LAN がありません",
            "見つかった LAN: {lans}（sekimori gateway status）。LAN になり次第応答します。"
            "場所を変えるには sekimori door enable {door} --on INTERFACE を実行してください。",
        ),
    ),
    "lease-refused": Message(
        "refused",
        (
            "cannot lease {ports}: {why}",
            "'sekimori door rules' lists the permission rules; 'sekimori door allow' adds one.",
        ),
        (
            "{ports} を貸し出せません: {why}",
            "許可ルールは sekimori door rules で見られ、sekimori door allow で足せます。",
        ),
    ),
    "lease-quota": Message(
        "refused",
        (
            "cannot lease another port to {who}: it has {most} already, which is as many as its rule allows",
            "End one of them, or raise 'most' in the rule: 'sekimori door rules'.",
        ),
        (
            "{who} にこれ以上ポートを貸し出せません: ルールの上限 {most} 件に達しています",
            "どれかを終えるか、ルールの most を増やしてください（sekimori door rules）。",
        ),
    ),
    "lease-nonce": Message(
        "not-permitted",
        (
            "cannot change '{name}' for {who}: the nonce is not the one it was made with",
            "The rule is strict here; with nonce same-source, the device that has the lease may always change it.",
        ),
        (
            "「{name}」を {who} の求めで変えられません: 作成時のノンスと違います",
            "nonce が strict です。same-source なら、借りている機器はいつでも変えられます。",
        ),
    ),
    "lease-paused": Message(
        "not-permitted",
        (
            "cannot renew '{name}': it was paused by hand",
            "Say 'sekimori resume {name}' to let its device have it again.",
        ),
        (
            "「{name}」を更新できません: 手で一時停止されています",
            "機器に再び使わせるには sekimori resume {name} を実行してください。",
        ),
    ),
    "no-free-port": Message(
        "conflict",
        (
            "cannot lease {ports}: every outside port that would do is taken",
            "Close what is not needed ('sekimori ls'), or let the rule have more outside ports.",
        ),
        (
            "{ports} を貸し出せません: 使える外側ポートがすべて使われています",
            "不要なものを閉じるか（sekimori ls）、ルールの外側ポートを広げてください。",
        ),
    ),
    "not-a-lease": Message(
        "usage",
        (
            "cannot adopt '{name}': it belongs to {owner} and is no lease of a device",
            "'sekimori ls' shows whose each mapping is; only a device's can be adopted.",
        ),
        (
            "「{name}」は引き取れません: {owner} のもので、機器のリースではありません",
            "だれのものかは sekimori ls で見られます。引き取れるのは機器のリースだけです。",
        ),
    ),
    "no-such-rule": Message(
        "not-found",
        (
            "cannot find permission rule {number}: there are {count}",
            "'sekimori door rules' lists them with their numbers.",
        ),
        (
            "許可ルール {number} が見つかりません: 全部で {count} 件です",
            "sekimori door rules で番号つきの一覧を見られます。",
        ),
    ),
    "door-not-open": Message(
        "conflict",
        (
            "cannot answer at the {door} door on {interface}: {why}",
            "If another program has the port, stop it ('ss -ulpn' and 'ss -tlpn' name it); it is tried again.",
        ),
        (
            "{door} の窓口が {interface} で応答できません: {why}",
            "ほかのプログラムがポートを使っていれば止めてください（ss -ulpn、ss -tlpn）。再試行します。",
        ),
    ),
}
"""A code to its message; part of `messages.MESSAGES`."""
