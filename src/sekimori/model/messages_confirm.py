"""Refusals about changes that have to be confirmed."""

from __future__ import annotations

from typing import Final

from sekimori.model.message import Message

__all__ = ["CONFIRM"]

CONFIRM: Final[dict[str, Message]] = {
    "reverted": Message(
        "reverted",
        (
            "cannot keep revision {revision}: it was not confirmed within {within} s, so it was taken back",
            "Let yourself in first, for example with 'sekimori open ssh --to self --from YOUR-ADDRESS'; then do it "
            "again, and confirm it from a new login with 'sekimori confirm'.{left}",
        ),
        (
            "リビジョン {revision} を残せません: {within} 秒以内に確認されなかったので、元に戻しました",
            "先に sekimori open ssh --to self --from 自分のアドレス などで自分が入れるようにしてから、もう一度行い、"
            "新しいログインから sekimori confirm で確認してください。{left}",
        ),
    ),
    "nothing-to-confirm": Message(
        "not-found",
        (
            "cannot confirm: nothing waits to be confirmed by {who}",
            "'sekimori history' shows what was changed and what was taken back.{others}",
        ),
        (
            "確認できません: {who} の確認を待っているものはありません",
            "変更と、元に戻したものは sekimori history で見られます。{others}",
        ),
    ),
    "confirm-same-connection": Message(
        "conflict",
        (
            "cannot confirm revision {revision} by a connection that was open before: only a new one shows that you can come in",
            "Log in anew, without closing the sessions you have, and run 'sekimori confirm' there.",
        ),
        (
            "リビジョン {revision} は、変更の前から開いていた接続からは確認できません: 入れることは新しい接続でしか確かめられません",
            "開いているセッションを閉じずに新しくログインし、そこで sekimori confirm を実行してください。",
        ),
    ),
}
