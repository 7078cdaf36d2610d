"""Causes about what the kernel plane cannot make, and why."""

from __future__ import annotations

from typing import Final

__all__ = ["KERNEL"]

KERNEL: Final[dict[str, tuple[str, str]]] = {
    "kernel-no-proxy-protocol": (
        "the kernel passes packets on without a PROXY header; the source address is kept anyway",
        "カーネルはパケットを通すだけで PROXY ヘッダーを付けません（送信元アドレスはそのまま残ります）",
    ),
    "kernel-no-idle": (
        "the kernel has one idle time for all flows of a protocol",
        "カーネルの無通信時間はプロトコルごとに 1 つです",
    ),
    "kernel-trigger-shifts": (
        "a trigger opens the same ports inside as outside",
        "トリガーで開くポートは外側と内側が同じでなければなりません",
    ),
    "kernel-self-shifts": (
        "a service on this machine keeps its port there",
        "このマシンのサービスのポートは変えられません",
    ),
    "kernel-suffix-shifts": (
        "a suffix leads to the host's own address, so the ports stay and there is no --on",
        "サフィックスの転送先は自分のアドレスで受けるので、ポートは変えられず、--on も使えません",
    ),
    "kernel-no-wan": (
        "this machine has no default route, so nothing is outside",
        "このマシンに既定の経路がなく、外側がありません",
    ),
    "kernel-not-a-wan": (
        "{on} is none of this machine's ways to the internet ({wans})",
        "{on} はこのマシンの WAN（{wans}）ではありません",
    ),
    "kernel-no-lan": (
        "no network stands behind this machine",
        "このマシンの内側にネットワークがありません",
    ),
    "kernel-own-target": (
        "{target} is this machine itself",
        "{target} はこのマシン自身です",
    ),
    "kernel-target-not-inside": (
        "{target} is in no network behind this machine, so its answers would not come back this way",
        "{target} はこのマシンの内側のネットワークになく、応答がここへ戻りません",
    ),
    "kernel-other-family": (
        "{on} and {target} are of two IP versions, and the kernel translates within one",
        "{on} と {target} は IP の版が違い、カーネルは版をまたいで変換できません",
    ),
    "kernel-not-forwarding": (
        "this machine does not forward IPv{family}; 'sekimori gateway enable' has it do so",
        "このマシンは IPv{family} を転送しません。sekimori gateway enable で転送するようになります",
    ),
    "kernel-no-family": (
        "it has no address in a family that this mapping can have",
        "このマッピングで使える版の IP アドレスがありません",
    ),
    "kernel-no-rights": (
        "it needs the right to change the ruleset (CAP_NET_ADMIN)",
        "ルールセットを変える権限（CAP_NET_ADMIN）がありません",
    ),
    "kernel-no-nftables": (
        "nftables is not here: {why}",
        "nftables がありません（{why}）",
    ),
    "kernel-lacks": (
        "this kernel lacks {feature}",
        "このカーネルに {feature} がありません",
    ),
    "not-interfaces": (
        'it is not a list of interfaces, such as ["eth0"]',
        'インターフェイスのリスト（["eth0"] など）ではありません',
    ),
    "not-an-interface": (
        "'{text}' is not the name of an interface",
        "「{text}」はインターフェイスの名前ではありません",
    ),
}
