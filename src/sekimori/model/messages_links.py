"""What keeps links from being up, and what goes through them from being open, in English and Japanese."""

from __future__ import annotations

from typing import Final

from sekimori.model.message import Message

__all__ = ["LINKS"]

LINKS: Final[dict[str, Message]] = {
    "bad-link": Message(
        "usage",
        (
            "cannot read the SSH server '{text}': {why}",
            "Write it like ssh://alice@vps.example:2222, or the name of a Host of ssh_config.",
        ),
        (
            "SSH サーバー「{text}」を読めません: {why}",
            "ssh://alice@vps.example:2222 のように書くか、ssh_config の Host の名前を書いてください。",
        ),
    ),
    "link-down": Message(
        "outside",
        (
            "cannot go through the link '{link}' now: {why}",
            "It is tried again by itself; 'sekimori link show {link}' tells when.",
        ),
        (
            "いまリンク「{link}」を通れません: {why}",
            "自動で再試行します。次にいつ試すかは sekimori link show {link} で分かります。",
        ),
    ),
    "link-broke": Message(
        "internal",
        (
            "cannot keep the link '{link}': its process ended ({how})",
            "It is started again by itself; the daemon's log has what it said.",
        ),
        (
            "リンク「{link}」を保てません: プロセスが終わりました（{how}）",
            "自動で起動し直します。理由はデーモンのログにあります。",
        ),
    ),
    "link-slow": Message(
        "outside",
        (
            "cannot say yet that '{name}' is open at '{link}': its far end has not answered",
            "The answer is taken when it comes; 'sekimori link show {link}' tells how the link is.",
        ),
        (
            "「{name}」が「{link}」で開いたかまだ分かりません: 向こう側がまだ応答しません",
            "応答が来しだい反映します。リンクの様子は sekimori link show {link} で分かります。",
        ),
    ),
    "link-no-udp": Message(
        "outside",
        (
            "cannot carry UDP through the link '{link}': its far end is no Sekimori, and SSH alone knows only TCP",
            "Use TCP, or enable Sekimori's SSH door on the far machine: sekimori door enable ssh.",
        ),
        (
            "リンク「{link}」では UDP を運べません: 向こう側が Sekimori ではなく、SSH だけでは TCP しか運べません",
            "TCP を使うか、向こう側で Sekimori の SSH の窓口を開けてください: sekimori door enable ssh。",
        ),
    ),
    "client-away": Message(
        "outside",
        (
            "cannot reach '{name}': {owner} is not connected",
            "The port stays theirs {until}, and works again as soon as they connect.",
        ),
        (
            "「{name}」に届きません: {owner} が接続していません",
            "ポートは{until}取り置かれています。接続すればすぐに使えます。",
        ),
    ),
    "host-key-unknown": Message(
        "refused",
        (
            "cannot trust {place}: nobody has confirmed its host key, {algorithm} {fingerprint}",
            "Compare it with what 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' says there (the file of that "
            "kind of key). If it is the same, add --host-key {fingerprint}",
        ),
        (
            "{place} を信用できません: ホスト鍵 {algorithm} {fingerprint} はまだ確認されていません",
            "相手側で ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub（鍵の種類に合うファイル）と見比べ、"
            "同じなら --host-key {fingerprint} を付けてください。",
        ),
    ),
    "host-key-changed": Message(
        "refused",
        (
            "cannot trust {place}: its host key is {algorithm} {fingerprint}, where {expected} was expected",
            "Somebody may stand in between, or the server was set up anew: ask who runs it. If the new key is "
            "right: sekimori link add {link} --host-key {fingerprint}",
        ),
        (
            "{place} を信用できません: ホスト鍵が {algorithm} {fingerprint} で、期待していたのは {expected} です",
            "途中に別のだれかがいるか、サーバーが作り直されています。管理者に確かめ、新しい鍵が正しければ: "
            "sekimori link add {link} --host-key {fingerprint}",
        ),
    ),
    "host-key-unasked": Message(
        "outside",
        (
            "cannot trust {place}: it could not be asked for its host key",
            "Try again when it answers, or give the whole key: --host-key '{place} ssh-ed25519 AAAA…', from its "
            "/etc/ssh/ssh_host_ed25519_key.pub.",
        ),
        (
            "{place} を信用できません: ホスト鍵を尋ねられませんでした",
            "応答するときにやり直すか、相手側の /etc/ssh/ssh_host_ed25519_key.pub にある鍵の全体を指定してください: "
            "--host-key '{place} ssh-ed25519 AAAA…'",
        ),
    ),
    "link-no-such-host": Message(
        "outside",
        (
            "cannot find {place} of the link '{link}': {why}",
            "Check the name, and whether names are resolved here; it is tried again by itself.",
        ),
        (
            "リンク「{link}」の {place} が見つかりません: {why}",
            "名前と、この機器で名前解決ができるかを確かめてください。自動で再試行します。",
        ),
    ),
    "link-refused": Message(
        "outside",
        (
            "cannot connect to {place} of the link '{link}': {why}",
            "See whether an SSH server runs there and is reachable; it is tried again by itself.",
        ),
        (
            "リンク「{link}」の {place} に接続できません: {why}",
            "SSH サーバーが動いていて届くかを確かめてください。自動で再試行します。",
        ),
    ),
    "link-timeout": Message(
        "timeout",
        (
            "cannot connect to {place} of the link '{link}': no answer within {seconds} s",
            "See whether the machine is on and its SSH port is let through; it is tried again by itself.",
        ),
        (
            "リンク「{link}」の {place} に接続できません: {seconds} 秒以内に応答がありません",
            "相手の電源と、SSH のポートが通るかを確かめてください。自動で再試行します。",
        ),
    ),
    "link-silent": Message(
        "timeout",
        (
            "cannot go on over the link '{link}': {place} has not answered for {seconds} s",
            "It is connected again by itself.",
        ),
        (
            "リンク「{link}」が途切れました: {place} が {seconds} 秒応答しません",
            "自動で接続し直します。",
        ),
    ),
    "link-cut": Message(
        "outside",
        (
            "cannot go on over the link '{link}': {place} ended the connection ({why})",
            "It is connected again by itself; the log of the SSH server there may say more.",
        ),
        (
            "リンク「{link}」が途切れました: {place} が接続を切りました（{why}）",
            "自動で接続し直します。相手側の SSH サーバーのログに理由があるかもしれません。",
        ),
    ),
    "link-auth": Message(
        "not-permitted",
        (
            "cannot log in at {place}: it takes none of our keys ({keys})",
            "Add a public key to ~/.ssh/authorized_keys of {user} there, or name another one: "
            "sekimori link add {link} … --identity FILE. Passwords are not used.",
        ),
        (
            "{place} にログインできません: どの鍵（{keys}）も受け付けられません",
            "相手側の {user} の ~/.ssh/authorized_keys に公開鍵を加えるか、別の鍵を指定してください: "
            "sekimori link add {link} … --identity FILE。パスワードは使いません。",
        ),
    ),
    "link-no-algorithms": Message(
        "outside",
        (
            "cannot agree with {place} on how to encrypt: {why}",
            "Its SSH server knows only what is no longer safe: update it.",
        ),
        (
            "{place} と暗号方式が合いません: {why}",
            "相手側の SSH サーバーが古く、安全な方式がありません。更新してください。",
        ),
    ),
    "link-no-strict": Message(
        "outside",
        (
            "cannot trust the connection to {place}: its SSH server ({server}) lets messages be cut away unseen "
            "(CVE-2023-48795)",
            "Update it: OpenSSH 9.6, Dropbear 2024.84 and later are safe.",
        ),
        (
            "{place} との接続を信用できません: SSH サーバー（{server}）では途中でメッセージを抜き取られても気付けません"
            "（CVE-2023-48795）",
            "更新してください。OpenSSH 9.6 以降、Dropbear 2024.84 以降は安全です。",
        ),
    ),
    "link-host-certificate": Message(
        "refused",
        (
            "cannot trust {place}: the certificate of its host key is for another host, or has expired",
            "Have it renewed there, or pin the host key itself: --host-key FINGERPRINT.",
        ),
        (
            "{place} を信用できません: ホスト鍵の証明書が別のホストのものか、期限切れです",
            "相手側で更新するか、ホスト鍵そのものを登録してください: --host-key FINGERPRINT。",
        ),
    ),
    "link-jump": Message(
        "outside",
        (
            "cannot reach {place} of the link '{link}' through {by}: {why}",
            "See whether {by} lets connections through, and can reach it; it is tried again by itself.",
        ),
        (
            "リンク「{link}」の {place} に {by} から届きません: {why}",
            "{by} が転送を許し、そこから届くかを確かめてください。自動で再試行します。",
        ),
    ),
    "link-no-key": Message(
        "usage",
        (
            "cannot read the key {file}: {why}",
            "Name a file that the daemon's user may read: --identity FILE.",
        ),
        (
            "鍵 {file} を読めません: {why}",
            "デーモンのユーザーが読めるファイルを指定してください: --identity FILE。",
        ),
    ),
    "link-bad-key": Message(
        "usage",
        ("cannot use the key {file}: {why}", "Name a private key as ssh-keygen makes it: --identity FILE."),
        ("鍵 {file} を使えません: {why}", "ssh-keygen で作った秘密鍵を指定してください: --identity FILE。"),
    ),
    "link-key-locked": Message(
        "usage",
        (
            "cannot use the key {file}: it has a passphrase, and no agent is there that has it open",
            "Add it to an agent that the daemon can ask (SSH_AUTH_SOCK in its environment, {file}.pub beside it), "
            "or make a key without a passphrase for this link alone.",
        ),
        (
            "鍵 {file} を使えません: パスフレーズがあり、開いているエージェントもありません",
            "デーモンから使えるエージェントに加えるか（環境変数 SSH_AUTH_SOCK と {file}.pub が必要です）、"
            "このリンク専用にパスフレーズなしの鍵を作ってください。",
        ),
    ),
    "link-config": Message(
        "usage",
        ("cannot use {file}: {why}", "Correct it, or read no file: --ssh-config none."),
        ("{file} を使えません: {why}", "直すか、ファイルを読まないようにしてください: --ssh-config none。"),
    ),
    "link-bad-pin": Message(
        "usage",
        (
            "cannot use the host key '{line}': {why}",
            "Write it as PLACE ALGORITHM BASE64, as ssh-keyscan does.",
        ),
        (
            "ホスト鍵「{line}」を使えません: {why}",
            "ssh-keyscan のように PLACE ALGORITHM BASE64 と書いてください。",
        ),
    ),
    "link-port-taken": Message(
        "conflict",
        (
            "cannot listen on {port} at '{link}': something else has that port there",
            "Choose another port, or end what has it. If it is a lost session of this link it is let go within "
            "15 s, and the port is asked for again by itself.",
        ),
        (
            "「{link}」で {port} を待ち受けられません: 向こう側で別のものが使っています",
            "別のポートにするか、使っているものを終わらせてください。このリンクの途切れた接続の名残なら "
            "15 秒以内に空き、自動で取り直します。",
        ),
    ),
    "link-path-refused": Message(
        "outside",
        (
            "cannot listen on {path} at '{link}': its server refuses it",
            "A socket that an earlier session left may be there: delete it, or set 'StreamLocalBindUnlink yes' in "
            "the sshd_config of that machine. It may also forbid it (AllowStreamLocalForwarding), or its user may "
            "not write there.",
        ),
        (
            "「{link}」で {path} を待ち受けられません: サーバーが拒否しました",
            "以前の接続が残したソケットがあるかもしれません。消すか、相手側の sshd_config に StreamLocalBindUnlink yes と"
            "書いてください。転送の禁止（AllowStreamLocalForwarding）や、そのユーザーに書き込み権がない場合もあります。",
        ),
    ),
    "link-no-listen": Message(
        "outside",
        (
            "cannot listen on {port} at '{link}': its server refuses it",
            "It may forbid forwarding (AllowTcpForwarding, permitlisten), or a port below 1024 to a user who is "
            "not root; another program may have the port too.",
        ),
        (
            "「{link}」で {port} を待ち受けられません: サーバーが拒否しました",
            "転送の禁止（AllowTcpForwarding、permitlisten）か、root でないユーザーの 1024 未満のポートかもしれません。"
            "別のプログラムが使っている場合もあります。",
        ),
    ),
    "path-busy": Message(
        "conflict",
        (
            "cannot listen at {path}: another program does",
            "Choose another path, or end what listens there: 'ss -xlp src {path}' tells.",
        ),
        (
            "{path} で待ち受けられません: 別のプログラムが待ち受けています",
            "別のパスにするか、使っているプログラムを終わらせてください。ss -xlp src {path} で分かります。",
        ),
    ),
    "path-unusable": Message(
        "conflict",
        (
            "cannot listen at {path}: {why}",
            "Choose a path in a directory that exists and that the daemon may write to, such as /run/sekimori.",
        ),
        (
            "{path} で待ち受けられません: {why}",
            "デーモンが書き込める既存のディレクトリのパスにしてください（例: /run/sekimori）。",
        ),
    ),
}
"""A code to its message; part of `messages.MESSAGES`."""
