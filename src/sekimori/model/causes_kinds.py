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
    "kernel-unix": (
        "it translates packets; a unix socket needs the relay plane",
        "扱うのはパケットです。unix ソケットには relay が必要です",
    ),
    "client-by-key": (
        "that is where ports lead that an SSH client opened for itself",
        "それは SSH クライアントが自分で開けたポートの転送先です",
    ),
    # -- links, SOCKS ports ---------------------------------------------------------------------
    "by-link": ("through the link '{link}'", "リンク「{link}」経由で"),
    "at-link": ("at the far end of the link '{link}'", "リンク「{link}」の先で"),
    "as-socks": ("as a SOCKS port", "SOCKS ポートとして"),
    "to-unix": ("to a unix socket", "unix ソケットに向けて"),
    "only-relay": ("only the relay plane can do that", "できるのは relay だけです"),
    "no-such-way": ("there is no plane and no link of that name", "その名前の方式もリンクもありません"),
    "close-links": ("near: {names}", "近いもの: {names}"),
    "link-carries": (
        "a link carries tcp, udp and unix sockets",
        "リンクが運べるのは tcp、udp、unix ソケットです",
    ),
    "link-suffix": (
        "a link ends what it carries, and a pinhole lets packets through as they are",
        "リンクは通信を中継しますが、ピンホールはパケットをそのまま通すものです",
    ),
    "link-device": (
        "a device is known in the network of this machine, and it is the other machine that dials",
        "機器がわかるのはこのマシンのネットワークの中だけで、接続するのはリンクの先のマシンです",
    ),
    "link-socks": (
        "what comes from there would go wherever it likes in this network",
        "リンクの先から、このネットワークのどこへでも入れることになります",
    ),
    "ends-at-address": (
        "a link and the relay listen at addresses, not at interfaces",
        "リンクや relay が待ち受けるのはアドレスで、インターフェイスではありません",
    ),
    "link-log": (
        "the kernel keeps that log, and it does not see what a link carries",
        "その記録はカーネルが取るもので、リンクの中は見えません",
    ),
    "socks-streams": ("clients ask over tcp, for udp too", "クライアントは、udp を使う場合も tcp で頼みます"),
    "socks-proxied": (
        "the places that clients name do not expect a PROXY header",
        "クライアントの指定する宛先は PROXY ヘッダーを予期していません",
    ),
    "a-socks-port": ("a SOCKS port without passwords", "パスワードのない SOCKS ポート"),
    "open-proxy-risk": (
        "strangers would act in the name of this machine and its networks; let nobody in without a password, "
        "by --socks-user NAME",
        "他人がこのマシンと内側のネットワークの名義で通信できます。"
        "--socks-user 名前 でパスワードを付ける方が安全です",
    ),
    "user-twice": ("a name stands there twice", "同じ名前が 2 回あります"),
    "do-name-address": (
        "Name an address or a host name after --to.",
        "--to にアドレスかホスト名を書いてください。",
    ),
    "do-socks-via": (
        "Lead to one target with --to; or for the other way round, say --socks --via {link}.",
        "--to で転送先を 1 つに決めてください。逆向きなら --socks --via {link} です。",
    ),
    "do-on-address": (
        "Give an address after --on, or leave it out.",
        "--on にはアドレスを書くか、外してください。",
    ),
    "do-without": ("Leave {word} out.", "{word} を外してください。"),
    "do-protocols": ("Open {names} only.", "{names} だけにしてください。"),
    # -- unix sockets --------------------------------------------------------------------------
    "unix-not-absolute": (
        "a unix socket is named by its absolute path, such as unix:/run/app.sock",
        "unix ソケットは unix:/run/app.sock のように絶対パスで書きます",
    ),
    "unix-unprintable": (
        "its path holds a character that cannot be shown",
        "パスに表示できない文字があります",
    ),
    "unix-alone": (
        "a unix socket outside stands alone, by its path",
        "外側の unix ソケットはパスを単独で書きます",
    ),
    "unix-or-port": (
        "a port is opened on an address, a unix socket by its path as in unix:/run/app.sock",
        "ポートはアドレスに、unix ソケットは unix:/run/app.sock のようなパスで開けます",
    ),
    "unix-needs-port": (
        "a unix socket outside has no port, so the target must name one, as in --to db:5432",
        "外側の unix ソケットにはポートがないので、--to db:5432 のように転送先に付けてください",
    ),
    "unix-streams": (
        "a unix socket takes streams",
        "unix ソケットで扱えるのはストリームです",
    ),
    "target-portless": (
        "it has no ports, so the outside port leads to it as it is",
        "転送先にポートはないので、内側のポートは付きません",
    ),
    "unix-dots": ("its path holds '.' or '..'", "パスに「.」か「..」があります"),
    "unix-too-long": (
        "its path is longer than the {most} bytes that a unix socket takes",
        "パスが unix ソケットの上限 {most} バイトより長くなっています",
    ),
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
