"""Every refusal's sentences, in English and Japanese, in one table.

The first sentence says "cannot X: cause"; the second what to do. Both languages
name the same facts (a test holds them to it). What was typed has its part of the
table in `messages_usage`.
"""

from __future__ import annotations

from typing import Final

from sekimori.model.message import Message
from sekimori.model.messages_confirm import CONFIRM
from sekimori.model.messages_devices import DEVICES
from sekimori.model.messages_doctor import DOCTOR
from sekimori.model.messages_doors import DOORS
from sekimori.model.messages_gateway import GATEWAY
from sekimori.model.messages_grants import GRANTS
from sekimori.model.messages_kernel import KERNEL_MESSAGES
from sekimori.model.messages_kinds import KINDS
from sekimori.model.messages_links import LINKS
from sekimori.model.messages_router import ROUTER
from sekimori.model.messages_ssh import SSH
from sekimori.model.messages_usage import USAGE

__all__ = ["MESSAGES", "Message"]

MESSAGES: Final[dict[str, Message]] = {
    **USAGE,
    **KINDS,
    **ROUTER,
    **KERNEL_MESSAGES,
    **GATEWAY,
    **CONFIRM,
    **DEVICES,
    **DOCTOR,
    **DOORS,
    **GRANTS,
    **LINKS,
    **SSH,
    # -- what is not there (exit 4) ----------------------------------------------
    "no-such-mapping": Message(
        "not-found",
        ("cannot find a mapping '{ref}'", "'sekimori ls' lists the mappings.{near}"),
        ("マッピング「{ref}」が見つかりません", "sekimori ls で一覧を見られます。{near}"),
    ),
    "no-such-preset": Message(
        "not-found",
        ("cannot find a preset '{name}'", "'sekimori presets' lists them.{near}"),
        ("プリセット「{name}」が見つかりません", "sekimori presets で一覧を見られます。{near}"),
    ),
    "no-such-host": Message(
        "not-found",
        (
            "cannot find the host '{host}': {why}",
            "Check the spelling, or give its address instead of the name.",
        ),
        (
            "ホスト「{host}」が見つかりません: {why}",
            "綴りを確かめるか、名前の代わりにアドレスを書いてください。",
        ),
    ),
    "no-such-list": Message(
        "not-found",
        (
            "cannot find a list of sources named '{name}'",
            "Define it under [lists] in the config file and run 'sekimori apply'. Lists now: {lists}.",
        ),
        (
            "接続元リスト「{name}」が見つかりません",
            "設定ファイルの [lists] に書いて sekimori apply を実行してください。今あるリスト: {lists}。",
        ),
    ),
    "no-such-revision": Message(
        "not-found",
        ("cannot find revision {revision}", "'sekimori history' lists the revisions."),
        ("リビジョン {revision} が見つかりません", "sekimori history で一覧を見られます。"),
    ),
    "address-not-here": Message(
        "not-found",
        (
            "cannot listen on {address}: this machine does not have that address",
            "Leave --on out for all addresses, or use one that 'ip address' shows.",
        ),
        (
            "{address} で待ち受けられません: このマシンのアドレスではありません",
            "--on を省いて全アドレスにするか、ip address に出るものを使ってください。",
        ),
    ),
    # -- what stands in the way (exit 5) -----------------------------------------
    "name-taken": Message(
        "conflict",
        (
            "cannot use the name '{name}': a mapping of {owner} has it",
            "Choose another --name, or close that one.",
        ),
        (
            "名前「{name}」は使えません: {owner} のマッピングが使っています",
            "--name で別の名前にするか、そちらを閉じてください。",
        ),
    ),
    "port-taken": Message(
        "conflict",
        (
            "cannot open {claim}: the mapping '{name}' of {owner} has {theirs}",
            "Choose another outside port, listen on another address with --on, or close '{name}'.",
        ),
        (
            "{claim} を開けられません: {owner} のマッピング「{name}」が {theirs} を使っています",
            "別の外側ポートにするか、--on で別のアドレスにするか、「{name}」を閉じてください。",
        ),
    ),
    "port-busy": Message(
        "conflict",
        (
            "cannot open {claim}: {holder} on this machine listens on port {port}",
            "Stop that program, or choose another outside port (for example {other}).",
        ),
        (
            "{claim} を開けられません: このマシンの {holder} がポート {port} で待ち受けています",
            "そのプログラムを止めるか、別の外側ポート（例: {other}）にしてください。",
        ),
    ),
    "changed-since": Message(
        "conflict",
        (
            "cannot undo revision {revision}: '{name}' was changed again in revision {later} ({fields})",
            "Undo revision {later} first, or edit '{name}' by hand.",
        ),
        (
            "リビジョン {revision} を元に戻せません: 「{name}」はリビジョン {later} でまた変わりました（{fields}）",
            "先にリビジョン {later} を元に戻すか、「{name}」を edit で直してください。",
        ),
    ),
    "already-closed": Message(
        "conflict",
        ("cannot undo revision {revision}: '{name}' is closed already", "There is nothing left to undo."),
        (
            "リビジョン {revision} を元に戻せません: 「{name}」はもう閉じています",
            "元に戻すものはありません。",
        ),
    ),
    "already-expired": Message(
        "conflict",
        (
            "cannot open '{name}' again: its time ended {when}",
            "Say how long: 'sekimori undo {revision} --for 24h'.",
        ),
        (
            "「{name}」を開け直せません: 期限は {when} に切れました",
            "期間を付けてください: sekimori undo {revision} --for 24h",
        ),
    ),
    "state-in-use": Message(
        "conflict",
        (
            "cannot start: another daemon (pid {pid}) uses the state directory {directory}",
            "Stop it, or give this one its own with --state-dir.",
        ),
        (
            "起動できません: 別のデーモン（pid {pid}）が {directory} を使っています",
            "それを止めるか、--state-dir で別のディレクトリにしてください。",
        ),
    ),
    "not-applied": Message(
        "conflict",
        ("cannot open {name}: {why}", "{fix}Nothing was left behind: correct it and try again."),
        ("{name} を開けられません: {why}", "{fix}変更は残っていません。直してからもう一度お試しください。"),
    ),
    # -- who may (exit 6) ----------------------------------------------------------
    "not-permitted": Message(
        "not-permitted",
        (
            "cannot {what}: {who} may not",
            "Ask an administrator, or have yourself added to [api] admins or viewers in the config file.",
        ),
        (
            "{what} はできません: {who} に権限がありません",
            "管理者に頼むか、設定ファイルの [api] の admins か viewers に加えてもらってください。",
        ),
    ),
    "managed-by-file": Message(
        "not-permitted",
        (
            "cannot {what} '{name}': it is managed by the file {file}",
            "Change it there and run 'sekimori apply'.{now}",
        ),
        (
            "「{name}」を{what}できません: ファイル {file} が管理しています",
            "ファイルを直して sekimori apply を実行してください。{now}",
        ),
    ),
    "privileged-port": Message(
        "not-permitted",
        (
            "cannot listen on port {port}: ports below {first} need the privilege to bind them",
            "Run the daemon as root, give it CAP_NET_BIND_SERVICE, or choose a port from {first} up "
            "(for example {other}).",
        ),
        (
            "ポート {port} で待ち受けられません: {first} 未満のポートには特権が必要です",
            "root で動かすか、CAP_NET_BIND_SERVICE を与えるか、{first} 以上のポート（例: {other}）にしてください。",
        ),
    ),
    # -- the daemon is not there (exit 7) -------------------------------------------
    "unreachable": Message(
        "unreachable",
        (
            "cannot reach the daemon at {socket}: {why}",
            "Start it with 'sekimori up', or say 'sekimori open --foreground …' to host one for this port.",
        ),
        (
            "デーモン（{socket}）に接続できません: {why}",
            "sekimori up で起動するか、sekimori open --foreground … でこのポートだけ開けてください。",
        ),
    ),
    # -- policy (exit 8) --------------------------------------------------------------
    "risk-not-accepted": Message(
        "refused",
        (
            "cannot open {what} to {sources}: {note}",
            "Safer: reach it over a VPN, or name who may come in with --from ADDRESS/PREFIX. "
            "If you accept the risk: --accept-risk {risk}",
        ),
        (
            "「{what}」を開けられません（接続元: {sources}）: {note}",
            "より安全な方法: VPN 経由で使うか、--from アドレス/プレフィックス で接続元を絞ってください。"
            "危険を承知で開ける場合: --accept-risk {risk}",
        ),
    ),
    "lifetime-too-long": Message(
        "refused",
        (
            "cannot keep '{name}' open for {asked}: the policy allows {allowed} at most",
            "Ask for {allowed} or less, and extend it when the time comes.",
        ),
        (
            "「{name}」を {asked} 開けておけません: ポリシーの上限は {allowed} です",
            "{allowed} 以内にして、必要なら extend で延長してください。",
        ),
    ),
    # -- the ledger and the machine (exit 1) --------------------------------------------
    "ledger-newer": Message(
        "internal",
        (
            "cannot use the ledger {file}: it was written by a newer version (schema {theirs}; "
            "this version knows up to {ours})",
            "Install that version again, or use another --state-dir. The ledger was not changed.",
        ),
        (
            "台帳 {file} を使えません: 新しい版が書いたものです（スキーマ {theirs}、この版は {ours} まで）",
            "その版を入れ直すか、別の --state-dir を使ってください。台帳は変更していません。",
        ),
    ),
    "ledger-corrupt": Message(
        "internal",
        (
            "cannot read the ledger {file}: {why}",
            "It was kept aside as {kept} and not changed. Restore a backup in its place, or start "
            "again for an empty ledger and 'sekimori apply' your config.",
        ),
        (
            "台帳 {file} を読めません: {why}",
            "変更せず {kept} に残しました。バックアップを戻すか、もう一度起動して空の台帳から "
            "sekimori apply してください。",
        ),
    ),
    "disk-full": Message(
        "internal",
        (
            "cannot write the ledger {file}: the disk is full",
            "Nothing was changed. Free some space and try again; open ports stay as they are.",
        ),
        (
            "台帳 {file} に書けません: ディスクがいっぱいです",
            "何も変更していません。空きを作ってもう一度お試しください。開いているポートはそのままです。",
        ),
    ),
    "ledger-failed": Message(
        "internal",
        (
            "cannot write the ledger {file}: {why}",
            "Nothing was changed. Look at the disk and the permissions.",
        ),
        (
            "台帳 {file} に書けません: {why}",
            "何も変更していません。ディスクと権限を確かめてください。",
        ),
    ),
    "state-unusable": Message(
        "internal",
        ("cannot use the state directory {directory}: {why}", "Give a writable one with --state-dir."),
        (
            "状態ディレクトリ {directory} を使えません: {why}",
            "--state-dir で書き込めるディレクトリを指定してください。",
        ),
    ),
    "network-not-read": Message(
        "internal",
        (
            "cannot read this machine's interfaces, addresses and routes: {why}",
            "Let the daemon use netlink sockets (systemd: RestrictAddressFamilies needs AF_NETLINK).",
        ),
        (
            "このマシンのインターフェース・アドレス・経路を読めません: {why}",
            "デーモンが netlink ソケットを使えるようにしてください（systemd では RestrictAddressFamilies に AF_NETLINK が必要です）。",
        ),
    ),
    "routes-not-set": Message(
        "internal",
        (
            "cannot set the routes that send replies back by their own line: {why}",
            "Run the daemon as root or give it CAP_NET_ADMIN; until then, only the line of the default route works "
            "from outside.",
        ),
        (
            "応答を元の回線へ返す経路を設定できません: {why}",
            "root で動かすか、CAP_NET_ADMIN を与えてください。それまで外から届くのは、デフォルト経路の回線だけです。",
        ),
    ),
    "sysctl-not-read": Message(
        "internal",
        ("cannot read the kernel setting {name}: {why}", "Look at it with 'sysctl {name}'."),
        ("カーネル設定 {name} を読めません: {why}", "sysctl {name} で確かめてください。"),
    ),
    "sysctl-not-set": Message(
        "internal",
        (
            "cannot set the kernel setting {name} to {value}: {why}",
            "Run the daemon as root, or set it yourself with 'sysctl -w {name}={value}'; in a container, set it "
            "from the host.",
        ),
        (
            "カーネル設定 {name} を {value} にできません: {why}",
            "root で動かすか、sysctl -w {name}={value} で設定してください。コンテナの中では、ホスト側から設定してください。",
        ),
    ),
    "unexpected": Message(
        "internal",
        ("cannot go on: {what}", "This is a fault of Sekimori; its log has the details. Please report it."),
        ("続けられません: {what}", "Sekimori の不具合です。ログに詳細があります。報告をお願いします。"),
    ),
    "timeout": Message(
        "timeout",
        ("cannot confirm in {seconds} s: {what}", "Look again with 'sekimori ls'; it may still come."),
        ("{seconds} 秒以内に確認できません: {what}", "sekimori ls でもう一度確かめてください。"),
    ),
    "interrupted": Message(
        "interrupted",
        ("cannot finish: interrupted", "Nothing more was done."),
        ("中断されました", "これ以上は何もしていません。"),
    ),
}
