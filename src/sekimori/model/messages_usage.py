"""Refusals of what was typed: words that cannot be read, or that contradict each other."""

from __future__ import annotations

from typing import Final

from sekimori.model.message import Message

__all__ = ["USAGE"]

USAGE: Final[dict[str, Message]] = {
    "bad-ports": Message(
        "usage",
        (
            "cannot read the ports '{text}': {why}",
            "Write 8080, udp/7000-7010, tcp+udp/53, 5136:25565, gre, dmz, unix:/PATH or a preset "
            "(see 'sekimori presets').",
        ),
        (
            "ポート指定「{text}」を読めません: {why}",
            "8080、udp/7000-7010、tcp+udp/53、5136:25565、gre、dmz、unix:/パス のように書くか、プリセット名"
            "（sekimori presets で一覧）を指定してください。",
        ),
    ),
    "range-mismatch": Message(
        "usage",
        (
            "cannot map {outside} to {inside}: {outside_size} outside ports, {inside_size} inside",
            "Give both ranges the same length.",
        ),
        (
            "{outside} を {inside} に割り当てられません: 外側 {outside_size} 個、内側 {inside_size} 個です",
            "両方の範囲を同じ長さにしてください。",
        ),
    ),
    "bad-target": Message(
        "usage",
        (
            "cannot read the target '{text}': {why}",
            "Write an address, a DNS name, a device (device:nas, or its MAC address) or 'self', with a port "
            "if it differs: 192.168.1.5:22.",
        ),
        (
            "転送先「{text}」を読めません: {why}",
            "アドレス、DNS 名、機器（device:nas か MAC アドレス）、self のいずれかに、"
            "必要ならポートを付けてください（例: 192.168.1.5:22）。",
        ),
    ),
    "bad-address": Message(
        "usage",
        (
            "cannot read the address '{text}': {why}",
            "Write an IPv4 or IPv6 address of this machine, or the name of its interface.",
        ),
        (
            "アドレス「{text}」を読めません: {why}",
            "このマシンの IPv4 か IPv6 アドレス、またはインターフェイス名を書いてください。",
        ),
    ),
    "bad-source": Message(
        "usage",
        (
            "cannot read the source '{text}': {why}",
            "Write prefixes (198.51.100.0/24), 'lan', 'anyone' or the name of a list, separated by commas.",
        ),
        (
            "接続元「{text}」を読めません: {why}",
            "プレフィックス（198.51.100.0/24）、lan、anyone、リスト名をカンマ区切りで書いてください。",
        ),
    ),
    "bad-duration": Message(
        "usage",
        ("cannot read the duration '{text}': {why}", "Write a number with s, m, h, d or w: 90s, 2h, 1d12h."),
        (
            "期間「{text}」を読めません: {why}",
            "数字に s、m、h、d、w を付けてください（例: 90s、2h、1d12h）。",
        ),
    ),
    "bad-time": Message(
        "usage",
        (
            "cannot read the time '{text}': {why}",
            "Write 2026-12-01, '2026-12-01 18:00', 18:00, 'tomorrow 09:00' or tonight; it must lie ahead.",
        ),
        (
            "時刻「{text}」を読めません: {why}",
            "2026-12-01、'2026-12-01 18:00'、18:00、'tomorrow 09:00'、tonight のように、"
            "これからの時刻を書いてください。",
        ),
    ),
    "bad-hours": Message(
        "usage",
        (
            "cannot read the hours '{text}': {why}",
            "Write days and times: mon-fri/09:00-18:00, daily/22:00-06:00, or several with commas.",
        ),
        (
            "時間帯「{text}」を読めません: {why}",
            "mon-fri/09:00-18:00 や daily/22:00-06:00 のように、曜日と時刻を書いてください（カンマで複数）。",
        ),
    ),
    "bad-rate": Message(
        "usage",
        ("cannot read the rate '{text}': {why}", "Write new connections per s, min, hour or day: 20/min."),
        (
            "頻度「{text}」を読めません: {why}",
            "s、min、hour、day あたりの新規接続数を書いてください（例: 20/min）。",
        ),
    ),
    "bad-value": Message(
        "usage",
        (
            "cannot use {key} = {text}: {why}",
            "Give {key} a value it takes; '--help' after the command tells which.",
        ),
        (
            "{key} = {text} は使えません: {why}",
            "{key} に使える値は、コマンドに --help を付けると分かります。",
        ),
    ),
    "bad-name": Message(
        "usage",
        (
            "cannot use the name '{text}': {why}",
            "Use letters, digits, '-', '_' and '.', beginning with a letter, {most} at most.",
        ),
        (
            "名前「{text}」は使えません: {why}",
            "英字で始め、英数字と - _ . を {most} 文字まで使ってください。",
        ),
    ),
    "missing": Message(
        "usage",
        ("cannot go on: {key} is missing", "Say {key}; for example: {example}"),
        ("続けられません: {key} がありません", "{key} を指定してください（例: {example}）。"),
    ),
    "exclusive": Message(
        "usage",
        ("cannot use {first} and {second} together", "Keep one of the two."),
        ("{first} と {second} は同時に使えません", "どちらか一方にしてください。"),
    ),
    "udp-proxy-v1": Message(
        "usage",
        (
            "cannot send PROXY protocol version 1 to a UDP target: version 1 knows TCP only",
            "Use --proxy-protocol 2, or leave UDP out of this mapping.",
        ),
        (
            "UDP の転送先に PROXY protocol v1 は送れません: v1 は TCP 専用です",
            "--proxy-protocol 2 を使うか、このマッピングから UDP を外してください。",
        ),
    ),
    "unknown-key": Message(
        "usage",
        ("cannot use {file}, line {line}: unknown key '{key}'", "{hint}"),
        ("{file} の {line} 行目を使えません: 不明なキー「{key}」です", "{hint}"),
    ),
    "bad-config": Message(
        "usage",
        ("cannot use {file}, line {line}, {key}: {why}", "Correct the line; nothing was changed."),
        (
            "{file} の {line} 行目（{key}）を使えません: {why}",
            "その行を直してください。何も変更していません。",
        ),
    ),
    "no-config": Message(
        "not-found",
        (
            "cannot read the config file {file}: {why}",
            "Name a readable file with --config or SEKIMORI_CONFIG.",
        ),
        (
            "設定ファイル {file} を読めません: {why}",
            "--config か SEKIMORI_CONFIG で読めるファイルを指定してください。",
        ),
    ),
    "bad-request": Message(
        "usage",
        ("cannot read the request: {why}", "See the API's description at /openapi.json."),
        ("要求を読めません: {why}", "API の説明は /openapi.json にあります。"),
    ),
    "no-plane": Message(
        "usage",
        ("cannot open {name} via {via}: {why}", "Use --via auto, or one of: {able}."),
        ("{name} を {via} で開けられません: {why}", "--via auto か、次のいずれかを使ってください: {able}。"),
    ),
    "leads-to-itself": Message(
        "usage",
        (
            "cannot open {claim}: its target {target} is the same port, so it would lead to itself",
            "Give the target another port or address, or listen on one address only with --on.",
        ),
        (
            "{claim} を開けられません: 転送先 {target} が同じポートで、自分自身に戻ってしまいます",
            "転送先のポートかアドレスを変えるか、--on で待ち受けるアドレスを絞ってください。",
        ),
    ),
}
