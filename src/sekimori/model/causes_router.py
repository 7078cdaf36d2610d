"""Causes about the router above: what it cannot hand on, what its refusals mean, and what to do there."""

from __future__ import annotations

from typing import Final

__all__ = ["ROUTER"]

ROUTER: Final[dict[str, tuple[str, str]]] = {
    # -- what no router can do ---------------------------------------------------------------------
    "router-no-dmz": (
        "no protocol asks a router for a DMZ host; name the ports",
        "ルーターに DMZ ホストを頼むプロトコルはありません。ポートを指定してください",
    ),
    "router-no-trigger": (
        "no protocol asks a router for a trigger; name the ports to open",
        "ルーターにトリガーを頼むプロトコルはありません。開けるポートを指定してください",
    ),
    "router-no-pinhole": (
        "the router is asked for IPv4 ports only, and this is an opening of IPv6",
        "ルーターに頼めるのは IPv4 のポートだけで、これは IPv6 の開口です",
    ),
    "router-no-protocol": (
        "routers hand on TCP and UDP ports when they are asked, and nothing of {protocol}",
        "ルーターに頼めるのは TCP と UDP のポートだけで、{protocol} は頼めません",
    ),
    "router-too-many": (
        "it has {count} ports, and a router is asked for {most} at most",
        "{count} 個のポートがありますが、ルーターに頼めるのは {most} 個までです",
    ),
    "router-only-ipv4": (
        "a router above translates IPv4 only; nothing has to be asked of it for an IPv6 address",
        "上位ルーターが変換するのは IPv4 だけで、IPv6 アドレスについて頼むことはありません",
    ),
    "router-other-line": (
        "{on} is on none of the lines with a router above ({lines})",
        "{on} は上位ルーターのある回線（{lines}）のものではありません",
    ),
    "router-none-before": (
        "no router stands before this machine: no line of it has a private IPv4 address and a gateway",
        "このマシンの手前にルーターがありません（プライベートアドレスの IPv4 回線がありません）",
    ),
    # -- what a refusal means ----------------------------------------------------------------------
    "router-says-version": (
        "it speaks another version of the protocol",
        "プロトコルの別の版しか話しません",
    ),
    "router-says-not-allowed": (
        "it does not let this machine open that port",
        "このマシンがそのポートを開けることを許していません",
    ),
    "router-says-malformed": (
        "it does not accept the request as it is written",
        "要求の内容を受け付けません",
    ),
    "router-says-halved": (
        "it knows only a part of the protocol, and not what is needed here",
        "プロトコルの一部にしか対応しておらず、必要な機能がありません",
    ),
    "router-says-line-down": (
        "its own line to the internet is down or has no address",
        "ルーター自身のインターネット回線が切れているか、アドレスがありません",
    ),
    "router-says-full": (
        "its table of ports is full",
        "ポートの表がいっぱいです",
    ),
    "router-says-protocol": (
        "it cannot map this protocol",
        "このプロトコルには対応していません",
    ),
    "router-says-quota": (
        "this machine has as many ports as it grants to one machine",
        "1 台に許されるポート数に達しています",
    ),
    "router-says-port-not-free": (
        "it cannot give exactly this outside port: it is in use there, or reserved",
        "その外側ポートは使用中か予約済みで、割り当てられません",
    ),
    "router-says-nat-between": (
        "another NAT stands between it and this machine",
        "ルーターとこのマシンの間に別の NAT があります",
    ),
    "router-says-failed": (
        "it failed, and does not say why",
        "失敗しましたが、理由は示されていません",
    ),
    "router-says-person": (
        "it wants somebody to agree on its own page first",
        "ルーターの画面で誰かが承認する必要があります",
    ),
    "router-says-not-there": (
        "it does not have that entry",
        "その項目がありません",
    ),
    "router-says-not-kept": (
        "it said yes, and does not have the entry",
        "承諾したのに、項目が登録されていません",
    ),
    "router-says-one-source": (
        "it opens a port only for one named remote host",
        "接続元のホストを 1 つ指定しないとポートを開けません",
    ),
    "router-says-port-needed": (
        "it opens no port in place of any, only a named one",
        "ポートを具体的に指定する必要があります",
    ),
    "router-says-conflict": (
        "the port leads elsewhere there already",
        "そのポートはすでに別の転送先に割り当てられています",
    ),
    "router-says-same-ports": (
        "it wants the same port outside and inside",
        "外側と内側を同じポートにする必要があります",
    ),
    "router-says-lasting-only": (
        "it takes only entries without an end, and refused that one too",
        "期限のない項目しか受け付けず、それも断られました",
    ),
    "router-says-whole-host": (
        "it opens all ports of a machine or none",
        "マシン全体のポートをまとめてしか開けられません",
    ),
    "router-says-own-use": (
        "the port is used by the router itself, or by a rule that somebody set there by hand",
        "ルーター自身が使っているか、手動で設定された転送ルールがあります",
    ),
    "router-says-read-only": (
        "the entry cannot be changed from here",
        "その項目はここから変更できません",
    ),
    "router-says-one-outside": (
        "by this protocol a port of this machine has one outside port, and '{holder}' has it",
        "このプロトコルでは内側のポート 1 つに外側ポートは 1 つだけで、「{holder}」が使っています",
    ),
    "router-says-silent": (
        "it does not answer",
        "応答がありません",
    ),
    "router-says-unknown": (
        "its answer is one that only its maker knows",
        "メーカー独自の応答です",
    ),
    # -- what to do there --------------------------------------------------------------------------
    "router-do-allow": (
        "On http://{gateway}/, let {local} open ports by UPnP, NAT-PMP or PCP (some routers want ports "
        "from 1024 on).",
        "http://{gateway}/ で、{local} が UPnP・NAT-PMP・PCP でポートを開けることを許可してください"
        "（1024 番以上に限るルーターもあります）。",
    ),
    "router-do-update": (
        "Look for a newer firmware of the router, or another of its settings for UPnP, NAT-PMP and PCP "
        "(http://{gateway}/).",
        "ルーターのファームウェアを更新するか、UPnP・NAT-PMP・PCP の別の設定を試してください（http://{gateway}/）。",
    ),
    "router-do-line": (
        "See on http://{gateway}/ whether the router is online; it is asked again by itself.",
        "http://{gateway}/ でルーターがオンラインか確かめてください。自動で再試行します。",
    ),
    "router-do-room": (
        "Delete entries that nobody needs on http://{gateway}/, or restart the router.",
        "http://{gateway}/ で不要な項目を消すか、ルーターを再起動してください。",
    ),
    "router-do-other-port": (
        "Choose another outside port, or free this one on http://{gateway}/.",
        "別の外側ポートにするか、http://{gateway}/ でこのポートを空けてください。",
    ),
    "router-do-same-port": (
        "Open the same port outside and inside, and have the service listen there.",
        "外側と内側を同じポートにし、サービスもそこで待ち受けてください。",
    ),
    "router-do-nat": (
        "Find the router between {local} and {gateway}; let it be a bridge, or forward the ports there too.",
        "{local} と {gateway} の間のルーターをブリッジにするか、そこでもポートを転送してください。",
    ),
    "router-do-agree": (
        "Agree on http://{gateway}/.",
        "http://{gateway}/ で承認してください。",
    ),
    "router-by-hand": (
        "{run} to {local}, port {inside}",
        "{run} から {local} のポート {inside}",
    ),
    # -- what an outside address tells -----------------------------------------------------------
    "router-address-none": (
        "it is no address: the router's line is down, or it does not know its address",
        "アドレスではありません（ルーターの回線が切れているか、アドレスを把握していません）",
    ),
    "router-address-private": (
        "it is private: another router stands above that one",
        "プライベートアドレスです（さらに上位にルーターがあります）",
    ),
    "router-address-shared": (
        "it is shared (RFC 6598): the carrier translates addresses above that router",
        "共有アドレスです（RFC 6598、さらに上位で事業者が変換しています）",
    ),
    "router-address-odd": (
        "it is no address of the internet",
        "インターネットのアドレスではありません",
    ),
}
"""A cause's key to its text in English and Japanese; part of `causes.CAUSES`."""
