"""Refusals of the SSH door: keys, and what may be opened or reached by it."""

from __future__ import annotations

from typing import Final

from sekimori.model.message import Message

__all__ = ["SSH"]

SSH: Final[dict[str, Message]] = {
    "bad-key": Message(
        "usage",
        (
            "cannot use the key line '{text}': {why}",
            "Write it as in authorized_keys (sshd(8)): options, if any, then a line of a .pub file.",
        ),
        (
            "鍵の行「{text}」を使えません: {why}",
            "authorized_keys（sshd(8)）の形で、オプション（あれば）と .pub ファイルの 1 行を書いてください。",
        ),
    ),
    "user-exists": Message(
        "conflict",
        (
            "cannot add the user '{user}': there is one already",
            "To change what they may do: sekimori user edit {user}. For one more key: sekimori key add {user} FILE",
        ),
        (
            "ユーザー「{user}」を追加できません: すでにいます",
            "許可を変えるには sekimori user edit {user}、鍵を足すには sekimori key add {user} ファイル",
        ),
    ),
    "no-such-key": Message(
        "not-found",
        (
            "cannot find the key '{text}' of '{user}': no key of theirs, or more than one, begins like that",
            "Their keys: {known}",
        ),
        (
            "「{user}」の鍵「{text}」が見つかりません: そう始まる鍵がないか、複数あります",
            "登録されている鍵: {known}",
        ),
    ),
    "last-key": Message(
        "conflict",
        (
            "cannot take the key from '{user}': it is the only one",
            "Add another first (sekimori key add {user} FILE), or let them in no more: sekimori user rm {user}",
        ),
        (
            "「{user}」から鍵を外せません: 最後の 1 つです",
            "先に別の鍵を足すか（sekimori key add {user} ファイル）、sekimori user rm {user} で締め出してください。",
        ),
    ),
    "key-file": Message(
        "conflict",
        (
            "cannot use the file of keys {path}: {why}",
            "Nobody comes in by it until that is mended; it is looked at again every few seconds.",
        ),
        (
            "鍵のファイル {path} を使えません: {why}",
            "直るまで、このファイルの鍵ではだれも入れません。数秒ごとに見直します。",
        ),
    ),
}
"""A code to its message; part of `messages.MESSAGES`."""
