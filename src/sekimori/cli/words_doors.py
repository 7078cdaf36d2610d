"""What the CLI says about the doors for devices, their rules and leases; and the help of those verbs."""

from __future__ import annotations

from typing import Final

__all__ = ["DOORS", "EXAMPLES"]

DOORS: Final[dict[str, tuple[str, str]]] = {
    "misuse.of-door": (
        "cannot run '{verb}': {text} is of the door {value}, which was not named",
        "「{verb}」を実行できません: {text} は窓口 {value} のもので、{value} が指定されていません",
    ),
    "misuse.one-of": (
        "cannot run '{verb}': '{value}' is not a value for {text}; it takes {known}",
        "「{verb}」を実行できません: 「{value}」は {text} に使えません。使えるのは {known} です",
    ),
    # -- what was done -----------------------------------------------------------------------------
    "done.door-on": (
        "The {name} is open on {interfaces}. Who may open what: sekimori door rules",
        "{name} を {interfaces} で開けました。だれが何を開けられるか: sekimori door rules",
    ),
    "done.door-off": (
        "The {name} is shut. What devices leased there stands until its end: sekimori router ls",
        "{name} を閉じました。すでに借りられたものは期限まで残ります: sekimori router ls",
    ),
    "done.permit": ("Changed the permission rules:", "許可ルールを変更しました:"),
    "done.permit-usual": (
        "No rules are written any more; the usual one holds: sekimori door rules",
        "書かれたルールはなくなり、既定のルールが有効です: sekimori door rules",
    ),
    "done.adopt": (
        "{name} is yours now, {until}; its device can no longer change or end it.",
        "{name} を引き取りました（{until}）。もう機器からは変更も終了もできません。",
    ),
    # -- door ls, door rules -----------------------------------------------------------------------
    "door.shut": ("shut", "閉"),
    "door.nonce": ("nonce {rule}", "ノンス {rule}"),
    "door.all-shut": (
        "No device may open ports by itself. To let them: sekimori door enable igd portmap --on lan0",
        "機器が自分でポートを開けることはできません。できるようにするには: "
        "sekimori door enable igd portmap --on lan0",
    ),
    "door.refused": (
        "Refused lately (what may be asked for: sekimori door rules):",
        "最近の拒否（何を求められるか: sekimori door rules）:",
    ),
    "rules.usual": (
        "Nobody wrote rules; this one holds unless somebody does:",
        "ルールは書かれていません。書くまでは次のルールが有効です:",
    ),
    "rules.rest": (
        "The first rule that fits decides; what none fits is denied.",
        "最初に当てはまるルールで決まり、どれにも当てはまらない要求は拒否します。",
    ),
    "rules.unsaid": (
        "Unless it says otherwise, a rule that allows is about ports {ports} (outside and inside), to the "
        "device itself, {most} leases of each and {longest} at most.",
        "許可のルールは、書かれていない限り、外側・内側ともポート {ports}、要求した機器自身あて、"
        "1 台 {most} 件まで、期間は最長 {longest} です。",
    ),
    "rules.none": (
        "There is no rule, so everything is denied. The usual rule: sekimori door allow all",
        "ルールがないので、すべて拒否します。既定のルールに戻すには: sekimori door allow all",
    ),
    # -- leases ------------------------------------------------------------------------------------
    "leases.empty": (
        "No device has opened a port by itself. Where they may ask: sekimori door ls",
        "機器が自分で開けたポートはありません。窓口の様子: sekimori door ls",
    ),
    "leases.unused": ("never", "未使用"),
    "show.asked-by": ("{protocol}: '{description}'", "{protocol}「{description}」"),
    "show.lasting": ("{asked}, without an end", "{asked}、期限なし"),
    "show.outbound": ("{asked}, for one peer", "{asked}、相手 1 つ"),
    # -- fields, heads, verbs ----------------------------------------------------------------------
    "field.lease": ("asked for by", "機器の求め"),
    "field.interfaces": ("interfaces", "インターフェイス"),
    "field.version": ("IGD version", "IGD の版"),
    "field.nonce": ("nonce", "ノンス"),
    "head.for-devices": ("DOOR", "窓口"),
    "head.where": ("ON", "場所"),
    "head.terms": ("ANSWERS AS", "応答"),
    "head.leases": ("LEASES", "リース"),
    "head.number": ("NO", "番号"),
    "head.rule": ("RULE", "ルール"),
    "head.device": ("DEVICE", "機器"),
    "head.asked": ("BY", "方法"),
    "head.description": ("DESCRIPTION", "説明"),
    "head.wished": ("ASKED FOR", "要求"),
    "head.times": ("TIMES", "回数"),
    "head.refused-why": ("WHY NOT", "理由"),
    "head.left": ("LEFT", "残り"),
    "verb.door": ("set", "設定"),
    "verb.permit": ("set", "設定"),
    "verb.adopt": ("adopt", "引き取り"),
    # -- help --------------------------------------------------------------------------------------
    "help.noun.door": (
        "doors at which devices and SSH clients ask for ports: {verbs}",
        "機器や SSH クライアントがポートを求める窓口: {verbs}",
    ),
    "help.noun.router": (
        "the router above, and what devices opened by themselves: {verbs}",
        "上位のルーターと、機器が自分で開けたもの: {verbs}",
    ),
    "help.verb.door ls": (
        "which doors are open, where, what keeps them shut, and whom they refused",
        "開いている窓口、場所、応答できない理由、最近の拒否",
    ),
    "help.verb.door enable": (
        "let ports be asked for: by UPnP (igd), NAT-PMP and PCP (portmap), ssh -R (ssh)",
        "UPnP（igd）、NAT-PMP・PCP（portmap）、ssh -R（ssh）で求められるようにする",
    ),
    "help.verb.door disable": (
        "shut doors; what was leased stands until its end",
        "窓口を閉じる（借りられたものは期限まで残る）",
    ),
    "help.verb.door rules": (
        "which devices may open which ports by themselves",
        "どの機器がどのポートを自分で開けられるか",
    ),
    "help.verb.door allow": ("let devices open ports by themselves", "機器が自分でポートを開けるのを許す"),
    "help.verb.door deny": (
        "keep devices from opening ports by themselves",
        "機器が自分でポートを開けるのを拒否する",
    ),
    "help.verb.door forget": ("take a permission rule away", "許可ルールを消す"),
    "help.verb.router ls": (
        "what devices opened by themselves, and when it was last used",
        "機器が自分で開けたものと最終利用",
    ),
    "help.verb.router adopt": (
        "make what a device opened your own mapping (24h unless said)",
        "機器が開けたものを自分のマッピングにする（省略時は 24h）",
    ),
    "help.verb.import": (
        "take over a miniupnpd.conf: its doors and its rules",
        "miniupnpd.conf の窓口とルールを取り込む",
    ),
    "help.argument.doors": (
        "igd (UPnP), portmap (NAT-PMP and PCP), ssh",
        "igd（UPnP）、portmap（NAT-PMP と PCP）、ssh",
    ),
    "help.argument.who": (
        "which devices: all, 192.168.1.0/24, 2001:db8:1::/64, aa:bb:cc:dd:ee:ff, on:lan0; commas between",
        "対象の機器: all、192.168.1.0/24、2001:db8:1::/64、aa:bb:cc:dd:ee:ff、on:lan0（カンマ区切り可）",
    ),
    "help.argument.protocols": (
        "tcp, udp, tcp+udp; every one unless said",
        "tcp、udp、tcp+udp（省略時はすべて）",
    ),
    "help.argument.number": (
        "the rule's number ('sekimori door rules')",
        "ルールの番号（sekimori door rules）",
    ),
    "help.argument.import.file": ("a miniupnpd.conf, '-' for stdin", "miniupnpd.conf。- なら標準入力"),
    "help.flag.door enable.on": (
        "where devices ask: interfaces of LANs; of ssh ADDRESS:PORT; repeat or use commas",
        "機器が求める場所: LAN のインターフェイス。ssh では アドレス:ポート（カンマ区切りか繰り返し）",
    ),
    "help.flag.igd_version": (
        "which IGD it says it is: 1 unless said, which every device understands",
        "名乗る IGD の版（省略時は、どの機器にも通じる 1）",
    ),
    "help.flag.nonce": (
        "what becomes of PCP requests with another nonce: the device that has the lease may change it "
        "(same-source, unless said), or not (strict)",
        "ノンスの違う PCP の要求の扱い。借りている機器なら変えられる（same-source、既定）か、"
        "変えられない（strict）か",
    ),
    "help.flag.outside": (
        "outside ports it is about: 1024-65535 unless said; to deny, every one",
        "対象の外側ポート（省略時は 1024-65535、拒否ではすべて）",
    ),
    "help.flag.inside": (
        "inside ports it is about, likewise",
        "対象の内側ポート（省略時は同上）",
    ),
    "help.flag.most": (
        "how many leases one device may hold: 64 unless said, or 'any'",
        "1 台が同時に借りられる数（省略時は 64、any で無制限）",
    ),
    "help.flag.door allow.for": (
        "how long a lease may last: 7d unless said",
        "リースの最長期間（省略時は 7d）",
    ),
    "help.flag.others": (
        "devices may also open ports to other hosts of the LAN",
        "LAN のほかの機器へのポートも開けられる",
    ),
    "help.flag.matching": (
        "only what is described like this (a regular expression for the whole description)",
        "説明文がこれに合うものだけ（説明文の全体に対する正規表現）",
    ),
    "help.flag.at": (
        "its number: last unless said, but before a rule that would leave it nothing to decide",
        "ルールの番号（省略時は最後。ただし、効かなくなる位置は避ける）",
    ),
    "help.flag.router adopt.for": ("for how long from now: 30d", "今からの期間: 30d"),
}

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "door enable": (
        "sekimori door enable igd portmap --on lan0 --why 'the consoles'",
        "sekimori door enable igd --igd-version 2 --plan",
        "sekimori door enable portmap --on lan0,lan1 --nonce strict",
        "sekimori door enable ssh --on 192.168.1.1:2222",
    ),
    "door disable": ("sekimori door disable igd portmap",),
    "door allow": (
        "sekimori door allow 192.168.1.0/24 --most 20 --for 24h",
        "sekimori door allow aa:bb:cc:dd:ee:ff tcp+udp --outside 1024-65535 --others",
        "sekimori door allow on:lan0 udp --matching 'Xbox.*' --at 1",
    ),
    "door deny": ("sekimori door deny on:guest0", "sekimori door deny all tcp --outside 1-1023"),
    "door forget": ("sekimori door forget 2 --plan",),
    "router adopt": (
        "sekimori router adopt tcp-32400 --for 30d",
        "sekimori router adopt udp-3074 --permanent 'the console of the living room'",
    ),
    "import": (
        "sekimori import /etc/miniupnpd/miniupnpd.conf --plan",
        "sekimori import /etc/miniupnpd/miniupnpd.conf --why 'instead of miniupnpd'",
    ),
}
"""Lines to type, by verb; the same in every language."""
