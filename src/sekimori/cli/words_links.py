"""What the CLI says about links, tunnels and shares; and the help of those verbs."""

from __future__ import annotations

from typing import Final

__all__ = ["EXAMPLES", "LINKS"]

_NAME_OF_LINK: Final = ("the link's name", "リンクの名前")

LINKS: Final[dict[str, tuple[str, str]]] = {
    # -- how a command was typed wrong --------------------------------------------------------------
    "misuse.forwarding": (
        "cannot run '{verb}': '{value}' is no forwarding for {text}",
        "「{verb}」を実行できません: 「{value}」は {text} の形ではありません",
    ),
    "misuse.no-forwarding": (
        "cannot run '{verb}': nothing was asked to be forwarded",
        "「{verb}」を実行できません: 何を転送するか指定がありません",
    ),
    "misuse.remote-dynamic": (
        "cannot run '{verb}': '{text}' asks for a SOCKS proxy at the far end, which is not offered",
        "「{verb}」を実行できません: 「{text}」は向こう側の SOCKS プロキシの指定ですが、対応していません",
    ),
    "misuse.no-background": (
        "cannot run '{verb}': it does not go to the background ({text})",
        "「{verb}」を実行できません: 背景では動きません（{text}）",
    ),
    "misuse.share-what": (
        "cannot run '{verb}': '{text}' is no port, HOST:PORT or unix:/path",
        "「{verb}」を実行できません: 「{text}」はポートでも HOST:PORT でも unix:/パスでもありません",
    ),
    "hint.forwarding": (
        "Write -L [BIND:]PORT:HOST:PORT, -R [BIND:]PORT:HOST:PORT (a socket's path may stand for either "
        "end), or -D [BIND:]PORT.",
        "-L [待受:]ポート:ホスト:ポート、-R [待受:]ポート:ホスト:ポート（どちらの端もソケットのパスでよい）、"
        "または -D [待受:]ポート の形で書いてください。",
    ),
    "hint.remote-dynamic": (
        "Run 'sekimori tunnel -D PORT THIS-MACHINE' on the far machine, or open here "
        "('sekimori open PORT --socks') and share that port.",
        "向こう側のマシンで sekimori tunnel -D ポート このマシン を実行するか、ここで "
        "sekimori open ポート --socks を使い、そのポートを共有してください。",
    ),
    "hint.no-background": (
        "For a port that stays: sekimori link add, then sekimori open … --via LINK or --at LINK.",
        "開けたままにするには sekimori link add の後、sekimori open … --via リンク か --at リンク を"
        "使ってください。",
    ),
    # -- links --------------------------------------------------------------------------------------
    "done.link-on": ("The link {name} goes to {place}.", "リンク {name} は {place} へ通じます。"),
    "done.link-off": ("Removed the link {name}.", "リンク {name} を削除しました。"),
    "link.none": (
        "There is no link. To add one: sekimori link add vps ssh://user@host",
        "リンクはありません。追加するには: sekimori link add vps ssh://user@host",
    ),
    "link.unknown": (
        "The host key of {place} has not been seen before:",
        "{place} のホスト鍵は初めて見るものです:",
    ),
    "link.compare": (
        "Compare it with what 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' says there.",
        "相手側で ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub と見比べてください。",
    ),
    "link.compared": (
        "Compare it with what 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' says there (the file of "
        "that kind of key). If it is the same:\n  {command}",
        "相手側で ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub（鍵の種類に合うファイル）と見比べ、"
        "同じなら:\n  {command}",
    ),
    "link.known": (
        "The host key of {place}, {fingerprint}, is the one in known_hosts.",
        "{place} のホスト鍵 {fingerprint} は known_hosts のものと同じです。",
    ),
    "link.confirmed": (
        "The host key of {place}, {fingerprint}, is the one that another link has confirmed.",
        "{place} のホスト鍵 {fingerprint} は、別のリンクで確認済みのものと同じです。",
    ),
    "link.works": ("{name} lets us in ({how}).", "{name} に入れます（{how}）。"),
    "link.not-now": ("{name} does not work now: {why}", "{name} は今は使えません: {why}"),
    "link.again": ("It is tried again {when}.", "次の試行: {when}"),
    "link.local": ("on from there (--via)", "その先へ（--via）"),
    "link.remote": ("ports there (--at)", "向こうのポート（--at）"),
    "link.udp": ("UDP", "UDP の中継"),
    "link.no-udp": ("no: Sekimori does not answer there", "いいえ（向こう側が Sekimori ではない）"),
    "link.untried": ("not tried", "未確認"),
    "link.as-granted": (
        "to what its users are granted: sekimori user show NAME, there",
        "許可された宛先へ（相手側の sekimori user show 名前 で分かります）",
    ),
    "link.loopback-only": (
        "yes, but others cannot come in: its sshd needs 'GatewayPorts clientspecified'",
        "はい。ただし外からは届きません（sshd に GatewayPorts clientspecified が必要）",
    ),
    "status.links": ("Links", "リンク"),
    "status.doors": ("Doors that are open", "開いている窓口"),
    "standing.carries": (
        "{state}; {names} through it, {count} connected now",
        "{state}。通るもの: {names}（接続中 {count}）",
    ),
    "standing.awaited": ("{state}; {names} waiting for it", "{state}。待っているもの: {names}"),
    "standing.idle": ("{state}; nothing goes through it", "{state}。通るものはありません"),
    "standing.why": ("{why}. {again}", "{why}。{again}"),
    "standing.ssh": (
        "at {places}, for {users}, by key alone, until it is disabled",
        "{places} で応答。相手: {users}。鍵のみ、無効にするまで",
    ),
    "standing.ssh-outside": (
        "at {places}, from the internet too, for {users}, by key alone, until it is disabled",
        "{places} で応答（インターネットからも）。相手: {users}。鍵のみ、無効にするまで",
    ),
    "standing.door": (
        "on {places}, for devices as 'sekimori door rules' says, until it is disabled; {count} leases",
        "{places} で応答。相手: sekimori door rules が許す機器。無効にするまで。リース {count}",
    ),
    "standing.keys-of": ("the keys of {file}", "{file} の鍵の持ち主"),
    "standing.and": (" and ", "、"),
    "standing.nobody-yet": ("nobody yet (sekimori user add)", "まだなし（sekimori user add で追加）"),
    "standing.there": ("connected now: {names}", "接続中: {names}"),
    "standing.nobody-there": ("nobody is connected", "接続中の人はいません"),
    "standing.keys-refused": (
        "faults in its key file: {count} (sekimori door ls tells them)",
        "鍵ファイルの問題: {count} 件（sekimori door ls に出ます）",
    ),
    "standing.more": ("{names} and {count} more", "{names} ほか {count}"),
    "phase.connecting": ("connecting", "接続しています"),
    "phase.up": ("up", "接続済み"),
    "phase.waiting": ("down", "切断"),
    "phase.refused": ("refused", "拒否"),
    # -- share, tunnel ------------------------------------------------------------------------------
    "share.address": ("{address}  {url}", "{address}　{url}"),
    "share.done": (
        "It leads to {target}, for {sources}, until {until}.",
        "{target} に通じます。接続元は{sources}、{until}まで。",
    ),
    "share.until-ctrl-c": ("Ctrl-C", "Ctrl-C を押す"),
    "share.until-or": ("Ctrl-C or the end ({when})", "Ctrl-C を押すか終わり（{when}）"),
    "share.loopback-only": (
        "note: nobody but '{link}' itself gets in there, as the last 'sekimori link test {link}' found: its "
        "sshd needs 'GatewayPorts clientspecified'.",
        "注意: 「{link}」自身のほかは接続できません（最後の sekimori link test {link} の結果）。その sshd に "
        "GatewayPorts clientspecified が必要です。",
    ),
    "ls.loopback-only": (
        "{names}: nobody but '{link}' itself gets in: its sshd needs 'GatewayPorts clientspecified'",
        "{names}: 「{link}」自身のほかは接続できません（sshd に GatewayPorts clientspecified が必要）",
    ),
    "show.loopback-only": (
        "no: nobody but the far machine itself gets in; its sshd needs 'GatewayPorts clientspecified'",
        "届きません。接続できるのは向こうのマシン自身だけです（sshd に GatewayPorts clientspecified が必要）",
    ),
    "field.outside": ("from outside", "外から"),
    "share.gateway-ports": (
        "note: if nobody gets in from outside, the sshd of '{link}' needs 'GatewayPorts clientspecified'.",
        "注意: 外から届かないときは、「{link}」の sshd に GatewayPorts clientspecified が必要です。",
    ),
    "tunnel.done": (
        "{where} leads to {target}, for {sources}. Ctrl-C ends it.",
        "{where} → {target}、接続元は{sources}。Ctrl-C で終わります。",
    ),
    "tunnel.at": ("{where} at {link}", "{link} の {where}"),
    "visit.came": ("{time} {source} came to {name}", "{time} {source} が {name} に接続"),
    "visit.came-more": (
        "{time} {source} came to {name} ({now} now)",
        "{time} {source} が {name} に接続（現在 {now}）",
    ),
    "visit.came-several": (
        "{time} {source} came to {name}, {count} times",
        "{time} {source} が {name} に {count} 回接続",
    ),
    "visit.came-several-more": (
        "{time} {source} came to {name}, {count} times ({now} now)",
        "{time} {source} が {name} に {count} 回接続（現在 {now}）",
    ),
    "visit.left": (
        "{time} {source} left {name}: {bytes_in} in, {bytes_out} out",
        "{time} {source} が {name} を離れました: 受信 {bytes_in}、送信 {bytes_out}",
    ),
    "visit.left-several": (
        "{time} {source} ended {count} connections to {name}: {bytes_in} in, {bytes_out} out",
        "{time} {source} が {name} への {count} 接続を終えました: 受信 {bytes_in}、送信 {bytes_out}",
    ),
    # -- fields, heads, verbs -----------------------------------------------------------------------
    "field.place": ("server", "サーバー"),
    "field.jump": ("through", "踏み台"),
    "field.identity": ("identity", "秘密鍵ファイル"),
    "field.config": ("ssh_config", "SSH 設定ファイル"),
    "field.ssh_config": ("ssh_config", "SSH 設定ファイル"),
    "field.host_keys": ("host keys", "ホスト鍵"),
    "field.host_key": ("host key", "ホスト鍵"),
    "field.connections": ("connections", "接続の本数"),
    "field.next_try": ("tried again", "次の試行"),
    "field.rtt": ("round trip", "往復時間"),
    "field.server": ("version there", "サーバーの版"),
    "field.sekimori": ("carries UDP", "UDP の中継"),
    "field.algorithms": ("algorithms", "暗号方式"),
    "field.flows": ("live now", "接続中"),
    "field.mappings": ("mappings", "マッピング"),
    "head.server": ("SERVER", "サーバー"),
    "head.mappings": ("MAPPINGS", "マッピング"),
    "verb.link": ("set link", "リンク設定"),
    # -- help ---------------------------------------------------------------------------------------
    "help.far": ("Other machines", "ほかのマシン"),
    "help.noun.link": (
        "connections to other machines that ports may go through: {verbs}",
        "ポートが通れる、ほかのマシンへの接続: {verbs}",
    ),
    "help.verb.share": (
        "show somebody a port of this machine while this runs",
        "実行中だけ、このマシンのポートをだれかに見せる",
    ),
    "help.verb.tunnel": ("forward ports as 'ssh -L -R -D' does", "ssh -L・-R・-D と同じように転送する"),
    "help.verb.link ls": ("every link and how it is", "リンクの一覧と様子"),
    "help.verb.link add": ("add a link, or change it", "リンクを追加・変更する"),
    "help.verb.link show": ("everything about one link", "リンク 1 件の詳細"),
    "help.verb.link test": (
        "connect once and see what may be done; exit code 3 when nothing",
        "一度つないで、できることを確かめる（何もできなければ終了コード 3）",
    ),
    "help.verb.link rm": ("remove a link that nothing goes through", "使われていないリンクを削除する"),
    "help.argument.place": (
        "the SSH server; a Host of ssh_config will do; needed for a new link",
        "SSH サーバー。ssh_config の Host でもよい（新しいリンクでは必須）",
    ),
    "help.argument.share.what": (
        "what to share: 3000, HOST:PORT or unix:/path",
        "共有するもの: 3000、HOST:PORT、unix:/パス",
    ),
    "help.argument.host": (
        "the SSH server, as ssh takes it, or the name of a link",
        "SSH サーバー（ssh と同じ書き方）か、リンクの名前",
    ),
    **{f"help.argument.link {verb}.name": _NAME_OF_LINK for verb in ("add", "show", "test", "rm")},
    "help.flag.identity": (
        "a private key to log in with, where the daemon runs; the usual ones unless said; repeatable",
        "ログインに使う秘密鍵（デーモンのマシンのファイル、繰り返し可）。省略時はエージェントと標準の鍵",
    ),
    "help.flag.jump": (
        "servers to go through first; repeat or use commas",
        "先に通る踏み台（カンマ区切りか繰り返し）",
    ),
    "help.flag.ssh_config": (
        "the ssh_config to read: that of the daemon's user unless said",
        "読み込む ssh_config（省略時はデーモンのユーザーのもの）",
    ),
    "help.flag.host_key": (
        "a host key to trust, once you have compared it: SHA256:…, or 'ALGORITHM BASE64'; repeatable",
        "見比べて信用するホスト鍵: SHA256:… か '方式 BASE64'（繰り返し可）",
    ),
    "help.flag.connections": (
        "SSH connections side by side, 1 to 16: more of them carry more",
        "並べて張る SSH 接続の数（1〜16、多いほど速い）",
    ),
    "help.flag.share.via": (
        "share at the far end of this link; the only one there is unless said, else at this machine",
        "このリンクの先で共有する（省略時は唯一のリンク、なければこのマシン）",
    ),
    "help.flag.share.for": ("end by itself after this: 2h", "自動で終えるまでの期間: 2h"),
    "help.flag.share.from": (
        "who may come in: anyone at a link, lan at this machine, unless said",
        "接続元（省略時、リンクの先では anyone、このマシンでは lan）",
    ),
    "help.flag.port": (
        "the outside port: the same each time for the same target unless said",
        "外側のポート（省略時は、転送先ごとに毎回同じもの）",
    ),
    "help.flag.tunnel.port": ("the SSH server's port", "SSH サーバーのポート"),
    "help.flag.login": ("the user to log in as", "ログインするユーザー"),
    "help.flag.local": (
        "listen here, lead to what the far machine reaches; repeatable",
        "ここで待ち受け、向こうから届く先へつなぐ（繰り返し可）",
    ),
    "help.flag.remote": (
        "listen there, lead to what this machine reaches; repeatable",
        "向こうで待ち受け、こちらから届く先へつなぐ（繰り返し可）",
    ),
    "help.flag.dynamic": (
        "listen here, lead where the client says (SOCKS); repeatable",
        "ここで待ち受け、クライアントの指定先へつなぐ（SOCKS、繰り返し可）",
    ),
    "help.flag.no_command": (
        "taken as ssh takes it: no command is ever run",
        "ssh と同じ（コマンドは実行しません）",
    ),
    "help.flag.background": ("refused: it stays in the foreground", "使えません（前面で動きます）"),
    "help.flag.tunnel.for": ("end by itself after this: 2h", "自動で終えるまでの期間: 2h"),
}

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "share": (
        "sekimori share 3000",
        "sekimori share 3000 --via vps --for 2h",
        "sekimori share 192.168.1.20:80 --from 198.51.100.0/24",
        "sekimori share unix:/run/app.sock --via vps --port 8080",
    ),
    "tunnel": (
        "sekimori tunnel -L 5432:db:5432 alice@bastion",
        "sekimori tunnel -N -R 8080:localhost:3000 -p 2222 alice@vps.example",
        "sekimori tunnel -D 1080 vps",
        "sekimori tunnel -L 8443:intranet:443 -J jump -i ~/.ssh/work alice@inner",
    ),
    "link add": (
        "sekimori link add vps ssh://alice@vps.example",
        "sekimori link add inner ssh://bob@10.0.0.5:2222 --jump alice@bastion",
        "sekimori link add vps --connections 4 --plan",
    ),
    "link test": ("sekimori link test vps",),
    "link rm": ("sekimori link rm vps --why 'moved'",),
}
"""Lines to type, by verb; the same in every language."""
