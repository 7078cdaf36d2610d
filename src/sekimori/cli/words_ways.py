"""Words of the ways a mapping may take besides a port here and a target there: links, SOCKS, unix sockets."""

from __future__ import annotations

from typing import Final

__all__ = ["EXAMPLES", "WAYS"]

WAYS: Final[dict[str, tuple[str, str]]] = {
    "misuse.password-shown": (
        "cannot take the password of '{text}' from the command line: others on this machine can read it",
        "「{text}」のパスワードをコマンドラインには書けません: このマシンのほかの利用者に見えてしまいます",
    ),
    "misuse.passwords-differ": (
        "cannot set the password of '{text}': the two that were typed differ",
        "「{text}」のパスワードを設定できません: 2 回の入力が一致しません",
    ),
    "misuse.no-password-asked": (
        "cannot ask for the password of '{text}': nobody is at a terminal",
        "「{text}」のパスワードを聞けません: 端末で実行していません",
    ),
    "misuse.bad-password-file": (
        "cannot read passwords from '{text}': {why}",
        "「{text}」からパスワードを読めません: {why}",
    ),
    "hint.socks-user": (
        "Say '--socks-user NAME' and type it when asked, or '--socks-user @FILE' with a line NAME:PASSWORD "
        "for each.",
        "--socks-user 名前 として聞かれたら入力するか、1 行に 1 人ずつ 名前:パスワード と書いた"
        "ファイルを --socks-user @ファイル で渡してください。",
    ),
    "ask.password": ("Password for {name}: ", "{name} のパスワード: "),
    "ask.password-again": ("Once more: ", "もう一度: "),
    "open.far-end": ("the far end of {link}", "{link} の先"),
    "open.far-end-at": ("{on} at the far end of {link}", "{link} の先の {on} "),
    "open.here": ("this machine", "このマシン"),
    "lead.via": ("{target} via {link}", "{target}（{link} 経由）"),
    "sources.by-mode": ("whom the file's mode lets", "ファイルの権限による"),
    "lead.socks": ("where the client says (SOCKS)", "SOCKS クライアントの指定先"),
    "lead.client": ("its SSH client", "SSH クライアント"),
    "field.at": ("at", "リンクの先"),
    "field.socks": ("SOCKS", "SOCKS の条件"),
    "field.socks_users": ("SOCKS users", "SOCKS の利用者"),
    "field.reach": ("may reach", "届く範囲"),
    "show.reach-all": (
        "anywhere, but for what is guarded (*)",
        "守られた宛先のほかすべて（*）",
    ),
    "show.socks-anybody": ("anybody, without a password", "だれでも（パスワードなし）"),
    "help.flag.socks": (
        "the client names the target, by SOCKS 4/5 or HTTP CONNECT; takes the place of --to",
        "転送先はクライアントが SOCKS 4/5 か HTTP CONNECT で指定する（--to の代わり）",
    ),
    "help.flag.socks_user": (
        "who may use it: NAME (the password is asked for) or @FILE with lines NAME:PASSWORD; repeatable",
        "利用者: 名前（パスワードは入力）、または 名前:パスワード を並べた @ファイル（繰り返し可）",
    ),
    "help.flag.reach": (
        "where SOCKS clients may go: db:5432, 10.0.0.0/8, *.example:443; anywhere, but for what is guarded, "
        "unless said",
        "SOCKS クライアントが届く先: db:5432、10.0.0.0/8、*.example:443（省略時は、守られた宛先のほか"
        "すべて）",
    ),
    "help.flag.open.at": (
        "listen at the far end of this link, not here",
        "ここではなく、このリンクの先で待ち受ける",
    ),
    "help.flag.edit.at": (
        "listen at the far end of this link; 'none' is here again",
        "このリンクの先で待ち受ける（none でここに戻す）",
    ),
}
"""Key to its sentence in English and Japanese; part of `words.WORDS`."""

EXAMPLES: Final[tuple[str, ...]] = (
    "sekimori open 5432 --to db:5432 --via bastion --on 127.0.0.1",
    "sekimori open 8080 --to 127.0.0.1:3000 --at vps --from anyone",
    "sekimori open 1080 --socks --via vps --on 127.0.0.1",
    "sekimori open unix:/run/db.sock --to db:5432",
)
"""Lines to type for `open`."""
