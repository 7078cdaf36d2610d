"""What the CLI says about the SSH door, its users and their keys; and the help of those verbs."""

from __future__ import annotations

from typing import Final

__all__ = ["EXAMPLES", "USERS"]

_GRANT: Final[dict[str, tuple[str, str]]] = {
    "ports": (
        "outside ports that 'ssh -R' may open: 8000-8999,9443; none unless said",
        "ssh -R で開けられる外側ポート: 8000-8999,9443（省略時はなし）",
    ),
    "most": ("how many ports at one time: 10 unless said", "同時に開けられる数（省略時は 10）"),
    "from": (
        "who may come in by those ports: lan unless said",
        "そのポートへの接続元（省略時は lan）",
    ),
    "for": (
        "how long a port stands until it is asked for again: 24h unless said",
        "求め直されるまでポートが続く期間（省略時は 24h）",
    ),
    "hold": (
        "how long a port stays its owner's after the session is gone: 1h unless said",
        "接続が切れた後もポートを取り置く期間（省略時は 1h）",
    ),
    "limit": (
        "new connections per source, of each port: 20/min",
        "ポートごとの、接続元ごとの新規接続の上限: 20/min",
    ),
    "limit_total": (
        "new connections of all sources, of each port: 200/min",
        "ポートごとの、全体の新規接続の上限: 200/min",
    ),
    "max_connections": ("connections of each port at one time", "ポートごとの同時接続数の上限"),
    "quota": (
        "bytes, in and out, of all ports, -L, -D and -J together: 10G; 'none' is no bound",
        "全ポートと -L、-D、-J を合わせた送受信量の上限: 10G（none で無制限）",
    ),
    "quota_every": ("in how long a time: 30d unless said", "上の量を数える期間（省略時は 30d）"),
    "to": (
        "where -L, -D and -J may lead: db.lan:5432, 10.0.0.0/8, '*:443'; nowhere unless said",
        "-L・-D・-J で行ける先: db.lan:5432、10.0.0.0/8、'*:443'（省略時はなし）",
    ),
    "sessions": ("SSH connections at one time: 10 unless said", "同時の SSH 接続数（省略時は 10）"),
    "accept_risk": (
        "a danger that may be opened to anyone; repeatable",
        "だれにでも開けてよい危険の名前（繰り返し可）",
    ),
}
"""Flags of a grant, the same for users and for the door."""

_NAME: Final = ("the user's name", "ユーザーの名前")

USERS: Final[dict[str, tuple[str, str]]] = {
    "misuse.private-key": (
        "cannot run '{verb}': {text} holds a private key, which is to stay where it is",
        "「{verb}」を実行できません: {text} は秘密鍵です。外へ出さないでください",
    ),
    "misuse.no-key": (
        "cannot run '{verb}': {text} holds no key",
        "「{verb}」を実行できません: {text} に鍵がありません",
    ),
    "misuse.key-file": (
        "cannot run '{verb}': {text} cannot be read: {why}",
        "「{verb}」を実行できません: {text} を読めません: {why}",
    ),
    "misuse.several-keys": (
        "cannot run '{verb}': {text} holds more than one key",
        "「{verb}」を実行できません: {text} に鍵が複数あります",
    ),
    "hint.public-key": (
        "The public one stands in {public}: give that.",
        "公開鍵は {public} にあります。そちらを指定してください。",
    ),
    "hint.make-public-key": (
        "To write the public one: ssh-keygen -y -f {text} > {public}",
        "公開鍵を作るには: ssh-keygen -y -f {text} > {public}",
    ),
    "hint.key-file": (
        "Give a file that ends in .pub, or the line of it in quotes.",
        ".pub で終わるファイルか、その行を引用符で囲んで指定してください。",
    ),
    "done.user-on": (
        "{name} may come in by the SSH door: {fields}.",
        "{name} は SSH の窓口から入れます: {fields}。",
    ),
    "done.user-off": (
        "{name} may come in no more; the ports of their keys are closed.",
        "{name} はもう入れません。その鍵で開いたポートは閉じました。",
    ),
    "user.none": (
        "Nobody may come in by the SSH door. To let somebody: "
        "sekimori user add alice alice.pub --ports 8000-8999",
        "SSH の窓口から入れる人はいません。入れるには: sekimori user add alice alice.pub --ports 8000-8999",
    ),
    "grant.no-ports": ("none", "なし"),
    "grant.nowhere": ("nowhere", "なし"),
    "grant.quota": ("{bytes} every {every}", "{every} ごとに {bytes}"),
    "done.door-ssh": (
        "The door ssh is open on {places}. Who may come in: sekimori user ls",
        "SSH の窓口を {places} で開けました。入れる人: sekimori user ls",
    ),
    "door.sessions": ("{count} connected", "接続 {count}"),
    "door.host-key": ("ssh's host key: {text}", "ssh のホスト鍵: {text}"),
    "door.key-file": (
        "ssh also takes the keys of {file}; ports they may open: {ports}",
        "ssh は {file} の鍵も受け付けます。開けられるポート: {ports}",
    ),
    "field.keys": ("keys", "鍵"),
    "field.key": ("key", "鍵"),
    "field.options": ("its options", "鍵のオプション"),
    "field.grant": ("grant", "許可"),
    "field.grant_ports": ("may open ports", "開けられるポート"),
    "field.listen": ("on", "待ち受け"),
    "field.authorized_keys": ("keys in", "鍵のファイル"),
    "field.most": ("at one time", "同時の数"),
    "field.quota": ("quota", "転送量の上限"),
    "field.destinations": ("may reach", "行ける先"),
    "field.sessions": ("sessions at most", "接続の上限"),
    "head.keys": ("KEYS", "鍵"),
    "head.reach": ("MAY REACH", "行ける先"),
    "head.sessions": ("NOW", "接続"),
    "head.user": ("USER", "ユーザー"),
    "head.fingerprint": ("FINGERPRINT", "指紋"),
    "head.algorithm": ("KIND", "種類"),
    "head.options": ("OPTIONS", "オプション"),
    "head.comment": ("COMMENT", "コメント"),
    "head.since": ("SINCE", "開始"),
    "head.holds": ("PORTS OPEN", "開けたポート"),
    "head.channels": ("-L/-D", "-L/-D 数"),
    "head.client": ("CLIENT", "クライアント"),
    "verb.user": ("set user", "ユーザー設定"),
    "help.noun.user": ("who may come in by the SSH door: {verbs}", "SSH の窓口から入れる人: {verbs}"),
    "help.noun.key": ("their public keys: {verbs}", "その公開鍵: {verbs}"),
    "help.verb.user ls": ("who may come in, for what, and who is there", "入れる人、許可、接続中の人"),
    "help.verb.user add": ("let somebody in, and for what", "入れる人と許可を登録する"),
    "help.verb.user edit": ("change what somebody may do", "許可を変える"),
    "help.verb.user show": ("everything about one user", "ユーザー 1 人の詳細"),
    "help.verb.user rm": (
        "let somebody in no more, and close their ports",
        "入れなくして、開けたポートを閉じる",
    ),
    "help.verb.key ls": ("the keys of a user, or of all", "鍵の一覧"),
    "help.verb.key add": ("let a user in by one more key", "鍵を足す"),
    "help.verb.key rm": ("take a key away; its sessions end", "鍵を外す（その接続は切れる）"),
    "help.argument.key": (
        "a .pub file, '-' for stdin, or the line of one in quotes",
        ".pub ファイル、- なら標準入力、または鍵の行（引用符で囲む）",
    ),
    "help.argument.fingerprint": (
        "SHA256:…, or enough of its beginning ('sekimori key ls')",
        "SHA256:… か、見分けられる長さの先頭（sekimori key ls）",
    ),
    **{f"help.argument.user {verb}.name": _NAME for verb in ("add", "edit", "show", "rm")},
    **{f"help.argument.key {verb}.name": _NAME for verb in ("ls", "add", "rm")},
    **{
        f"help.flag.{verb}.{key}": text
        for verb in ("user add", "user edit", "door enable")
        for key, text in _GRANT.items()
    },
    "help.flag.user add.on": (
        "addresses of this machine to open ports on; repeat or use commas",
        "ポートを開けてよい、このマシンのアドレス（カンマ区切りか繰り返し）",
    ),
    "help.flag.user edit.on": (
        "addresses of this machine to open ports on; 'any' is all",
        "ポートを開けてよい、このマシンのアドレス（any で全部）",
    ),
    "help.flag.user add.until": ("until when they may come in", "いつまで入れるか"),
    "help.flag.user edit.until": (
        "until when they may come in; 'none' is for ever",
        "いつまで入れるか（none で無期限）",
    ),
    "help.flag.ports_on": (
        "of ssh: addresses of this machine that its key file may open ports on",
        "ssh: 鍵ファイルの鍵がポートを開けてよい、このマシンのアドレス",
    ),
    "help.flag.authorized_keys": (
        "of ssh: a file of keys to let in beside users; 'none' is none. The flags below are what they may do",
        "ssh: ユーザーのほかに受け付ける鍵のファイル（none でなし）。以下のフラグがその許可",
    ),
    "help.flag.options": (
        "options of authorized_keys for it: 'restrict,port-forwarding'",
        "authorized_keys のオプション: 'restrict,port-forwarding'",
    ),
}

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "user add": (
        "sekimori user add alice alice.pub --ports 8000-8999 --from anyone",
        "sekimori user add ci ci.pub --to db.lan:5432 --until 2026-12-01",
        "sekimori user add bob bob.pub --ports 9000-9009 --quota 10G --for 2h",
    ),
    "user edit": ("sekimori user edit alice --most 3 --to none", "sekimori user edit ci --until none"),
    "user rm": ("sekimori user rm ci",),
    "key add": (
        "sekimori key add alice laptop.pub",
        "sekimori key add alice phone.pub --options 'permitlisten=\"8080\"'",
    ),
    "key rm": ("sekimori key rm alice SHA256:+DiY3wvv",),
}
"""Lines to type, by verb; the same in every language."""
