"""What the CLI says about the line to the internet and the router above; and the help of those verbs."""

from __future__ import annotations

from typing import Final

__all__ = ["EXAMPLES", "LINE"]

LINE: Final[dict[str, tuple[str, str]]] = {
    "line.head": ("The line by {interface}:", "{interface} の回線:"),
    "line.none": (
        "No line to the internet: no interface has an address or a default route outwards.",
        "インターネットへの回線がありません。外向きの既定の経路やアドレスを持つインターフェイスがありません。",
    ),
    "line.ask-why": (
        "What each follows from: sekimori status --why",
        "それぞれの根拠: sekimori status --why",
    ),
    # -- facts -------------------------------------------------------------------------------------
    "line.wan4": ("IPv4 address", "IPv4 アドレス"),
    "line.own-nat": ("own NAT", "自分の NAT"),
    "line.second-router": ("second router", "上位のルーター"),
    "line.cgnat": ("carrier's NAT (CGNAT)", "事業者の NAT（CGNAT）"),
    "line.public4": ("public IPv4", "グローバル IPv4"),
    "line.public6": ("IPv6 seen outside", "外から見た IPv6"),
    "line.nat-mapping": ("NAT mapping", "NAT の割り当て"),
    "line.nat-filtering": ("NAT filtering", "NAT のフィルター"),
    "line.port-set": ("outside ports", "外側ポート"),
    "line.ds-lite": ("DS-Lite tunnel", "DS-Lite トンネル"),
    "line.global6": ("IPv6", "IPv6 アドレス"),
    "line.inbound4": ("IPv4 from outside", "外からの IPv4"),
    "line.inbound6": ("IPv6 from outside", "外からの IPv6"),
    # -- their values ------------------------------------------------------------------------------
    "line.is-yes": ("yes", "あり"),
    "line.is-no": ("no", "なし"),
    "line.is-unknown": ("unknown", "不明"),
    "line.is-none": ("none", "なし"),
    "line.is-misfit": ("what the rule gives does not fit the line", "ルールと回線が合いません"),
    "line.gets-yes": ("gets in", "届く"),
    "line.gets-no": ("cannot get in", "届かない"),
    "line.gets-unknown": ("unknown", "不明"),
    "line.ports": ("{count} ports: {ranges}", "{count} 個: {ranges}"),
    "line.marked": ("{value} ({mark})", "{value}（{mark}）"),
    "line.marked-twice": ("{value} ({mark}, {when})", "{value}（{mark}、{when}）"),
    "line.now": ("now", "今"),
    "line.certain": ("certain", "確実"),
    "line.likely": ("likely", "おそらく"),
    "line.possible": ("possible", "可能性あり"),
    # -- router status -----------------------------------------------------------------------------
    "router.head": ("The router above {interface}: {gateway}", "{interface} の上位のルーター: {gateway}"),
    "router.none-above": (
        "No router above has to be asked: no line of this machine has a private IPv4 address. Lines: "
        "sekimori status",
        "頼むべき上位のルーターはありません。プライベート IPv4 アドレスの回線がないからです。回線: "
        "sekimori status",
    ),
    "router.state": ("state", "状態"),
    "router.protocol": ("asked by", "頼む方法"),
    "router.model": ("model", "機種"),
    "router.address": ("outside address", "外側のアドレス"),
    "router.since": ("up since", "稼働開始"),
    "router.heard": ("last heard", "最後の応答"),
    "router.local": ("leads to", "転送先"),
    "router.entries": ("its entries", "登録"),
    "router.is-unknown": ("is being asked", "問い合わせ中"),
    "router.is-there": ("answers", "応答あり"),
    "router.is-none": (
        "answers neither PCP nor NAT-PMP nor UPnP. Switch one of them on there, or have it forward ports to "
        "{local} by hand.",
        "PCP、NAT-PMP、UPnP のどれにも応答しません。ルーターでどれかを有効にするか、{local} への転送を手で"
        "設定してください。",
    ),
    "router.is-silent": (
        "answered once, and does not any more: it may be off, or starting again. It is asked again.",
        "以前は応答しましたが、今は応答しません。停止中か再起動中かもしれません。問い合わせを続けます。",
    ),
    "router.also": ("{asked} (it answers {others} too)", "{asked}（{others} にも応答）"),
    "router.lasting": (
        "only without an end: they stay there if this program is killed",
        "無期限のものだけ。このプログラムが強制終了されると残ります",
    ),
    "router.refused": ("It does not open:", "開けていないもの:"),
    # -- show --------------------------------------------------------------------------------------
    "field.hop": ("hop", "ホップ"),
    "path.kernel": ("by the kernel", "カーネル"),
    "path.relay": ("by the relay", "リレー"),
    "path.router": ("by the router above", "上位のルーター"),
    "path.link": ("through the link {link}", "リンク {link}"),
    "path.from-link": ("from the far end of the link {link}", "リンク {link} の先"),
    "path.client": ("to the client of the SSH door", "SSH の窓口のクライアント"),
    "path.joint": (", ", " → "),
    "hop.works": ("{plane}: works", "{plane}: 動いています"),
    "hop.fails": ("{plane}: does not work", "{plane}: 動いていません"),
    # -- help --------------------------------------------------------------------------------------
    "help.verb.router status": (
        "who the router above is, how it is asked, and what it does not open",
        "上位のルーター、頼み方、開けていないもの",
    ),
    "help.flag.status.why": ("what each fact of the line follows from", "回線についての根拠も示す"),
}

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "status": ("sekimori status --why",),
    "router status": ("sekimori router status",),
}
"""Lines to type, by verb; the same in every language."""
