"""What the door says on its clients' terminals, in English and Japanese. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sekimori.model.causes import in_language
from sekimori.model.grantwords import format_size
from sekimori.model.lifetime import format_duration
from sekimori.model.user import Grant

__all__ = ["Line", "line", "opened_line", "place_text", "plain", "quota_line", "refused_line"]

Line = Mapping[str, str]
"""One line by language: `en` and `ja`."""

_LINES: Final[dict[str, tuple[str, str]]] = {
    "nothing-runs": (
        "sekimori: nothing runs here; this server only forwards ports. Log in with -N, or without a command.",
        "sekimori: ここでは何も実行できません。転送専用です。-N を付けるか、コマンドなしで接続してください。",
    ),
    "hello": (
        "Hello {user}. This server only forwards ports. To leave: q, Ctrl-C or Ctrl-D.",
        "{user} さん、ここではポートの転送だけができます。終わるには q、Ctrl-C、Ctrl-D。",
    ),
    "no-ports": (
        "No port was asked for. To open one: ssh -R PORT:localhost:PORT …",
        "開くポートの指定がありません。開くには: ssh -R ポート:localhost:ポート …",
    ),
    "opening": ("{port}: being opened", "{port}: 開いています"),
    "opened": (
        "{place} is open to {sources} until {until}{was}",
        "{place} を開きました。接続元: {sources}、期限: {until}{was}",
    ),
    "for-good": ("it is closed", "閉じるとき"),
    "taken-back": (" (yours from before)", "（以前からのもの）"),
    "refused": ("{port} is not open: {title}. {fix}", "{port} は開いていません: {title}。{fix}"),
    "refused-path": (
        "unix sockets are not forwarded here",
        "UNIX ソケットの転送はここではできません",
    ),
    "refused-reach": (
        "{place} may not be reached from here",
        "{place} へはここから接続できません",
    ),
    "failed-reach": ("{place} cannot be reached: {why}", "{place} へ接続できません: {why}"),
    "refused-quota": (
        "{place} may not be reached: the {quota} of every {every} are used up",
        "{place} へは接続できません: {every} あたり {quota} の転送量を使い切りました",
    ),
    "quota-used": (
        "Your {quota} of every {every} are used up: no ports and no connections until that time is over.",
        "{every} あたり {quota} の転送量を使い切りました。期間が改まるまで、ポートも接続も使えません。",
    ),
    "quota-anew": (
        "You may carry {quota} in {every} again.",
        "また {every} で {quota} を転送できます。",
    ),
    "cancelled": ("{place} is closed, as you asked", "{place} を求めに応じて閉じました"),
    "lost": (
        "{place} is now held by a newer session of yours, from {source}",
        "{place} は、あなたの新しい接続（{source}）に移りました",
    ),
    "ended": ("{place} was closed: {why}", "{place} は閉じられました: {why}"),
    "ended-time": ("its time is over", "期限が来ました"),
    "ended-closed": ("somebody closed it", "だれかが閉じました"),
    "ended-paused": ("somebody paused it", "だれかが一時停止しました"),
    "changed": (
        "{place} is open to {sources} until {until} from now on",
        "{place} の条件が変わりました。接続元: {sources}、期限: {until}",
    ),
    "came": ("{place}: {source} connected", "{place}: {source} が接続しました"),
    "went": (
        "{place}: {source} left after {seconds} s, {count} bytes",
        "{place}: {source} が切断しました（{seconds} 秒、{count} バイト）",
    ),
    "missed": ("… and {count} more lines", "… ほか {count} 行"),
    "bye": (
        "Good bye. Your ports stay yours for {hold}.",
        "終了します。ポートは {hold} のあいだ確保されます。",
    ),
    "bye-bare": ("Good bye.", "終了します。"),
    "over-sessions": (
        "you have as many sessions as you may have ({most})",
        "接続数が上限（{most}）に達しています",
    ),
    "over-removed": ("this key is not let in any more", "この鍵ではもう接続できません"),
    "over-shut": ("the door is shut", "窓口が閉じられました"),
}

_SOURCES: Final[dict[str, Line]] = {
    "anyone": {"en": "anyone", "ja": "だれでも"},
    "lan": {"en": "LAN", "ja": "LAN"},
}


def line(key: str, **facts: object) -> Line:
    """A line by language, its facts filled in; a fact may be a text by language."""
    return {
        language: text.format_map({name: in_language(fact, language) for name, fact in facts.items()})
        for language, text in zip(("en", "ja"), _LINES[key], strict=True)
    }


def opened_line(key: str, facts: Mapping[str, Any]) -> Line:
    """`opened` or `changed`, of what the daemon told: `place`, `sources`, `until`, and perhaps `again`."""
    until: object = line("for-good")
    if facts["until"] is not None:
        until = _instant_text(facts["until"])
    was: object = line("taken-back") if facts.get("again") else ""
    return line(key, place=facts["place"], sources=_sources_text(facts["sources"]), until=until, was=was)


def quota_line(key: str, grant: Grant, **facts: object) -> Line:
    """A line about the quota of a grant that has one."""
    assert grant.quota is not None
    return line(key, quota=format_size(grant.quota), every=format_duration(grant.quota_every), **facts)


def _instant_text(at: float) -> str:
    """An instant in this machine's own zone, which it names: that of the client is not known."""
    local = datetime.fromtimestamp(at).astimezone()
    return f"{local:%Y-%m-%d %H:%M %Z}"


def _sources_text(sources: str) -> Line:
    """Who may come in, in words."""
    return {
        language: ", ".join(_SOURCES.get(each, {}).get(language, each) for each in sources.split(","))
        for language in ("en", "ja")
    }


def place_text(host: str, port: int) -> str:
    """A place as a client asked for it."""
    shown = plain(host)
    return f"[{shown}]:{port}" if ":" in shown else f"{shown or '*'}:{port}"


def plain(text: str, longest: int = 64) -> str:
    """A stranger's words, fit for a terminal and a log."""
    return "".join(each if each.isprintable() else "?" for each in text[:longest])


def refused_line(port: str, answer: Mapping[str, Any]) -> Line:
    """Of a refusal that the daemon told: `title` and `fix` by language."""
    return line("refused", port=port, title=answer["title"], fix=answer["fix"])
