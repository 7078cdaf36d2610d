"""What the CLI says about changes that have to be confirmed."""

from __future__ import annotations

from typing import Final

__all__ = ["CONFIRM", "EXAMPLES"]

CONFIRM: Final[dict[str, tuple[str, str]]] = {
    "confirm.planned": (
        "This could keep you from coming again: you came from {source} to {destination} port {port}. It "
        "would be done, and taken back after {within} s unless you confirm it from a new login.",
        "これを行うと、あなたは入れなくなるかもしれません"
        "（{source} から {destination} のポート {port} に接続しています）。"
        "行った後、{within} 秒以内に新しいログインから確認しなければ元に戻します。",
    ),
    "confirm.needed": (
        "This may keep you from coming again: you came from {source} to {destination} port {port}.\n"
        "Leave this session open, log in once more, and run there: sekimori confirm\n"
        "Without that it is taken back after {within} s.",
        "これで、あなたは入れなくなったかもしれません"
        "（{source} から {destination} のポート {port} に接続しています）。\n"
        "このセッションを開いたまま、もう一度ログインし、そこで実行してください: sekimori confirm\n"
        "確認がなければ {within} 秒後に元に戻します。",
    ),
    "confirm.left": ("taken back in {seconds} s ", "あと {seconds} 秒で元に戻します "),
    "confirm.kept": (
        "Confirmed: revision {revision} stays.",
        "確認されました。リビジョン {revision} は残ります。",
    ),
    "confirm.still": (
        "Revision {revision} still waits: it is taken back unless it is confirmed.",
        "リビジョン {revision} はまだ確認待ちです。確認がなければ元に戻します。",
    ),
    "confirm.done": (
        "Confirmed: you can come in. What stays: revision {revisions}",
        "確認しました。あなたは入れています。残したリビジョン: {revisions}",
    ),
    "help.verb.confirm": (
        "keep a change that could have locked you out",
        "自分を締め出しかねなかった変更を残す",
    ),
}

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "confirm": ("sekimori confirm",),
}
"""Lines to type, by verb; the same in every language."""
