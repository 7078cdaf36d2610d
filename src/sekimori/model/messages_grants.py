"""Refusals about links and users as settings, and about ports that keys open."""

from __future__ import annotations

from typing import Final

from sekimori.model.message import Message

__all__ = ["GRANTS"]

GRANTS: Final[dict[str, Message]] = {
    "no-such-link": Message(
        "not-found",
        ("cannot find the link '{name}'", "'sekimori link ls' lists them.{near}"),
        ("リンク「{name}」が見つかりません", "sekimori link ls で一覧を見られます。{near}"),
    ),
    "link-in-use": Message(
        "conflict",
        (
            "cannot remove the link '{name}': what goes through it is {mappings}",
            "Close that first, or have it go another way: sekimori edit NAME {elsewhere}.",
        ),
        (
            "リンク「{name}」を削除できません: 使っているマッピングがあります（{mappings}）",
            "先に閉じるか、別の方式に変えてください: sekimori edit 名前 {elsewhere}。",
        ),
    ),
    "bad-host-key": Message(
        "usage",
        (
            "cannot take the host key '{text}': {why}",
            "Write PLACE ALGORITHM BASE64, where PLACE is the link's server or one of its jumps.",
        ),
        (
            "ホスト鍵「{text}」を使えません: {why}",
            "「場所 アルゴリズム BASE64」の形で書いてください。場所はリンクのサーバーか踏み台です。",
        ),
    ),
    "no-such-user": Message(
        "not-found",
        ("cannot find the user '{name}'", "'sekimori user ls' lists them.{near}"),
        ("ユーザー「{name}」が見つかりません", "sekimori user ls で一覧を見られます。{near}"),
    ),
    "key-in-use": Message(
        "conflict",
        (
            "cannot give '{name}' the key {fingerprint}: it is a key of '{other}'",
            "Who comes in is told by the key, so each has one user. Take it from '{other}' first.",
        ),
        (
            "「{name}」に鍵 {fingerprint} を登録できません: 「{other}」の鍵です",
            "だれが入ったかは鍵で見分けるので、1 つの鍵のユーザーは 1 人だけです。先に「{other}」から外してください。",
        ),
    ),
    "bad-destination": Message(
        "usage",
        (
            "cannot read the destination '{text}': {why}",
            "Write hosts or prefixes with their ports, such as db.example:5432, 10.0.0.0/8 or *:443.",
        ),
        (
            "宛先「{text}」を読めません: {why}",
            "db.example:5432、10.0.0.0/8、*:443 のように、ホストかプレフィックスをポートと書いてください。",
        ),
    ),
    "bad-listen": Message(
        "usage",
        (
            "cannot read where to listen, '{text}': {why}",
            "Write ADDRESS:PORT, [IPV6]:PORT, or *:PORT for every address, for example 192.168.1.1:2222.",
        ),
        (
            "待ち受ける場所「{text}」を読めません: {why}",
            "192.168.1.1:2222 のように、アドレス:ポート、[IPv6]:ポート、*:ポート（全アドレス）で書いてください。",
        ),
    ),
    "bind-refused": Message(
        "refused",
        (
            "cannot open port {port} for {who}: {why}",
            "Whoever looks after this gateway can grant it: sekimori user edit, or the grant of the door.",
        ),
        (
            "{who} のためにポート {port} を開けられません: {why}",
            "このゲートウェイの管理者なら許可できます（sekimori user edit、または窓口の grant）。",
        ),
    ),
    "bind-most": Message(
        "refused",
        (
            "cannot open another port for {who}: {names} are {most} already, as many as are granted",
            "End one of them; one whose session is gone ends by itself in a while.",
        ),
        (
            "{who} のためにこれ以上ポートを開けられません: {names} で上限の {most} 件です",
            "どれかを終えてください。接続が切れたものは、しばらくすると自動で閉じます。",
        ),
    ),
    "bind-none-free": Message(
        "conflict",
        (
            "cannot open a port for {who}: none of {ports} is free",
            "Close what is not needed ('sekimori ls'), or grant more ports.",
        ),
        (
            "{who} のためにポートを開けられません: {ports} に空きがありません",
            "不要なものを閉じるか（sekimori ls）、許可するポートを増やしてください。",
        ),
    ),
    "quota-used": Message(
        "refused",
        (
            "cannot open a port for {who}: the {quota} of every {every} are used up",
            "It goes on once that time is over, or with a larger quota.",
        ),
        (
            "{who} のためにポートを開けられません: {every} あたり {quota} の転送量を使い切りました",
            "期間が改まるか、割り当てを増やすと、また使えます。",
        ),
    ),
    "not-adoptable": Message(
        "usage",
        (
            "cannot adopt '{name}': it leads into the SSH session of {owner}, and nowhere without it",
            "Close it, or open another port with a target of its own.",
        ),
        (
            "「{name}」は引き取れません: {owner} の SSH 接続の中へ通じるもので、接続なしではどこにも届きません",
            "閉じるか、転送先のある別のポートを開けてください。",
        ),
    ),
}
"""A code to its message; part of `messages.MESSAGES`."""
