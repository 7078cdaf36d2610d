"""What the CLI says about the gateway, bans and killing: results, and the help of their verbs."""

from __future__ import annotations

from typing import Final

__all__ = ["EXAMPLES", "GATEWAY"]

GATEWAY: Final[dict[str, tuple[str, str]]] = {
    "misuse.no-noun-verb": (
        "cannot go on: '{text}' needs one of {verbs} after it",
        "続けられません: 「{text}」の後に {verbs} のどれかが必要です",
    ),
    # -- what was done -----------------------------------------------------------------------------
    "done.gateway-on": (
        "This machine is a gateway now (masquerade {masquerade}, firewall {firewall}). To end it: "
        "sekimori gateway disable",
        "このマシンはゲートウェイになりました（masquerade {masquerade}、firewall {firewall}）。やめるには: "
        "sekimori gateway disable",
    ),
    "done.gateway-off": (
        "This machine is no longer a gateway. To take that back: sekimori undo{revision}",
        "このマシンはゲートウェイではなくなりました。取り消すには: sekimori undo{revision}",
    ),
    "done.ban": (
        "Banned {name} {until}. To lift it: sekimori unban {name}",
        "{name} を締め出しました（{until}）。解除するには: sekimori unban {name}",
    ),
    "done.unban": ("{name} may come in again.", "{name} の締め出しを解除しました。"),
    "done.ban-ended": ("The ban of {name} has ended.", "{name} の締め出しは期限で終わりました。"),
    "until.lifted": ("until it is lifted", "解除するまで"),
    "kill.done": ("Ended {count} live connections.", "接続中の {count} 件を切りました。"),
    "kill.all": ("everything", "すべて"),
    "ask.gateway": ("This would be done on this machine:", "このマシンで次のことをします:"),
    "ask.kill-source": (
        "Live connections from {source} to {name} would end at once.",
        "{source} から{name}への接続がすぐに切れます。",
    ),
    "bans.empty": (
        "Nobody is banned. To keep somebody out: sekimori ban 198.51.100.7 --for 1d",
        "締め出しはありません。締め出すには: sekimori ban 198.51.100.7 --for 1d",
    ),
    # -- gateway status ------------------------------------------------------------------------------
    "gateway.on": ("This machine is a gateway.", "このマシンはゲートウェイです。"),
    "gateway.off": (
        "This machine is no gateway of Sekimori's. To make it one: sekimori gateway enable",
        "このマシンは Sekimori のゲートウェイではありません。するには: sekimori gateway enable",
    ),
    "gateway.masquerade": ("masquerade", "送信元の書き換え"),
    "gateway.firewall": ("firewall", "ファイアウォール"),
    "gateway.owner": ("owner", "持ち主"),
    "gateway.managed_by": ("managed by", "管理"),
    "gateway.since": ("since", "開始"),
    "gateway.found": ("settings before", "変更前の設定"),
    "gateway.forwarding4": ("forwards IPv4", "IPv4 の転送"),
    "gateway.forwarding6": ("forwards IPv6", "IPv6 の転送"),
    "gateway.wans": ("WAN", "WAN（外側）"),
    "gateway.lans": ("LAN", "LAN（内側）"),
    "gateway.obstacle": ("cannot be one", "できない理由"),
    "gateway.problem": ("problem", "問題"),
    "gateway.fix": ("to do", "対処"),
    "gateway.nothing-found": ("none found", "見つかりません"),
    # -- fields, heads, verbs ------------------------------------------------------------------------
    "field.masquerade": ("masquerade", "送信元の書き換え"),
    "field.firewall": ("firewall", "ファイアウォール"),
    "field.reason": ("reason", "理由"),
    "head.banned": ("BANNED", "締め出し"),
    "cause.banned": ("banned", "締め出し"),
    "verb.gateway": ("set", "設定"),
    "verb.ban": ("ban", "締め出し"),
    "verb.unban": ("lift ban", "締め出し解除"),
    # -- help ------------------------------------------------------------------------------------------
    "help.guard": ("Gateway and guard", "ゲートウェイと守り"),
    "help.noun.gateway": ("this machine as a gateway: {verbs}", "ゲートウェイ: {verbs}"),
    "help.noun": ("COMMANDS", "コマンド"),
    "help.verb.gateway status": (
        "whether this machine is a gateway, and between what",
        "ゲートウェイかどうか、何の間にあるか",
    ),
    "help.verb.gateway enable": (
        "forward for the LAN; each step is shown first",
        "LAN のために転送する（先に手順を示します）",
    ),
    "help.verb.gateway disable": ("take back what enable did", "enable で行ったことを元に戻す"),
    "help.verb.ban": ("keep an address out of everything", "アドレスをすべてから締め出す"),
    "help.verb.unban": ("lift a ban", "締め出しを解除する"),
    "help.verb.bans": ("who is kept out, until when, why", "締め出しの一覧"),
    "help.verb.kill": (
        "end live connections of a mapping or from an address",
        "マッピングの、またはアドレスからの接続を切る",
    ),
    "help.argument.address": (
        "an address or a prefix: 198.51.100.7, 198.51.100.0/24, 2001:db8::/32",
        "アドレスかプレフィックス: 198.51.100.7、198.51.100.0/24、2001:db8::/32",
    ),
    "help.argument.what": (
        "a mapping's name, id or outside port; or an address or prefix",
        "マッピングの名前、ID、外側ポート、またはアドレスかプレフィックス",
    ),
    "help.flag.gateway enable.masquerade": (
        "send what the LAN sends out under the address of the WAN (IPv4; on unless --no-masquerade)",
        "LAN から出る IPv4 通信の送信元を WAN のアドレスに書き換える（既定でする。--no-masquerade でしない）",
    ),
    "help.flag.gateway enable.firewall": (
        "admit from outside only mappings and replies (off unless said; --no-firewall ends it)",
        "外からはマッピングと応答だけを通す（既定ではしない。--no-firewall でやめる）",
    ),
    "help.flag.ban.for": (
        "for how long: 2h, 1d (until it is lifted unless said)",
        "期間: 2h、1d（省略時は解除するまで）",
    ),
    "help.flag.kill.from": (
        "only those from this address or prefix",
        "このアドレスかプレフィックスからのものだけ",
    ),
}

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "gateway enable": (
        "sekimori gateway enable --plan",
        "sekimori gateway enable --firewall --why 'the new router'",
        "sekimori gateway enable --no-firewall",
    ),
    "ban": (
        "sekimori ban 198.51.100.7 --for 1d --why 'tries passwords'",
        "sekimori ban 2001:db8:bad::/48",
    ),
    "unban": ("sekimori unban 198.51.100.7",),
    "kill": (
        "sekimori kill minecraft",
        "sekimori kill 198.51.100.7",
        "sekimori kill web --from 198.51.100.0/24",
    ),
}
"""Lines to type, by verb; the same in every language."""
