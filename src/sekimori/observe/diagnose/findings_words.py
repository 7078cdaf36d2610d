"""What findings say, in English and Japanese: what is wrong, then what to do."""

# ruff: noqa: E501 - full-width text counts double

from __future__ import annotations

from typing import Final

__all__ = ["WORDS"]

WORDS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "fw-drops": {
        "en": (
            "{subject} does not get through: a rule of {owner} in the chain {where} drops it ({evidence})",
            "Have {owner} let it pass before that rule.",
        ),
        "ja": (
            "{subject} は届きません: {owner} のチェーン {where} の規則が捨てています ({evidence})",
            "その規則より前で通すように {owner} を設定してください。",
        ),
    },
    "fw-rejects": {
        "en": (
            "{subject} does not get through: a rule of {owner} in the chain {where} rejects it ({evidence})",
            "Have {owner} let it pass before that rule.",
        ),
        "ja": (
            "{subject} は届きません: {owner} のチェーン {where} の規則が拒んでいます ({evidence})",
            "その規則より前で通すように {owner} を設定してください。",
        ),
    },
    "fw-drops-back": {
        "en": (
            "{subject} gets no answer: a rule of {owner} in the chain {where} drops the way back ({evidence})",
            "Have {owner} let answers pass: established flows, before that rule.",
        ),
        "ja": (
            "{subject} の返事が届きません: {owner} のチェーン {where} の規則が帰りを捨てています ({evidence})",
            "その規則より前で、確立済みの通信を通すように {owner} を設定してください。",
        ),
    },
    "fw-rejects-back": {
        "en": (
            "{subject} gets no answer: a rule of {owner} in the chain {where} rejects the way back ({evidence})",
            "Have {owner} let answers pass: established flows, before that rule.",
        ),
        "ja": (
            "{subject} の返事が届きません: {owner} のチェーン {where} の規則が帰りを拒んでいます ({evidence})",
            "その規則より前で、確立済みの通信を通すように {owner} を設定してください。",
        ),
    },
    "fw-may-drop": {
        "en": (
            "{subject} does not get through for some: a rule of {owner} in the chain {where} keeps back a "
            "part of the internet, or some packets ({evidence})",
            "If that is not meant, have {owner} let it pass before that rule.",
        ),
        "ja": (
            "{subject} が届かない相手がいます: {owner} のチェーン {where} の規則が、"
            "インターネットの一部または一部の通信を止めています ({evidence})",
            "意図したものでなければ、その規則より前で通すように {owner} を設定してください。",
        ),
    },
    "policy-drop": {
        "en": (
            "{subject} does not get through: no rule of {owner} accepts it, and the chain {where} drops what "
            "no rule accepts ({evidence})",
            "Have {owner} accept it.",
        ),
        "ja": (
            "{subject} は届きません: {owner} に通す規則がなく、チェーン {where} の既定は破棄です ({evidence})",
            "{owner} に通す規則を加えてください。",
        ),
    },
    "policy-drop-back": {
        "en": (
            "{subject} gets no answer: no rule of {owner} accepts the way back, and the chain {where} drops "
            "what no rule accepts ({evidence})",
            "Have {owner} accept established flows.",
        ),
        "ja": (
            "{subject} の返事が届きません: {owner} に帰りを通す規則がなく、"
            "チェーン {where} の既定は破棄です ({evidence})",
            "{owner} に、確立済みの通信を通す規則を加えてください。",
        ),
    },
    "fw-unknown": {
        "en": (
            "{subject} may not get through: a rule of {owner} in the chain {where} asks something that cannot "
            "be read ({evidence})",
            "See with 'iptables-save' or 'nft list ruleset' what it asks.",
        ),
        "ja": (
            "{subject} は届かないかもしれません: {owner} のチェーン {where} に、"
            "読み取れない条件の規則があります ({evidence})",
            "iptables-save か nft list ruleset で条件を確かめてください。",
        ),
    },
    "fw-hidden": {
        "en": (
            "{subject} may not get through: this machine has rules of iptables-legacy, which cannot be read",
            "Install iptables, so that 'iptables-legacy-save' can be run, or remove those rules.",
        ),
        "ja": (
            "{subject} は届かないかもしれません: このマシンには読み取れない iptables-legacy の規則があります",
            "iptables-legacy-save を実行できるように iptables を入れるか、その規則を取り除いてください。",
        ),
    },
    "fw-notrack": {
        "en": (
            "{subject} is not translated: a rule of {owner} in the chain {where} keeps it from connection "
            "tracking, and so from every NAT ({evidence})",
            "Take {subject} out of that rule.",
        ),
        "ja": (
            "{subject} は変換されません: {owner} のチェーン {where} の規則が接続追跡から外しているので、"
            "NAT が効きません ({evidence})",
            "その規則から {subject} を除いてください。",
        ),
    },
    "nat-shadowed": {
        "en": (
            "{subject} goes to {leads}: NAT of {owner} in the chain {where} comes before ours ({evidence})",
            "Remove that forward from {owner}, or open another outside port.",
        ),
        "ja": (
            "{subject} は {leads} に行きます: {owner} のチェーン {where} の NAT のほうが先です ({evidence})",
            "{owner} からその転送を取り除くか、別の外側ポートを開けてください。",
        ),
    },
    "nat-takes-over": {
        "en": (
            "{subject} takes over what {owner} forwards to {leads} in the chain {where} ({evidence})",
            "Close one of the two, or use another outside port.",
        ),
        "ja": (
            "{subject} は、{owner} がチェーン {where} で {leads} へ転送しているものを横取りします ({evidence})",
            "どちらかを閉じるか、別の外側ポートを使ってください。",
        ),
    },
    "fw-accepts-all": {
        "en": (
            "the chain {where} of {owner} accepts everything from {wan} to {lan}, more than {subject} ({evidence})",
            "Narrow that rule, if it is not meant: what is forwarded or routed inside is open without it too.",
        ),
        "ja": (
            "{owner} のチェーン {where} は {wan} から {lan} へのすべてを通しており、"
            "{subject} より広く開いています ({evidence})",
            "意図したものでなければ規則を狭めてください。転送している通信はその規則がなくても通せます。",
        ),
    },
    "bridge-nf": {
        "en": (
            "hosts that share a port of the bridge {subject} with a target cannot reach it by the outside address: bridged packets go through the packet filter ({name} is 1), so they are translated on the bridge, which sends nothing back out of the port it came by",
            "Set {name} to 0, unless containers on a bridge need it.",
        ),
        "ja": (
            "ブリッジ {subject} で転送先と同じポートの先にいるホストから、外側アドレスでは届きません: ブリッジの通信もフィルタを通って ({name} が 1) そこで変換されますが、ブリッジは来たポートへは送り返しません",
            "ブリッジ上のコンテナなどで必要でなければ {name} を 0 にしてください。",
        ),
    },
    "forwarding-off": {
        "en": (
            "{subject} does not get through: this machine forwards no IPv{version} packets ({name} is 0)",
            "Set {name} to 1.",
        ),
        "ja": (
            "{subject} は届きません: このマシンは IPv{version} を転送しません ({name} が 0)",
            "{name} を 1 にしてください。",
        ),
    },
    "rp-filter-strict": {
        "en": (
            "{subject} does not get through by {interface}: strict reverse path filtering drops packets whose "
            "way back is by another WAN ({name})",
            "Set {name} to 2 (loose).",
        ),
        "ja": (
            "{subject} は {interface} からは届きません: 厳格な逆経路フィルタが、"
            "帰りが別の WAN になる通信を捨てます ({name})",
            "{name} を 2 (緩い検査) にしてください。",
        ),
    },
    "no-wan-address": {
        "en": (
            "{subject} cannot be reached: this machine has no IPv{version} address outside",
            "Check the line and its address: 'ip address', 'ip route'.",
        ),
        "ja": (
            "{subject} には届きません: このマシンには外側の IPv{version} アドレスがありません",
            "回線とアドレスを確かめてください: ip address、ip route。",
        ),
    },
    # -- of the machine as a whole, and of what mappings lead to -----------------------------------
    "ruleset-unread": {
        "en": (
            "what other firewalls on this machine do cannot be told: their rules cannot be read ({why})",
            "Run the daemon as root, or give it CAP_NET_ADMIN, and see what 'nft list ruleset' says.",
        ),
        "ja": (
            "このマシンのほかのファイアウォールが何をするかは分かりません: 規則を読めません ({why})",
            "デーモンを root で動かすか CAP_NET_ADMIN を与え、nft list ruleset の結果を確かめてください。",
        ),
    },
    "ruleset-no-nft": {
        "en": (
            "what other firewalls on this machine do cannot be told: nftables is not here ({why})",
            "Install nftables (Debian: apt install nftables).",
        ),
        "ja": (
            "このマシンのほかのファイアウォールが何をするかは分かりません: nftables がありません ({why})",
            "nftables を入れてください (Debian では apt install nftables)。",
        ),
    },
    "no-wan": {
        "en": (
            "this machine cannot be a gateway: no default route leads outside",
            "Check the line with 'ip route', or name its interface in the config file: [network] wan.",
        ),
        "ja": (
            "このマシンはゲートウェイになれません: 外へ出るデフォルトルートがありません",
            "ip route で回線を確かめるか、設定ファイルの [network] wan にインターフェイスを書いてください。",
        ),
    },
    "no-lan": {
        "en": (
            "this machine cannot be a gateway: it has no network inside, only {wans}",
            "If there is one, name its interface in the config file: [network] lan. The relay needs none.",
        ),
        "ja": (
            "このマシンはゲートウェイになれません: 内側のネットワークがなく、{wans} だけです",
            "内側があるなら、設定ファイルの [network] lan にそのインターフェイスを書いてください。中継 (relay) には要りません。",
        ),
    },
    "forwarding-off-here": {
        "en": (
            "this machine forwards no IPv{version} packets ({name} is 0): the kernel leads nothing to the LAN",
            "'sekimori gateway enable' has it forward. The relay works without it.",
        ),
        "ja": (
            "このマシンは IPv{version} を転送しません ({name} が 0): カーネルは LAN へ何も通しません",
            "sekimori gateway enable で転送するようになります。中継 (relay) はそのままで動きます。",
        ),
    },
    "wan-private": {
        "en": (
            "another router stands between {interface} and the internet: its address {address} is a private "
            "one (RFC 1918), so what is opened here is reached from outside only if that router forwards it",
            "Forward the ports on that router too, or have it work as a bridge.",
        ),
        "ja": (
            "{interface} とインターネットの間に別のルーターがあります: アドレス {address} はプライベート "
            "(RFC 1918) なので、ここで開けたものは、そのルーターが転送しない限り外から届きません",
            "そのルーターでもポートを転送するか、ブリッジとして動かしてください。",
        ),
    },
    "wan-shared": {
        "en": (
            "nobody outside reaches {interface} over IPv4: its address {address} is shared by customers of "
            "the provider (RFC 6598, carrier-grade NAT)",
            "Ask the provider for an IPv4 address of your own, or open over IPv6.",
        ),
        "ja": (
            "{interface} には外から IPv4 で届きません: アドレス {address} はプロバイダーの利用者で共用です "
            "(RFC 6598、キャリアグレード NAT)",
            "プロバイダーに専用の IPv4 アドレスを頼むか、IPv6 で開けてください。",
        ),
    },
    "no-listener": {
        "en": (
            "{subject} leads to this machine, where nothing listens on {port}",
            "Start the service, or close the mapping with 'sekimori close {name}'.",
        ),
        "ja": (
            "{subject} はこのマシンの {port} につながりますが、待ち受けているものがありません",
            "サービスを起動するか、sekimori close {name} でマッピングを閉じてください。",
        ),
    },
}
