"""Evidence about the line, and causes about what its settings say wrongly."""

from __future__ import annotations

from typing import Final

__all__ = ["LINE"]

LINE: Final[dict[str, tuple[str, str]]] = {
    # -- the address of the WAN --------------------------------------------------------------------
    "line-wan-public": (
        "{interface} has {address}, a public address",
        "{interface} のアドレス {address} はグローバルアドレスです",
    ),
    "line-wan-private": (
        "{interface} has {address}, a private address (RFC 1918)",
        "{interface} のアドレス {address} はプライベートアドレスです（RFC 1918）",
    ),
    "line-wan-shared": (
        "{interface} has {address}, an address for behind a carrier's NAT (RFC 6598)",
        "{interface} のアドレス {address} は事業者の NAT の内側のアドレスです（RFC 6598）",
    ),
    "line-wan-ds-lite": (
        "{interface} has {address}, the inside of a DS-Lite tunnel (RFC 6333)",
        "{interface} のアドレス {address} は DS-Lite のトンネルの内側です（RFC 6333）",
    ),
    "line-wan-link-local": (
        "{interface} has {address}, an address it has given itself: nobody assigned one",
        "{interface} のアドレス {address} は自分で付けたもので、割り当てを受けていません",
    ),
    "line-wan-documentation": (
        "{interface} has {address}, an address for documentation and laboratories (RFC 5737)",
        "{interface} のアドレス {address} は文書や実験用です（RFC 5737）",
    ),
    "line-wan-reserved": (
        "{interface} has {address}, which is no host's address on the internet",
        "{interface} のアドレス {address} はインターネットのホストのものではありません",
    ),
    "line-wan-none": ("{interface} has no IPv4 address", "{interface} に IPv4 アドレスがありません"),
    # -- routers and carriers ----------------------------------------------------------------------
    "line-nat-own": (
        "this machine is the gateway and translates addresses",
        "このマシンがゲートウェイとしてアドレスを変換しています",
    ),
    "line-nat-none": (
        "this machine translates no addresses",
        "このマシンはアドレスを変換していません",
    ),
    "line-untold": ("not told", "不明"),
    "line-router-answered": (
        "a router above answered by {protocol}; its outside address: {address}",
        "上位のルーターが {protocol} で応答しました（外側のアドレス: {address}）",
    ),
    "line-router-private": (
        "{address} is private, so something above translates it",
        "{address} はプライベートアドレスなので、上位で変換されています",
    ),
    "line-router-none": (
        "{address} needs no translation, and no router above answered",
        "{address} は変換が要らず、応答した上位ルーターもありません",
    ),
    "line-router-silent": (
        "no router above answered",
        "応答した上位ルーターはありません",
    ),
    "line-cgnat-address": (
        "{address} is an address for behind a carrier's NAT (RFC 6598)",
        "{address} は事業者の NAT の内側のアドレスです（RFC 6598）",
    ),
    "line-cgnat-unasked": (
        "no STUN server was asked, or none answered, so only the address can be judged",
        "STUN サーバーに問い合わせていないか応答がなく、アドレスだけでは判断できません",
    ),
    "line-cgnat-same": (
        "the internet sees {seen}, the outermost address known here",
        "インターネットからは、ここでわかるいちばん外側のアドレス {seen} に見えています",
    ),
    "line-cgnat-differs": (
        "the internet sees {seen} and not {address}: a carrier's NAT, or this way out is another",
        "インターネットからは {address} ではなく {seen} に見えています（事業者の NAT か、別の経路です）",
    ),
    "line-cgnat-beyond": (
        "the internet sees {seen}, and the router above has {address}: something further translates",
        "インターネットからは {seen} に見え、上位ルーターは {address} です。さらに先で変換されています",
    ),
    "line-cgnat-untold": (
        "the internet sees {seen} and not {address}; whose NAT it is, no router above has told",
        "インターネットからは {address} ではなく {seen} に見えますが、どこの NAT かはわかりません",
    ),
    "line-dslite-address": (
        "{address} is the inside of a DS-Lite tunnel (RFC 6333): the carrier's NAT lets nothing in",
        "{address} は DS-Lite のトンネルの内側で（RFC 6333）、事業者の NAT が外からの通信を通しません",
    ),
    "line-dslite-said": (
        "the settings say DS-Lite (RFC 6333): the carrier's NAT lets nothing in",
        "設定によれば DS-Lite で（RFC 6333）、事業者の NAT が外からの通信を通しません",
    ),
    "line-public-seen": (
        "the STUN server {server} sees {address}",
        "STUN サーバー {server} から {address} に見えています",
    ),
    "line-public-above": (
        "the router above says by {protocol} that its outside address is {address}",
        "上位のルーターが {protocol} で外側のアドレスを {address} と答えました",
    ),
    "line-public-own": (
        "{address} is public, and nothing has shown another",
        "{address} はグローバルアドレスで、ほかのアドレスは見えていません",
    ),
    # -- what NATs and firewalls on the way do --------------------------------------------------------
    "line-mapping-untranslated": (
        "the internet sees {mapped}, as it is here",
        "インターネットからも {mapped} のまま見えています",
    ),
    "line-mapping-endpoint-independent": (
        "one socket of {local} is {mapped} for everyone",
        "{local} のソケットは、だれからも {mapped} に見えます",
    ),
    "line-mapping-address-dependent": (
        "one socket of {local} is {mapped} for one address and another for the next",
        "{local} のソケットは、相手のアドレスによって {mapped} 以外にも見えます",
    ),
    "line-mapping-address-and-port-dependent": (
        "one socket of {local} is {mapped} for one address and port and another for the next",
        "{local} のソケットは、相手のアドレスとポートによって {mapped} 以外にも見えます",
    ),
    "line-mapping-varies": (
        "one socket of {local} is {mapped} for one server and another for the next",
        "{local} のソケットは、サーバーによって {mapped} 以外にも見えます",
    ),
    "line-filtering-endpoint-independent": (
        "an answer from another address than {server}'s came in unasked",
        "{server} とは別のアドレスからの応答が、送っていない相手なのに届きました",
    ),
    "line-filtering-address-dependent": (
        "only what came from the address of {server} came in, from whatever port",
        "{server} のアドレスからなら、どのポートからでも届き、それ以外は届きませんでした",
    ),
    "line-filtering-address-and-port-dependent": (
        "only what came from {server} itself came in",
        "{server} そのものからの応答だけが届きました",
    ),
    # -- addresses that are shared by ports -----------------------------------------------------------
    "line-share": (
        "by the rule for {rule}, {prefix} has {address} with PSID {psid}: ports {ports}",
        "{rule} のルールにより、{prefix} は {address}、PSID {psid} です（ポート {ports}）",
    ),
    "line-share-whole": (
        "by the rule for {rule}, {prefix} has {address} with all its ports",
        "{rule} のルールにより、{prefix} は {address} の全ポートを使えます",
    ),
    "line-share-said": (
        "the settings say that the line has these ports: {ports}",
        "設定によれば、この回線のポートは {ports} です",
    ),
    "line-misfit-address": (
        "the rule gives {expected}, but the line has {address}",
        "ルールでは {expected} ですが、回線のアドレスは {address} です",
    ),
    "line-misfit-port": (
        "the internet sees port {port}, which is not among the line's ({ports})",
        "インターネットから見えるポート {port} が、この回線のポート（{ports}）にありません",
    ),
    # -- whether anything comes in -----------------------------------------------------------------------
    "line-in-proven": (
        "something from the internet came in",
        "インターネットからの通信が届きました",
    ),
    "line-in-no-wan": (
        "this machine has no way to the internet now",
        "このマシンには今インターネットへの経路がありません",
    ),
    "line-in-none": (
        "{interface} has neither an IPv4 address nor an IPv4 default route",
        "{interface} には IPv4 アドレスも IPv4 の既定の経路もありません",
    ),
    "line-in-ports": (
        "the line has a part of a public address: ports {ports}",
        "この回線はグローバルアドレスを分け合っています（ポート {ports}）",
    ),
    "line-in-public": (
        "{address} is public and this machine's own",
        "{address} はグローバルアドレスで、このマシンのものです",
    ),
    "line-in-asked": (
        "the router above has the public address {address}, and can be asked to forward",
        "上位のルーターがグローバルアドレス {address} を持ち、転送を頼めます",
    ),
    "line-in-cone": (
        "a carrier's or a router's NAT stands above, and it passes on what comes to ports in use",
        "上位の NAT は、使用中のポートに届いたものを通します",
    ),
    "line-in-shared": (
        "{address} is behind a carrier's NAT, which mostly lets nothing in; only a test from outside tells",
        "{address} は事業者の NAT の内側で、ふつう外からは届きません。外からの確認だけが決め手です",
    ),
    "line-in-behind": (
        "a NAT above decides, and nothing has shown what it lets in; only a test from outside tells",
        "上位の NAT が何を通すかわかりません。外からの確認だけが決め手です",
    ),
    "line-no-global": (
        "the line has no global IPv6 address",
        "この回線にグローバルな IPv6 アドレスがありません",
    ),
    "line-global": ("the line has {address}", "この回線に {address} があります"),
    "line-in-said-open": (
        "the settings say that IPv6 from outside comes in",
        "設定によれば、外からの IPv6 は届きます",
    ),
    "line-in-said-filtered": (
        "the settings say that a firewall above keeps IPv6 from outside out",
        "設定によれば、上位のファイアウォールが外からの IPv6 を通しません",
    ),
    "line-in-filtered": (
        "a firewall on the way, maybe this machine's own, keeps out what was not asked for",
        "途中のファイアウォール（このマシンのものかもしれません）が、求めていない通信を通しません",
    ),
    "line-in-untested": (
        "nothing has come in from outside yet; only a test from outside tells",
        "外からまだ何も届いていません。外からの確認だけが決め手です",
    ),
    # -- why a look came to nothing ----------------------------------------------------------------------
    "line-look-silent": (
        "no answer from {servers}",
        "{servers} から応答がありません",
    ),
    "line-look-refused": (
        "{server} refuses with error {code}",
        "{server} がエラー {code} で断りました",
    ),
    "line-look-unsent": (
        "nothing can be sent from {address} ({why})",
        "{address} から送れません（{why}）",
    ),
    "line-look-no-server": (
        "none of the STUN servers has an address in IPv{family}",
        "IPv{family} のアドレスを持つ STUN サーバーがありません",
    ),
    # -- the settings ----------------------------------------------------------------------------------
    "line-not-rules": (
        'it is not a list of rules, such as [{{ipv6 = "2001:db8::/40", ipv4 = "192.0.2.0/24", ea = 16}}]',
        'ルールのリスト（[{{ipv6 = "2001:db8::/40", ipv4 = "192.0.2.0/24", ea = 16}}] など）ではありません',
    ),
    "line-rule": ("rule {place}: {why}", "{place} 番目のルール: {why}"),
    "line-not-a-rule": ("it is not a table of {keys}", "{keys} の表ではありません"),
    "line-rule-key": (
        "there is no key '{key}' here; the keys are {keys}",
        "「{key}」というキーはありません。キーは {keys} です",
    ),
    "line-number": (
        "'{key}' is not a number from 0 to {most}",
        "「{key}」が 0 から {most} までの数ではありません",
    ),
    "line-prefix": (
        "'{key}' is not a prefix of that family",
        "「{key}」がその版の IP プレフィックスではありません",
    ),
    "line-bits": (
        "an offset of {offset} bits, a PSID of {length} bits and its value {psid} do not make a set of ports",
        "オフセット {offset} ビット、PSID {length} ビット、値 {psid} ではポートの組になりません",
    ),
    "line-explicit-psid": (
        "a PSID that is not embedded needs an ea that makes a whole IPv4 address",
        "埋め込まれていない PSID には、IPv4 アドレス全体になる ea が必要です",
    ),
    "line-ea-long": (
        "{prefix} and {ea} bits are more than the 64 bits of a line's prefix",
        "{prefix} と {ea} ビットを合わせると、回線のプレフィックスの 64 ビットを超えます",
    ),
    "line-psid-long": (
        "a PSID of {length} bits does not fit behind an offset of {offset}",
        "オフセット {offset} の後ろに {length} ビットの PSID は入りません",
    ),
    "line-not-servers": (
        'it is not a list of servers, such as ["stun.example.net:3478"]',
        'サーバーのリスト（["stun.example.net:3478"] など）ではありません',
    ),
    "line-not-a-server": (
        "'{text}' is not a name or an address, with or without a port",
        "「{text}」は名前でもアドレスでもありません（:ポート を付けられます）",
    ),
    "line-many-servers": (
        "there are more than {most}",
        "{most} を超えています",
    ),
    "line-often": (
        "the servers are strangers', and are asked once in {least} s at most",
        "問い合わせ先は他人のサーバーなので、{least} 秒に 1 回までです",
    ),
    "line-not-inbound": ("it is none of {words}", "{words} のどれでもありません"),
}
