"""Causes about the kinds of mappings, and about what a plane cannot make."""

from __future__ import annotations

from typing import Final

__all__ = ["KINDS"]

KINDS: Final[dict[str, tuple[str, str]]] = {
    # -- kinds of mappings ---------------------------------------------------------------------
    "no-inside-port": (
        "{name} has no ports, so the target takes none",
        "{name} にポートはないので、転送先にもポートは付きません",
    ),
    "dmz-alone": (
        "a DMZ host gets all that nothing else claims, so nothing can stand beside it",
        "DMZ ホストには残りのすべてが届くので、ほかと並べられません",
    ),
    "dmz-self": (
        "a DMZ host is another machine; what comes to this one stays here",
        "DMZ ホストは別のマシンです。このマシンあての通信はそのままここに届きます",
    ),
    "pinhole-protocols": (
        "a pinhole passes {names} only",
        "ピンホールを通れるのは {names} だけです",
    ),
    "carried-by-ipv4": (
        "{name} is carried by IPv4, and this target has IPv6 only",
        "{name} は IPv4 で運ばれますが、この転送先は IPv6 です",
    ),
    "pinhole-straight": (
        "a pinhole lets packets through as they are, so the port stays as it is",
        "ピンホールはパケットを書き換えずに通すので、ポートは変えられません",
    ),
    "trigger-straight": (
        "what a trigger opens keeps its port",
        "トリガーで開くポートは、番号を変えられません",
    ),
    "excepts-all": ("it would except everything", "すべてが例外になってしまいます"),
    "longer-than": ("it is more than {most}", "{most} を超えています"),
    "a-dmz-host": ("a DMZ host", "DMZ ホスト"),
    "dmz-risk": (
        "everything on it that listens is reached, wanted or not; forward the ports that are needed instead",
        "待ち受けているものすべてに、意図しないものまで届きます。必要なポートだけを開ける方が安全です",
    ),
    "anyone": ("anyone", "だれでも"),
    # -- what a plane cannot make --------------------------------------------------------------
    "plane-says": ("{name}: {why}", "{name}: {why}"),
    "relay-kind-dmz": (
        "it relays single ports; a DMZ host needs the kernel plane",
        "中継するのは個々のポートです。DMZ ホストには kernel が必要です",
    ),
    "relay-kind-trigger": (
        "it does not see what the LAN sends; a trigger needs the kernel plane",
        "LAN からの通信が見えません。トリガーには kernel が必要です",
    ),
    "relay-kind-pinhole": (
        "it listens at this machine's addresses; a pinhole needs the kernel plane",
        "待ち受けるのはこのマシンのアドレスです。ピンホールには kernel が必要です",
    ),
    "relay-protocol": (
        "it carries tcp and udp; {name} needs the kernel plane",
        "運べるのは tcp と udp です。{name} には kernel が必要です",
    ),
    "relay-interface": (
        "it listens at addresses; the interface {name} needs the kernel plane, or --on ADDRESS",
        "待ち受けるのはアドレスです。インターフェイス {name} には kernel か、--on アドレス が必要です",
    ),
    "relay-log": (
        "it keeps no log of connections; --log needs the kernel plane",
        "接続の記録は残しません。--log には kernel が必要です",
    ),
    "relay-loop": (
        "it would lead to itself; a port of this machine's own service needs the kernel plane",
        "自分自身に戻ってしまいます。このマシン自身のサービスには kernel が必要です",
    ),
    "relay-sockets": (
        "it holds a socket for each port, {most} at most, and this needs {count}; more need the kernel plane",
        "ポートごとにソケットが要り、上限は {most} 個ですが、{count} 個必要です。"
        "それ以上には kernel が必要です",
    ),
}
"""A cause's key to its text in English and Japanese; part of `causes.CAUSES`."""
