"""Causes and parts of sentences about the gateway and about bans."""

from __future__ import annotations

from typing import Final

__all__ = ["GATEWAY"]

GATEWAY: Final[dict[str, tuple[str, str]]] = {
    "do-gateway": ("change the gateway", "ゲートウェイの変更"),
    "do-ban": ("ban {name}", "{name} の締め出し"),
    "do-unban": ("lift the ban of {name}", "{name} の締め出しの解除"),
    "do-configure": ("change", "変更"),
    "the-setting": ("the setting itself", "設定そのもの"),
    "do-lift": ("lift the ban of", "締め出しの解除"),
    "no-gateway-plane": (
        "no part of this daemon may change what the kernel does with packets",
        "このデーモンには、カーネルのパケット処理を変えられる部分がありません",
    ),
    # -- bans ------------------------------------------------------------------------------------
    "ban-too-wide": (
        "it is wider than /{widest}, the widest that may be banned",
        "締め出せる範囲は /{widest} までです",
    ),
    "ban-loopback": (
        "it holds the loopback addresses, by which this machine speaks to itself",
        "このマシンが自分自身との通信に使うループバックアドレスを含みます",
    ),
    "ban-covers": (" It is in the ban of {names}.", "{names} の締め出しに含まれています。"),
    "not-a-prefix": ("it is neither an address nor a prefix", "アドレスでもプレフィックスでもありません"),
    "same-prefix": ("{prefix} is banned twice", "{prefix} が 2 回あります"),
    "not-a-ban": (
        "it is neither a reason in quotes nor a table with reason and until",
        "引用符で囲んだ理由でも、reason と until の表でもありません",
    ),
    "mapping-or-source": (
        "it names neither a mapping nor a source",
        "mapping も source も指定されていません",
    ),
    "not-a-caller": (
        "'{text}' does not tell a connection as SSH_CONNECTION does",
        "「{text}」は SSH_CONNECTION の書き方ではありません",
    ),
    # -- what waits to be confirmed ----------------------------------------------------------------
    "confirm-too-short": (
        "nobody can log in again in less than {least} s",
        "{least} 秒未満ではログインし直せません",
    ),
    "others-pending": (
        " Others have something to confirm: {names}.",
        "ほかの人の確認待ちがあります: {names}。",
    ),
    "or-pause": (
        " 'sekimori pause {name}' stops it now.",
        "今すぐ止めるなら sekimori pause {name} です。",
    ),
    "left-standing": (
        " Left as it is, because it was changed since: {names}.",
        "その後に変更された次のものは、そのままにしました: {names}。",
    ),
    "no-word-of": (
        "what became of revision {revision}",
        "リビジョン {revision} がどうなったか",
    ),
    # -- what enabling does, step by step ----------------------------------------------------------
    "step-sysctl": (
        "set {name} from {old} to {new}",
        "{name} を {old} から {new} に変える",
    ),
    "step-masquerade-on": (
        "send what LAN {lan} sends out by {wan} under the address of that interface (IPv4)",
        "LAN {lan} から {wan} へ出る IPv4 通信の送信元を、そのインターフェースのアドレスに書き換える",
    ),
    "step-masquerade-off": (
        "no longer rewrite what LAN {lan} sends out by {wan}",
        "LAN {lan} から {wan} へ出る通信の書き換えをやめる",
    ),
    "step-firewall-forward": (
        "drop what comes in by {wans} for other machines, but for mappings, replies and the ICMPv6 "
        "that IPv6 needs (RFC 4890)",
        "{wans} から入って他のマシンへ向かう通信を捨てる（マッピング、応答、IPv6 に必要な ICMPv6（RFC 4890）"
        "は通す）",
    ),
    "step-firewall-input": (
        "drop what comes in by {wans} for this machine, but for mappings, replies, ICMP and answers of DHCP",
        "{wans} から入ってこのマシンへ向かう通信を捨てる（マッピング、応答、ICMP、DHCP の返事は通す）",
    ),
    "step-no-firewall-forward": (
        "no longer drop what comes in by {wans} for other machines",
        "{wans} から入って他のマシンへ向かう通信を捨てるのをやめる",
    ),
    "step-no-firewall-input": (
        "no longer drop what comes in by {wans} for this machine",
        "{wans} から入ってこのマシンへ向かう通信を捨てるのをやめる",
    ),
    "every-wan": ("any WAN", "すべての WAN"),
}
"""A cause's key to its text in English and Japanese."""
