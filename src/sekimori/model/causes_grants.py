"""Causes about links and users as settings, and about ports that keys open."""

from __future__ import annotations

from typing import Final

__all__ = ["GRANTS"]

GRANTS: Final[dict[str, tuple[str, str]]] = {
    "do-link": ("change the link {name}", "リンク {name} の変更"),
    "do-user": ("change the user {name}", "ユーザー {name} の変更"),
    "do-bind": ("open ports by a session of the SSH door", "SSH の窓口からのポートの開放"),
    "not-a-grant-word": (
        "it is no word of a grant",
        "許可の項目ではありません",
    ),
    "not-a-size": (
        "it is no number of bytes such as 500M or 10G",
        "500M や 10G のようなバイト数ではありません",
    ),
    "listen-form": (
        "one address and one port are meant, with a colon between them",
        "アドレス 1 つとポート 1 つを、コロンでつないでください",
    ),
    "host-key-form": (
        "it is not PLACE ALGORITHM BASE64",
        "「場所 アルゴリズム BASE64」の形ではありません",
    ),
    "host-key-place": (
        "{place} is neither the link's server nor one of its jumps",
        "{place} はリンクのサーバーでも踏み台でもありません",
    ),
    "host-key-broken": (
        "what stands after {algorithm} is no such key",
        "{algorithm} の後ろがその種類の鍵ではありません",
    ),
    "too-many-jumps": ("{most} jumps are the most", "踏み台は最大 {most} 個です"),
    "key-twice": ("the same key stands there twice", "同じ鍵が二度書かれています"),
    "not-keys": (
        "it is no list of lines as in authorized_keys",
        "authorized_keys の行の並びではありません",
    ),
    "not-places": (
        "it is no list of texts in brackets",
        "角括弧で囲んだ文字列の並びではありません",
    ),
    "bind-no-ports": ("no ports are granted", "許可されたポートがありません"),
    "bind-not-granted": ("only {ports} are granted", "許可されているのは {ports} だけです"),
    "bind-not-permitted": (
        "permitlisten of the key does not name {place}",
        "鍵の permitlisten に {place} がありません",
    ),
    "bind-not-on": (
        "{address} is not granted, only {on}",
        "{address} は許可されていません。許可されているのは {on} だけです",
    ),
    "bind-not-ours": (
        "{address} is no address of this machine",
        "{address} はこのマシンのアドレスではありません",
    ),
    "bind-closed": ("somebody closed it while it was being opened", "開いている間にだれかが閉じました"),
    "user-ended": ("the user's time ended at {when}", "このユーザーの期限は {when} に切れました"),
}
"""A key to its English and Japanese text; part of `causes.CAUSES`."""
