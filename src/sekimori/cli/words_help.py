"""The help texts: what each verb does, what each flag means, and examples."""

from __future__ import annotations

from typing import Final

__all__ = ["EXAMPLES", "HELP"]

HELP: Final[dict[str, tuple[str, str]]] = {
    "help.head": (
        "Sekimori opens ports, to whom you say, for as long as you say.",
        "Sekimori（関守）は、相手と期限を決めてポートを開けます。",
    ),
    "help.usage": ("Usage", "使い方"),
    "help.everyday": ("Everyday", "よく使うもの"),
    "help.look": ("Look", "見る"),
    "help.file": ("Config file", "設定ファイル"),
    "help.run": ("Run", "動かす"),
    "help.options": ("Options", "オプション"),
    "help.everywhere": ("Options of every command", "すべてのコマンドで使えるオプション"),
    "help.examples": ("Examples", "例"),
    "help.more": (
        "'sekimori COMMAND --help' explains one command.",
        "各コマンドの説明は sekimori コマンド --help で見られます。",
    ),
    "help.command": ("COMMAND", "コマンド"),
    "help.options-short": ("[options]", "[オプション]"),
    # -- verbs -------------------------------------------------------------------------------
    "help.verb.open": ("open a port and lead it to a target", "ポートを開けて転送先につなぐ"),
    "help.verb.close": ("close mappings", "マッピングを閉じる"),
    "help.verb.extend": ("give a mapping more time", "期限を延ばす"),
    "help.verb.pause": ("stop admitting anyone, keep the mapping", "一時停止する（マッピングは残す）"),
    "help.verb.resume": ("admit again after a pause", "一時停止から再開する"),
    "help.verb.edit": ("change a mapping; 'none' clears a value", "マッピングを変える（none で値を消す）"),
    "help.verb.ls": (
        "list what is open, to whom, until when",
        "何が、だれに、いつまで開いているかの一覧",
    ),
    "help.verb.show": ("everything about one mapping", "マッピング 1 件の詳細"),
    "help.verb.who": (
        "who uses a mapping: sources and live connections",
        "だれが使っているか（接続元と接続中）",
    ),
    "help.verb.watch": ("a live table of all mappings", "全マッピングの実況"),
    "help.verb.history": ("who changed what, when and why", "だれが、いつ、なぜ変えたか"),
    "help.verb.undo": ("take a revision back (the newest unless named)", "変更を元に戻す（省略時は最新）"),
    "help.verb.status": ("how the daemon and the line to the internet are", "デーモンと回線の様子"),
    "help.verb.presets": ("known services and their defaults", "知っているサービスとその既定値"),
    "help.verb.apply": (
        "make the ledger agree with the config file",
        "設定ファイルのとおりにする",
    ),
    "help.verb.diff": (
        "what apply would change; exit code 3 when there is a difference",
        "apply で変わる内容（差があれば終了コード 3）",
    ),
    "help.verb.export": ("the whole state as TOML on stdout", "今の状態を TOML で出力する"),
    "help.verb.up": ("run the daemon in the foreground", "デーモンを前面で動かす"),
    "help.verb.version": ("the version of this program", "このプログラムの版"),
    "help.verb.help": ("explain a command", "コマンドの説明"),
    # -- arguments -----------------------------------------------------------------------------
    "help.argument.ports": (
        "8080, udp/7000-7010, tcp+udp/53, 5136:25565 (outside:inside), sctp/2905; gre, esp, 6in4 (no ports); "
        "dmz (all that nothing else claims); unix:/path; or a preset such as minecraft",
        "8080、udp/7000-7010、tcp+udp/53、5136:25565（外側:内側）、sctp/2905、gre・esp・6in4（ポートなし）、"
        "dmz（残りのすべて）、unix:/パス、または minecraft などのプリセット",
    ),
    "help.argument.name": (
        "the mapping's name, id or outside port (8080, udp/53)",
        "マッピングの名前、ID、外側ポート（8080、udp/53）",
    ),
    "help.argument.names": (
        "names, ids or outside ports of mappings",
        "マッピングの名前、ID、外側ポート（複数可）",
    ),
    "help.argument.history.name": ("only what concerns this mapping", "このマッピングに関するものだけ"),
    "help.argument.duration": ("added to its end: 2h, 1d12h", "今の期限に足す期間: 2h、1d12h"),
    "help.argument.revision": (
        "the revision's number ('sekimori history')",
        "リビジョン番号（sekimori history）",
    ),
    "help.argument.file": (
        "a TOML file, '-' for stdin; the daemon's own config file unless given",
        "TOML ファイル。- なら標準入力。省略時はデーモンの設定ファイル",
    ),
    "help.argument.search": ("a word in a service's name", "サービス名に含まれる語"),
    "help.argument.verb": ("a command", "コマンド名"),
    # -- flags --------------------------------------------------------------------------------------
    "help.flag.name": (
        "its name; made from the preset or port unless given",
        "名前。省略時はプリセットかポートから作る",
    ),
    "help.flag.ports": ("other ports, written as for open", "ポートの変更（書き方は open と同じ）"),
    "help.flag.to": (
        "where it leads: address, DNS name, device:NAME or a MAC address (followed when it moves), "
        "[::10/-64] (an IPv6 host in any prefix), unix:/path or 'self', with a port if it differs",
        "転送先: アドレス、DNS 名、device:名前 か MAC アドレス（移動しても追う）、[::10/-64]"
        "（プレフィックスを問わない IPv6 ホスト）、unix:/パス、self。必要ならポートも",
    ),
    "help.flag.from": (
        "who may come in: prefixes, anyone, lan, or a named list; repeat or use commas",
        "接続元: プレフィックス、anyone、lan、リスト名（カンマ区切りか繰り返し）",
    ),
    "help.flag.for": (
        "for how long: 2h, 1d12h (24h unless said; dmz 1h)",
        "期間: 2h、1d12h（省略時は 24h、dmz は 1h）",
    ),
    "help.flag.until": (
        "until when: 18:00, tonight, 'tomorrow 09:00', 2026-12-01",
        "いつまで: 18:00、tonight、'tomorrow 09:00'、2026-12-01",
    ),
    "help.flag.permanent": ("without an end, for a written reason", "無期限にする（理由を書く）"),
    "help.flag.hours": (
        "only then: mon-fri/09:00-18:00, daily/22:00-06:00",
        "開ける時間帯: mon-fri/09:00-18:00、daily/22:00-06:00",
    ),
    "help.flag.on": (
        "at this outside address or interface only: 192.0.2.1, eth1",
        "この外側アドレスかインターフェイスだけで開ける: 192.0.2.1、eth1",
    ),
    "help.flag.via": (
        "by which plane: auto, kernel or relay; or through which link the target is reached",
        "方式: auto、kernel、relay。または転送先への接続に使うリンク",
    ),
    "help.flag.limit": ("new connections per source: 20/min", "接続元ごとの新規接続の上限: 20/min"),
    "help.flag.limit_total": (
        "new connections of all sources together: 200/min",
        "全体の新規接続の上限: 200/min",
    ),
    "help.flag.max_connections": ("connections at one time", "同時接続数の上限"),
    "help.flag.proxy_protocol": (
        "tell the target who came, by PROXY protocol 1 or 2",
        "PROXY protocol 1 か 2 で接続元を転送先に伝える",
    ),
    "help.flag.idle": ("end a connection silent this long: 10m", "無通信の接続を切るまでの時間: 10m"),
    "help.flag.trigger": (
        "open when a LAN host sends to these ports, to that host; takes the place of --to",
        "LAN の機器がこのポートへ送ると、その機器に開く（--to の代わり）",
    ),
    "help.flag.hold": (
        "how long a trigger's ports stay with that host: 10m unless said, 1d at most",
        "トリガーで開いたポートを保つ時間（省略時は 10m、上限は 1d）",
    ),
    "help.flag.except": (
        "what a DMZ host does not get: tcp/443; repeat or use commas",
        "DMZ ホストに届けないもの: tcp/443（カンマ区切りか繰り返し）",
    ),
    "help.flag.log": (
        "log new connections, at a limited rate; --no-log ends that",
        "新しい接続を頻度を抑えて記録する（やめるには --no-log）",
    ),
    "help.flag.accept_risk": (
        "accept a risk a refusal named; repeatable",
        "拒否で示された危険を承知する（繰り返し可）",
    ),
    "help.flag.foreground": (
        "stay, and close on Ctrl-C; hosts a daemon of its own where none runs",
        "前面に留まり Ctrl-C で閉じる。デーモンがなければ自分で動かす",
    ),
    "help.flag.plan": ("show what would change, change nothing", "変更内容を見るだけで、変更しない"),
    "help.flag.why": ("the reason, kept in the history", "履歴に残す理由"),
    "help.flag.now": ("end its live connections at once", "接続中のものもすぐに切る"),
    "help.flag.undo.for": ("for how long what is opened again stays open", "開け直すものの期間"),
    "help.flag.history.limit": ("how many revisions (50 unless said)", "件数（省略時は 50）"),
    "help.flag.before": ("only revisions before this one", "このリビジョンより前だけ"),
    "help.flag.config": ("the config file (TOML)", "設定ファイル（TOML）"),
    "help.flag.state_dir": ("where the ledger is kept", "台帳を置くディレクトリ"),
    "help.flag.leave_flows": (
        "on a stop, leave ports open for a minute, for the next daemon to take over",
        "停止時、次のデーモンが引き継げるようにポートを 1 分間残す",
    ),
    "help.flag.socket": ("the daemon's socket", "デーモンのソケット"),
    "help.flag.json": ("JSON on stdout, one envelope", "標準出力に JSON で出す"),
    "help.flag.quiet": ("say nothing but problems", "問題のほかは何も表示しない"),
    "help.flag.yes": (
        "answer yes to questions (asked on a terminal only)",
        "確認に「はい」と答える（確認は端末でだけ出ます）",
    ),
    "help.flag.lang": ("en or ja", "en か ja"),
    "help.flag.help": ("this help", "この説明"),
}

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "": (
        "sekimori up",
        "sekimori open 8080 --to 192.168.1.5:80 --for 2h",
        "sekimori open minecraft --to kids-pc",
        "sekimori ls",
    ),
    "open": (
        "sekimori open 8080 --to 192.168.1.5:80 --from lan --for 2h",
        "sekimori open 2222:22 --to 192.168.1.5 --from 198.51.100.0/24 --until tonight",
        "sekimori open udp/7000-7010 --to cam.lan --hours mon-fri/09:00-18:00",
        "sekimori open minecraft --to 192.168.1.20 --foreground",
        "sekimori open 8080 --to device:nas",
        "sekimori open 51820/udp --to self --on eth1",
        "sekimori open gre --to 192.168.1.5",
        "sekimori open 443 --to '[::10/-64]'",
        "sekimori open dmz --to 192.168.1.50 --except tcp/443",
        "sekimori open tcp/113 --trigger tcp/6667",
    ),
    "close": ("sekimori close minecraft", "sekimori close web --now --why 'moved to the new server'"),
    "extend": ("sekimori extend minecraft 2h", "sekimori extend web --until 2026-12-01"),
    "edit": ("sekimori edit web --from 198.51.100.0/24 --limit 20/min", "sekimori edit web --hours none"),
    "undo": ("sekimori undo", "sekimori undo 12 --plan"),
    "apply": ("sekimori apply ports.toml --plan", "sekimori export > ports.toml"),
    "diff": ("sekimori diff", "sekimori diff ports.toml --json"),
    "presets": ("sekimori presets mine",),
    "who": ("sekimori who minecraft",),
    "history": ("sekimori history minecraft --limit 10",),
    "up": ("sekimori up --config sekimori.toml --state-dir ./state",),
}
"""Lines to type, by verb; the same in every language."""
