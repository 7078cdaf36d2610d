"""Write the reference pages that the program itself can tell: commands, problems, presets, API routes.

Run it after a change of a command, a message, a preset or a route:

    .venv/bin/python scripts/generate-reference.py

With `--check` it writes nothing; it names the pages that are out of date and ends with 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sekimori.cli.help import flags_of, write_help, write_overview
from sekimori.cli.verbs import VERBS
from sekimori.cli.words import word
from sekimori.model.errors import EXIT_CODES, HTTP_STATUS, Kind
from sekimori.model.lifetime import format_duration
from sekimori.model.messages import MESSAGES
from sekimori.model.preset import Preset, RiskClass
from sekimori.presets.load import DANGERS, load_presets

__all__ = ["LANGUAGES", "main", "pages"]

LANGUAGES: Final = ("en", "ja")
DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
MARK: Final = (
    "<!-- Written by scripts/generate-reference.py from the program; change the program instead. -->"
)

_TEXT: Final[dict[str, tuple[str, str]]] = {
    "cli.title": ("Commands", "コマンド"),
    "cli.lead": (
        "Every command and option, as `sekimori COMMAND --help` prints them. The words of a mapping "
        "(`--from`, `--for`, `--hours` …) are the same in the [config file](config.md) and the "
        "[API](api.md).",
        "すべてのコマンドとオプションです。`sekimori コマンド --help` の表示と同じものです。マッピングの"
        "語（`--from`、`--for`、`--hours` など）は、[設定ファイル](config.md)と [API](api.md) でも共通です。",
    ),
    "cli.overview": ("Overview", "概要"),
    "cli.flags": ("Its options: {flags}.", "オプション: {flags}。"),
    "problems.title": ("Exit codes and problems", "終了コードと問題の一覧"),
    "problems.lead": (
        "Every refusal has a stable code, a sentence that says what cannot be done and why, and one that "
        "says what to do. The code is `code` in the JSON of `--json` and of the API (RFC 9457); its kind "
        "decides the exit code of the command and the status of the HTTP answer. Words in braces are "
        "filled in.",
        "どの拒否にも、変わらないコード、何がなぜできないかを述べる文、どうすればよいかを述べる文が"
        "あります。コードは `--json` と API（RFC 9457）の JSON では `code` に入ります。種類によって、"
        "コマンドの終了コードと HTTP の状態コードが決まります。波括弧の語には実際の値が入ります。",
    ),
    "problems.kinds": ("Exit codes", "終了コード"),
    "problems.codes": ("Problems", "問題の一覧"),
    "problems.zero": ("done, or yes", "できた。または「はい」"),
    "head.exit": ("exit code", "終了コード"),
    "head.kind": ("kind", "種類"),
    "head.http": ("HTTP", "HTTP"),
    "head.meaning": ("meaning", "意味"),
    "head.preset": ("preset", "プリセット"),
    "head.service": ("service", "サービス"),
    "head.ports": ("ports", "ポート"),
    "head.from": ("to whom", "接続元"),
    "head.for": ("for", "期間"),
    "head.limit": ("per source", "接続元ごと"),
    "head.danger": ("risk to accept", "承知する危険"),
    "head.note": ("note", "注意"),
    "presets.title": ("Presets", "プリセット"),
    "presets.lead": (
        "The {count} services that `sekimori open NAME` knows, with the defaults that hold unless you say "
        "otherwise. A service with a *risk to accept* is not opened to anyone until "
        "`--accept-risk` names that risk. Other names of a preset stand in brackets.",
        "`sekimori open 名前` で開けられる {count} 件のサービスと、指定しなかったときの既定値です。"
        "「承知する危険」のあるサービスは、`--accept-risk` でその危険を挙げない限り、だれにでもは"
        "開けられません。かっこの中は別名です。",
    ),
    "presets.risks": ("The risks by name", "危険の名前"),
    "class.admin": ("Administration and data", "管理とデータ"),
    "class.web": ("Web", "Web"),
    "class.game": ("Games and voice", "ゲームと通話"),
    "class.p2p": ("Peer to peer", "P2P"),
    "class.infra": ("Infrastructure", "基盤"),
    "class.other": ("Other", "その他"),
    "api.title": ("API", "API"),
    "api.lead": (
        "HTTP over the daemon's unix socket; JSON both ways. Everything the command line does is one of "
        "these calls. The kernel says who is at the other end (`SO_PEERCRED`), so there is nothing to log in "
        "with: root and the daemon's user may do everything, `[api] admins` may change things, "
        "`[api] viewers` may look.",
        "デーモンの unix ソケット上の HTTP で、JSON をやり取りします。コマンドでできることは、すべて"
        "この呼び出しのどれかです。相手がだれかはカーネル（`SO_PEERCRED`）が教えるので、ログインは"
        "ありません。root とデーモンのユーザーはすべてでき、`[api] admins` は変更が、`[api] viewers` は"
        "閲覧ができます。",
    ),
    "api.full": ("The full description", "完全な説明"),
    "api.openapi": (
        "The running daemon serves its own OpenAPI description, with every field, example and answer:",
        "動いているデーモンが、すべての項目、例、応答を含む OpenAPI の説明を返します。",
    ),
    "api.routes": ("Routes", "呼び出しの一覧"),
    "api.rules": ("What holds for every call", "すべての呼び出しに共通のこと"),
    "api.rule.fields": (
        "The fields of a mapping are the words of the config file; values are written as on the command "
        'line. `null` means not said, `"none"` takes an optional word away, an unknown field is refused.',
        "マッピングの項目は設定ファイルの語と同じで、値の書き方はコマンドと同じです。`null` は「指定なし」、"
        '`"none"` は「その語を消す」です。知らない項目は拒否します。',
    ),
    "api.rule.plan": (
        "Every writing call takes `plan` (a dry run of the same path) and `why` (kept in the history).",
        "変更する呼び出しはどれも、`plan`（同じ道筋の予行）と `why`（履歴に残す理由）を取ります。",
    ),
    "api.rule.problems": (
        "A failing answer is `application/problem+json` with `code`, `title`, `detail` and `facts`; "
        "`Accept-Language: ja` gives it in Japanese. [Problems](problems.md) lists the codes.",
        "失敗の応答は `application/problem+json` で、`code`、`title`、`detail`、`facts` を持ちます。"
        "`Accept-Language: ja` で日本語になります。コードは[問題の一覧](problems.md)にあります。",
    ),
    "api.rule.instants": (
        "Instants are ISO 8601 in UTC; durations in answers are seconds.",
        "時刻は UTC の ISO 8601、応答の期間は秒です。",
    ),
    "api.rule.events": (
        "`/v1/events` is a server-sent event stream: `hello`, then `committed` and `status`; with "
        "`counters=true` also `counters` once a second. A reader that falls behind gets `lagged` and is "
        "cut off.",
        "`/v1/events` は server-sent events です。`hello` のあと `committed` と `status` が届き、"
        "`counters=true` なら 1 秒ごとに `counters` も届きます。"
        "読むのが遅れた相手には `lagged` を送って切ります。",
    ),
    "head.call": ("call", "呼び出し"),
    "head.does": ("what it does", "内容"),
}

_KINDS: Final[dict[Kind, tuple[str, str]]] = {
    Kind.INTERNAL: ("a fault of Sekimori or its machine", "Sekimori かマシンの不具合"),
    Kind.USAGE: ("it cannot be read", "書き方が読めない"),
    Kind.ANSWER_NO: ("checked, and the answer is no", "調べた結果が「いいえ」"),
    Kind.NOT_FOUND: ("it is not there", "見つからない"),
    Kind.CONFLICT: ("something stands in the way", "ほかのものとぶつかる"),
    Kind.NOT_PERMITTED: ("you may not", "権限がない"),
    Kind.UNREACHABLE: ("the daemon is not there", "デーモンに届かない"),
    Kind.REFUSED: (
        "refused by policy, or a risk is not accepted",
        "ポリシーが拒否、または危険が承知されていない",
    ),
    Kind.REVERTED: ("applied, not confirmed, taken back", "適用後に確認できず、元に戻した"),
    Kind.OUTSIDE: ("the outside refused", "外側が拒否した"),
    Kind.TIMEOUT: ("not confirmed in time", "時間内に確認できない"),
    Kind.INTERRUPTED: ("interrupted", "中断された"),
}

_DANGERS: Final[dict[str, tuple[str, str]]] = {
    "exposed-admin": (
        "whoever gets in controls a machine or reads its data",
        "入られると、マシンを操作されたりデータを読まれたりする",
    ),
    "cleartext-login": ("passwords travel readable", "パスワードが読める形で流れる"),
    "open-resolver": (
        "a DNS resolver for the world, used to attack others (RFC 5358)",
        "だれでも使える DNS リゾルバになり、他者への攻撃に使われる（RFC 5358）",
    ),
    "amplifier": (
        "small forged questions become large answers to a victim",
        "偽の小さな問い合わせが、被害者への大きな応答に化ける",
    ),
    "open-proxy": ("strangers act under this address", "他人がこのアドレスを名乗って行動できる"),
    "toll-fraud": ("strangers telephone at the owner's cost", "他人がこちらの費用で電話をかけられる"),
    "broken-crypto": (
        "whoever listens on the way can undo its encryption",
        "途中で盗聴されると、暗号を解かれる",
    ),
    "dmz": (
        "a whole machine is reached, whatever listens there (`sekimori open dmz`)",
        "待ち受けているものを問わず、マシン全体に届く（`sekimori open dmz`）",
    ),
}

_ROUTES_JA: Final[dict[str, str]] = {
    "list_mappings": "すべてのマッピング",
    "open_mapping": "マッピングを開ける",
    "who_uses": "だれが使っているか",
    "extend_mapping": "期限を延ばす",
    "get_mapping": "マッピング 1 件",
    "change_mapping": "変更、一時停止、再開",
    "close_mapping": "マッピングを閉じる",
    "list_history": "変更の履歴、新しい順",
    "undo_revision": "リビジョンを元に戻す",
    "apply_file": "設定ファイルのとおりにする",
    "export_state": "今の状態を TOML で",
    "list_presets": "知っているサービス",
    "get_preset": "プリセット 1 件",
    "get_gateway": "ゲートウェイの状態",
    "get_line": "インターネットへの回線",
    "get_router": "上位のルーター",
    "enable_gateway": "このマシンをゲートウェイにする",
    "disable_gateway": "ゲートウェイをやめる",
    "list_bans": "禁止している接続元",
    "put_ban": "接続元を禁止する",
    "lift_ban": "禁止を解く",
    "kill_flows": "接続中のものを切る",
    "list_doors": "機器のための窓口とルール",
    "change_doors": "窓口をまとめて開け閉めする",
    "enable_door": "窓口を開ける、または応答のしかたを変える",
    "disable_door": "窓口を閉じる",
    "list_permissions": "許可ルール",
    "set_permissions": "許可ルールをすべて置き換える",
    "add_permission": "許可ルールを足す",
    "forget_permission": "許可ルールを消す",
    "adopt_mapping": "リースを自分のものにする",
    "import_miniupnpd": "miniupnpd.conf を取り込む",
    "list_links": "すべてのリンク",
    "get_link": "リンク 1 件",
    "put_link": "リンクを足す、または変える",
    "remove_link": "リンクを消す",
    "try_link": "リンクを試す",
    "list_users": "SSH の窓口の利用者",
    "add_user": "SSH の窓口から入れるようにする",
    "get_user": "SSH の窓口の利用者 1 人",
    "change_user": "利用者にできることを変える",
    "remove_user": "もう入れないようにする",
    "add_key": "利用者の鍵を足す",
    "remove_key": "鍵を消す",
    "list_pending": "確認を待っているもの",
    "confirm_changes": "自分の変更を確認する",
    "examine_mappings": "マッピングへの通信を止めるもの",
    "carry_out_remedies": "マッピングへの通信を止めるものを直す",
    "undo_remedies": "直したことを元に戻す",
    "get_status": "デーモンの様子",
    "stream_events": "起きたことをその場で伝える",
}
"""The OpenAPI summaries in Japanese, by operation; one that is missing here is an error."""


def pages(language: str) -> dict[str, str]:
    """Path below `docs/` to content, of every generated page in one language."""
    writers = {"cli": _write_cli, "problems": _write_problems, "presets": _write_presets, "api": _write_api}
    return {f"{language}/reference/{name}.md": write(language) for name, write in writers.items()}


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with `--check` name those that are out of date."""
    stale = 0
    for language in LANGUAGES:
        for name, content in pages(language).items():
            file = DOCS / name
            if file.exists() and file.read_text(encoding="utf-8") == content:
                continue
            stale += 1
            sys.stdout.write(f"{'out of date' if '--check' in arguments else 'written'}: docs/{name}\n")
            if "--check" not in arguments:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content, encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


def _say(key: str, language: str, **facts: object) -> str:
    text = _TEXT[key][LANGUAGES.index(language)]
    return text.format(**facts) if facts else text


def _page(blocks: Iterable[str]) -> str:
    return "\n\n".join([MARK, *blocks]) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _write_cli(language: str) -> str:
    blocks = [
        f"# {_say('cli.title', language)}",
        _say("cli.lead", language),
        f"## {_say('cli.overview', language)}",
    ]
    blocks.append(_fenced(write_overview(language)))
    for verb in VERBS:
        flags = ", ".join(f"`--{name.replace('_', '-')}`" for name, _ in flags_of(verb)[1])
        blocks += [f"## {verb}", f"{word(f'help.verb.{verb}', language)}"]
        if flags:
            blocks.append(_say("cli.flags", language, flags=flags))
        blocks.append(_fenced(write_help(verb, language)))
    return _page(blocks)


def _fenced(text: str) -> str:
    return f"```text\n{text}\n```"


def _write_problems(language: str) -> str:
    index = LANGUAGES.index(language)
    kinds = [["0", "", "", _say("problems.zero", language)]]
    kinds += [[str(EXIT_CODES[kind]), kind, str(HTTP_STATUS[kind]), _KINDS[kind][index]] for kind in Kind]
    heads = [_say(f"head.{name}", language) for name in ("exit", "kind", "http", "meaning")]
    blocks = [
        f"# {_say('problems.title', language)}",
        _say("problems.lead", language),
        f"## {_say('problems.kinds', language)}",
        _table(heads, kinds),
        f"## {_say('problems.codes', language)}",
    ]
    for code, message in MESSAGES.items():
        kind = Kind(message.kind)
        title, fix = message.title(language), message.fix(language)
        # A quotation, not a fence: a long sentence wraps.
        blocks += [
            f"### {code}",
            f"`{kind}`, {_say('head.exit', language)} {EXIT_CODES[kind]}",
            f"> {_prose(title)}",
        ]
        if fix != "{hint}":
            blocks.append(_prose(fix))
    return _page(blocks)


def _prose(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*").replace("|", "\\|").replace("[", "\\[")


def _write_presets(language: str) -> str:
    presets = load_presets().all()
    blocks = [f"# {_say('presets.title', language)}", _say("presets.lead", language, count=len(presets))]
    for risk in RiskClass:
        chosen = [preset for preset in presets if preset.risk is risk]
        if chosen:
            blocks += [f"## {_say(f'class.{risk}', language)}", _presets_table(chosen, language)]
    assert set(_DANGERS) == DANGERS, "every named risk is explained"
    rows = [[f"`{name}`", both[LANGUAGES.index(language)]] for name, both in _DANGERS.items()]
    heads = [_say("head.danger", language), _say("head.meaning", language)]
    return _page([*blocks, f"## {_say('presets.risks', language)}", _table(heads, rows)])


def _presets_table(presets: Iterable[Preset], language: str) -> str:
    names = ("preset", "service", "ports", "from", "for", "limit", "danger", "note")
    return _table(
        [_say(f"head.{name}", language) for name in names], (_preset_row(each, language) for each in presets)
    )


def _preset_row(preset: Preset, language: str) -> list[str]:
    aliases = f" ({', '.join(preset.aliases)})" if preset.aliases else ""
    return [
        f"`{preset.name}`{aliases}",
        preset.title[language],
        ", ".join(preset.ports),
        preset.sources,
        format_duration(preset.lifetime),
        preset.limit or "",
        f"`{preset.danger}`" if preset.danger else "",
        preset.note.get(language, ""),
    ]


def _write_api(language: str) -> str:
    rules = [_say(key, language) for key in _TEXT if key.startswith("api.rule.")]
    heads = [_say("head.call", language), _say("head.does", language)]
    curl = "curl --unix-socket /run/sekimori/sekimori.sock http://localhost/openapi.json"
    return _page(
        [
            f"# {_say('api.title', language)}",
            _say("api.lead", language),
            f"## {_say('api.full', language)}",
            _say("api.openapi", language),
            f"```console\n$ {curl}\n```",
            f"## {_say('api.routes', language)}",
            _table(heads, _routes(language)),
            f"## {_say('api.rules', language)}",
            "\n".join(f"- {rule}" for rule in rules),
        ]
    )


def _routes(language: str) -> Iterator[list[str]]:
    for path, operations in _openapi()["paths"].items():
        for method, operation in operations.items():
            name = operation["operationId"]
            summary = operation["summary"] if language == "en" else _ROUTES_JA[name]
            yield [f"`{method.upper()} {path.replace(':path', '')}`", summary]
    yield ["`GET /openapi.json`", "This description" if language == "en" else "この API の説明"]


def _openapi() -> Mapping[str, Any]:
    """The description of the application; it is not served, so it needs neither gate nor views."""
    import os
    from typing import cast

    from sekimori.doors.api.access import Access
    from sekimori.doors.api.app import create_app

    nothing = cast(Any, None)
    return create_app(nothing, nothing, Access(os.geteuid())).openapi()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
