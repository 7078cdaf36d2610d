"""Why something cannot be: the causes inside the sentences of `messages`, in English and Japanese.

A cause is a text by language, and stands among the facts of a `Problem` as such; it may have
facts of its own, and these may again be texts by language.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from typing import Final

from sekimori.model.causes_doors import DOORS
from sekimori.model.causes_gateway import GATEWAY
from sekimori.model.causes_grants import GRANTS
from sekimori.model.causes_kernel import KERNEL
from sekimori.model.causes_kinds import KINDS
from sekimori.model.causes_line import LINE
from sekimori.model.causes_links import LINKS
from sekimori.model.causes_router import ROUTER
from sekimori.model.causes_ssh import SSH

__all__ = ["CAUSES", "Text", "Unreadable", "cause", "in_language", "near", "os_cause"]

Text = Mapping[str, str]
"""One text by language: `en` and `ja`."""

_LANGUAGES: Final = ("en", "ja")

CAUSES: Final[dict[str, tuple[str, str]]] = {
    **KINDS,
    **KERNEL,
    **GATEWAY,
    **LINE,
    **ROUTER,
    **DOORS,
    **GRANTS,
    **LINKS,
    **SSH,
    # -- ports and addresses -------------------------------------------------------------------
    "not-an-address": ("it is neither an IPv4 nor an IPv6 address", "IPv4 でも IPv6 でもありません"),
    "not-ports": (
        "'{text}' is not a port or a range of ports",
        "「{text}」はポートでもポートの範囲でもありません",
    ),
    "port-bounds": ("ports go from 1 to 65535", "ポートは 1 から 65535 までです"),
    "range-backwards": (
        "the range runs backwards; write {low}-{high}",
        "範囲の向きが逆です。{low}-{high} と書いてください",
    ),
    "not-a-port": ("'{text}' is not a port", "「{text}」はポートではありません"),
    "port-missing": ("a port is missing", "ポートがありません"),
    "not-a-protocol": (
        "'{name}' is not a protocol; use tcp, udp, tcp+udp, sctp, gre, esp, 6in4 or dmz",
        "「{name}」はプロトコルではありません。tcp、udp、tcp+udp、sctp、gre、esp、6in4、dmz のどれかです",
    ),
    "has-no-ports": (
        "{name} has no ports; write {name} alone",
        "{name} にポートはありません。{name} とだけ書いてください",
    ),
    "ah-covers-addresses": (
        "AH signs the addresses of a packet (RFC 4302 §3.3.3), so no NAT can carry it; "
        "use ESP in UDP, udp/4500",
        "AH はパケットのアドレスまで署名するので（RFC 4302 §3.3.3）NAT を通せません。"
        "UDP に入れた ESP（udp/4500）を使ってください",
    ),
    "leads-nowhere": (
        "these ports lead nowhere; write no inside port",
        "行き先のないポートです。内側のポートは書けません",
    ),
    "port-in-both": ("the same outside port stands in both", "同じ外側ポートが両方にあります"),
    # -- targets -------------------------------------------------------------------------------
    "empty": ("it is empty", "空です"),
    "half-an-address": ("it is not a whole IPv4 address", "IPv4 アドレスとして足りません"),
    "not-a-host": (
        "it is neither an address nor a host name",
        "アドレスでもホスト名でもありません",
    ),
    "inside-twice": ("the inside port is given twice", "内側のポートが 2 回指定されています"),
    "inside-for-several": (
        "one inside port cannot serve several outside ports",
        "内側のポート 1 つを複数の外側ポートには使えません",
    ),
    "brackets": (
        "the brackets do not close around the address",
        "アドレスを囲む角括弧が閉じていません",
    ),
    "not-a-suffix": (
        "a suffix is the lower 64 bits of an address, such as ::10/-64",
        "サフィックスはアドレスの下位 64 ビットです（例: ::10/-64）",
    ),
    "no-single-host": ("no single host has that address", "特定のホストを指すアドレスではありません"),
    # -- sources -------------------------------------------------------------------------------
    "not-a-source": (
        "it is neither a prefix nor the name of a list",
        "プレフィックスでもリストの名前でもありません",
    ),
    "host-bits": (
        "it has bits beyond its prefix; write {network} or {address}",
        "プレフィックス長より下のビットが立っています。{network} か {address} と書いてください",
    ),
    "nobody": ("it names nobody", "だれも指定していません"),
    "anyone-and-more": (
        "'anyone' leaves nothing for the others to add",
        "anyone はすべてを含むので、ほかと並べられません",
    ),
    # -- durations, times and hours ------------------------------------------------------------
    "not-a-duration": ("it is not a number with a unit", "単位の付いた数字ではありません"),
    "no-time": ("it is no time at all", "長さがありません"),
    "too-long": (
        "it is more than ten years; use --permanent with a reason",
        "10 年を超えています。理由を付けて --permanent を使ってください",
    ),
    "not-a-time": ("it is not a time", "時刻ではありません"),
    "passed": ("it has passed", "もう過ぎています"),
    "too-far": (
        "it is more than ten years away; use --permanent with a reason",
        "10 年より先です。理由を付けて --permanent を使ってください",
    ),
    "no-reason": ("a permanent mapping needs a written reason", "無期限のマッピングには理由が必要です"),
    "not-a-zone": ("it is not an IANA time zone", "IANA のタイムゾーンではありません"),
    "no-times": ("'{text}' has no times", "「{text}」に時刻がありません"),
    "names-no-time": ("it names no time", "時刻がありません"),
    "not-a-span": ("'{text}' is not a span of times", "「{text}」は時刻の範囲ではありません"),
    "empty-span": (
        "'{text}' is no time at all; for the whole day write 00:00-24:00",
        "「{text}」には長さがありません。終日なら 00:00-24:00 と書いてください",
    ),
    "not-a-clock": ("{text} is not a time of day", "{text} という時刻はありません"),
    "not-a-day": (
        "'{text}' is not a day; write mon to sun, or daily",
        "「{text}」は曜日ではありません。mon から sun、または daily です",
    ),
    # -- limits, names and other words ------------------------------------------------------------
    "not-a-rate": (
        "it is not a number per s, min, hour or day",
        "s、min、hour、day あたりの数ではありません",
    ),
    "rate-zero": (
        "nothing could ever come in; pause the mapping instead",
        "何も入れなくなります。マッピングを一時停止してください",
    ),
    "proxy-versions": ("the versions are 1 and 2", "版は 1 か 2 です"),
    "not-in-range": (
        "it is not a number from {first} to {last}",
        "{first} から {last} までの数ではありません",
    ),
    "not-a-switch": ("it is neither on nor off", "on でも off でもありません"),
    "not-text": ("it is not text", "文字列ではありません"),
    "not-a-name": ("it does not look like a name", "名前の形ではありません"),
    "reserved": ("the word has a meaning of its own", "特別な意味のある語です"),
    "no-such-user": ("there is no such user", "そのユーザーはいません"),
    "no-such-plane": ("this daemon has no such plane", "このデーモンにその方式はありません"),
    # -- the config file ----------------------------------------------------------------------------
    "not-utf8": ("it is not UTF-8", "UTF-8 ではありません"),
    "not-utf8-text": ("it is not UTF-8 text", "UTF-8 の文字列ではありません"),
    "toml": ("{text}", "TOML として読めません（{text}）"),
    "nested": ("they are nested too deeply", "入れ子が深すぎます"),
    "digits": ("it has too many digits", "桁が多すぎます"),
    "at-brackets": ("brackets", "括弧"),
    "at-number": ("number", "数"),
    "at-column": ("column {column}", "{column} 文字目"),
    "at-end": ("up to the end", "末尾まで"),
    "at-byte": ("byte {byte}", "バイト {byte}"),
    "over-longest": (
        "lifetime ({asked}) is more than longest ({cap})",
        "lifetime（{asked}）が longest（{cap}）を超えています",
    ),
    "not-a-table": ("it is not a table; write [{table}]", "表ではありません。[{table}] と書いてください"),
    "not-prefixes": (
        "it is not a list of prefixes in brackets",
        "角括弧で囲んだプレフィックスの並びではありません",
    ),
    "reserved-name": (
        "'{name}' has a meaning of its own; choose another name",
        "「{name}」は特別な意味のある語です。別の名前にしてください",
    ),
    "list-name": (
        "a list's name has a-z, 0-9, '-', '_' and '.', and begins with a letter",
        "リストの名前は英小文字で始め、英小文字、数字、- _ . を使ってください",
    ),
    "same-name": (
        "'{name}' on line {line} is the same name",
        "{line} 行目の「{name}」と同じ名前です",
    ),
    "quoted": ("'{text}': {why}", "「{text}」: {why}"),
    "not-quoted": ("it is not text in quotes", "引用符で囲んだ文字列ではありません"),
    "not-absolute": ("it is not an absolute path", "絶対パスではありません"),
    "socket-bytes": (
        "a socket's path has {most} bytes at most",
        "ソケットのパスは {most} バイトまでです",
    ),
    "not-files": ("it is not a list of paths in brackets", "角括弧で囲んだパスの並びではありません"),
    "not-users": (
        "it is not a list of users and @groups in brackets",
        "角括弧で囲んだユーザーと @グループの並びではありません",
    ),
    "not-a-user": ("'{name}' is not the name of a user", "「{name}」はユーザー名ではありません"),
    "not-a-user-or-group": (
        "'{name}' is not the name of a user or an @group",
        "「{name}」はユーザー名でも @グループでもありません",
    ),
    "key-missing": ("'{key}' is missing", "「{key}」がありません"),
    "given-too": (
        "'{key}' is given too; keep one of the two",
        "「{key}」もあります。どちらか一方にしてください",
    ),
    "not-boolean": ("it is neither true nor false", "true でも false でもありません"),
    "whole-date": (
        "a file needs the whole date: 2026-12-01, or 2026-12-01T18:00",
        "ファイルには日付の全体を書いてください: 2026-12-01 か 2026-12-01T18:00",
    ),
    "not-this-time": ("'{text}' is not a time", "「{text}」は時刻ではありません"),
    "entry-passed": (
        "it has passed; give a time that lies ahead, or remove the entry",
        "もう過ぎています。これからの時刻にするか、項目を消してください",
    ),
    "with-near": ("{title} ({near})", "{title}（{near}）"),
    "hint-near": ("Did you mean '{name}'?", "「{name}」ではありませんか?"),
    "hint-keys": ("Keys here: {names}.", "ここで使えるキー: {names}。"),
    "hint-name": (
        "The name is the key of the table: [mappings.NAME].",
        "名前は表の見出しに書きます: [mappings.名前]。",
    ),
    "hint-dotted": (
        'For a name with a dot, write [mappings."{name}"].',
        '点のある名前は [mappings."{name}"] と書きます。',
    ),
    # -- requests to the API ---------------------------------------------------------------------------
    "body-too-large": ("its body is larger than {most} bytes", "本文が {most} バイトを超えています"),
    "body-not-text": ("its body is not JSON text in UTF-8", "本文が UTF-8 の JSON ではありません"),
    "body-not-json": ("the body is not JSON ({text})", "本文が JSON ではありません（{text}）"),
    "body-not-object": (
        "the body is not a JSON object (is its content type application/json?)",
        "本文が JSON のオブジェクトではありません（content-type は application/json ですか?）",
    ),
    "body-missing": ("its body is missing", "本文がありません"),
    "no-such-path": ("there is no {path}", "{path} はありません"),
    "no-such-method": ("{path} does not take {method}", "{path} に {method} は使えません"),
    "unknown-field": ("unknown field '{name}'", "不明な項目「{name}」です"),
    "unknown-query": ("unknown query field '{name}'", "不明なクエリ項目「{name}」です"),
    "field-says": ("'{name}': {text}", "「{name}」を読めません（{text}）"),
    "said": ("{text}", "できません（{text}）"),
    "both": ("{first}; {second}", "{first}。{second}"),
    "path-not-absolute": ("'{path}' is not an absolute path", "「{path}」は絶対パスではありません"),
    # -- the machine and the network ------------------------------------------------------------------
    "no-file": ("No such file or directory", "ファイルやディレクトリがありません"),
    "may-not": ("Permission denied", "権限がありません"),
    "is-directory": ("Is a directory", "ディレクトリです"),
    "not-directory": ("Not a directory", "ディレクトリではありません"),
    "no-space": ("No space left on device", "空き容量がありません"),
    "read-only": ("Read-only file system", "読み取り専用のファイルシステムです"),
    "socket-missing": ("there is no such socket", "そのソケットがありません"),
    "socket-silent": ("nobody listens there", "そこで待ち受けているものがありません"),
    "no-answer-came": ("it went away before it answered", "応答する前に切れました"),
    "half-answer": ("it went away in the middle of its answer", "応答の途中で切れました"),
    "does-not-read": ("it does not read what it is sent", "送ったものを読みません"),
    "events-stopped": ("its events stopped coming", "知らせが来なくなりました"),
    "stranger": ("what answers there is not Sekimori", "応答しているのは Sekimori ではありません"),
    "unanswered": ("no answer to {call}", "{call} への応答がありません"),
    "name-unknown": ("there is no such name", "その名前はありません"),
    "name-without-address": ("the name has no address", "その名前にアドレスがありません"),
    "no-answer": ("no name server answered", "ネームサーバーが応答しません"),
    "server-unaware": ("the name server does not know it", "ネームサーバーが知らない名前です"),
    # -- beside the causes: parts of other sentences ------------------------------------------------------
    "near": (" Near: {names}.", "近いもの: {names}。"),
    "open-again": ("open again", "また開けられました"),
    "the-list": ("the list itself", "リストそのもの"),
    "any-to-undo": ("to undo", "（元に戻せるもの）"),
    "ever": ("ever", "無期限に"),
    "the-port": ("the port", "ポート"),
    "none": ("none", "なし"),
    "owner-person": ("{id}", "{id}"),
    "owner-file": ("the file {id}", "ファイル {id}"),
    "owner-device": ("the device {id}", "機器 {id}"),
    "owner-key": ("the key {id}", "鍵 {id}"),
    "owner-client": ("the client {id}", "クライアント {id}"),
    "owner-trigger": ("the trigger {id}", "トリガー {id}"),
    "do-change": ("change the ports", "ポートの変更"),
    "do-look": ("look at the ports", "ポートの閲覧"),
    "do-socket": ("use the socket {path}", "ソケット {path} の使用"),
    "do-define": ("define '{name}'", "リスト「{name}」の設定"),
    "do-to": ("{what} '{name}'", "「{name}」の{what}"),
    "do-close": ("close", "閉鎖"),
    "do-edit": ("edit", "変更"),
    "do-open-to": ("open a port to {target}", "{target} へのポートの開放"),
    "do-extend": ("extend", "延長"),
}
"""A cause's key to its text in English and Japanese."""

_BY_ERRNO: Final = {
    errno.ENOENT: "no-file",
    errno.EACCES: "may-not",
    errno.EPERM: "may-not",
    errno.EISDIR: "is-directory",
    errno.ENOTDIR: "not-directory",
    errno.ENOSPC: "no-space",
    errno.EROFS: "read-only",
    errno.EADDRINUSE: "address-in-use",
    errno.EADDRNOTAVAIL: "address-elsewhere",
    errno.ECONNREFUSED: "connection-refused",
    errno.ECONNRESET: "connection-reset",
    errno.EHOSTUNREACH: "no-route-to-host",
    errno.ENETUNREACH: "no-route-to-network",
    errno.ETIMEDOUT: "connection-timed-out",
}
"""The errors of the system that people meet; the others are told as it tells them."""


class Unreadable(ValueError):  # noqa: N818 - what was written is unreadable, the program is not in error
    """Words that a reader cannot read, for a caller that knows what they were meant for.

    Attributes:
        why: the cause by language; `str` of the error is the English one.
    """

    def __init__(self, key: str, /, **facts: object) -> None:
        self.why = cause(key, **facts)
        super().__init__(self.why["en"])


def cause(key: str, /, **facts: object) -> dict[str, str]:
    """The text of a cause by language, its facts filled in."""
    return {
        language: text.format_map({name: in_language(fact, language) for name, fact in facts.items()})
        for language, text in zip(_LANGUAGES, CAUSES[key], strict=True)
    }


def in_language(fact: object, language: str) -> object:
    """A fact as it is, or where it is a text by language, that text; English where there is no other."""
    return fact.get(language, fact.get("en", "")) if isinstance(fact, Mapping) else fact


def near(names: Iterable[str]) -> Text | str:
    """The end of a sentence that names what else may have been meant; empty without any."""
    listed = ", ".join(names)
    return cause("near", names=listed) if listed else ""


def os_cause(error: OSError) -> Text:
    """What an error of the system says, by language where it is one that people meet."""
    key = _BY_ERRNO.get(error.errno or 0)
    if key is not None:
        return cause(key)
    text = error.strerror or str(error)
    return dict.fromkeys(_LANGUAGES, text)
