"""Causes about doors, permission rules and leases."""

from __future__ import annotations

from typing import Final

__all__ = ["DOORS"]

DOORS: Final[dict[str, tuple[str, str]]] = {
    "do-door": ("change {name}", "{name} の変更"),
    "do-permissions": ("change the permission rules", "許可ルールの変更"),
    "do-lease": ("open a lease", "リースの開放"),
    "do-adopt": ("adopt {name}", "{name} の引き取り"),
    "no-rule-fits": ("no permission rule allows it", "許可ルールのどれにも当てはまりません"),
    "no-rule-privileged": (
        "no permission rule allows it; a rule has to name ports below {first}",
        "許可ルールのどれにも当てはまりません。{first} 未満のポートはルールに明記が必要です",
    ),
    "denied-by-rule": ("the rule '{rule}' decides", "ルール「{rule}」によります"),
    "no-lan-found": (
        "none, so this machine is no gateway",
        "なし。このマシンはゲートウェイではありません",
    ),
    "rule-begins": (
        "it begins with allow or deny, and whom it is about: all, a prefix, a MAC address or on:INTERFACE",
        "allow か deny で始め、次に対象（all、プレフィックス、MAC アドレス、on:インターフェース）を書きます",
    ),
    "rule-ends": ("something is missing after '{word}'", "「{word}」の後に値がありません"),
    "rule-word": (
        "'{word}' is none of: tcp, udp, outside, inside, most, for, others, matching",
        "「{word}」は tcp、udp、outside、inside、most、for、others、matching のどれでもありません",
    ),
    "rule-quote": (
        "the pattern stands last, between two double quotes, and holds none",
        "パターンは最後に二重引用符で囲んで書きます。中に二重引用符は使えません",
    ),
    "rule-pattern": (
        "the pattern is no regular expression: {why}",
        "パターンが正規表現ではありません: {why}",
    ),
    "rule-no-device": (
        "{text} is the address of no single device",
        "{text} は 1 台の機器のアドレスではありません",
    ),
    "igd-versions": ("IGD has versions 1 and 2", "IGD のバージョンは 1 と 2 です"),
    "nonce-rules": (
        "it is strict or same-source",
        "strict か same-source のどちらかです",
    ),
    "only-of-door": ("only the door {door} has it", "窓口 {door} にだけあります"),
    "not-rules": (
        'it is not a list of rules, such as ["allow 192.168.1.0/24", "deny all"]',
        'ルールのリスト（["allow 192.168.1.0/24", "deny all"] など）ではありません',
    ),
    "at-line": ("the whole line", "行全体"),
    "miniupnpd-line": (
        "it is neither a rule nor an option with a value (option=value)",
        "ルールでも、値のある項目（項目=値）でもありません",
    ),
    "miniupnpd-rule": (
        'a rule is: allow or deny, outside ports, address/length, inside ports, and perhaps a "pattern"',
        'ルールは、allow か deny、外側ポート、アドレス/長さ、内側ポートの順に書きます（"パターン" は任意）',
    ),
    "miniupnpd-ports": (
        "{text} is neither a port nor a range of ports",
        "{text} はポートでもポートの範囲でもありません",
    ),
    "miniupnpd-prefix": (
        "{text} is no IPv4 address, and no prefix of some",
        "{text} は IPv4 のアドレスでもプレフィックスでもありません",
    ),
    "posix-pattern": (
        "the pattern {text} cannot be carried over: character {at} has no equal here",
        "パターン {text} は移せません: {at} 文字目に当たるものがここにありません",
    ),
    "listens": ("{where} cannot be listened on: {why}", "{where} で待ち受けられません: {why}"),
}
"""A cause's key to its text in English and Japanese; part of `causes.CAUSES`."""
