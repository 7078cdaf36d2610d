"""Causes about links."""

from __future__ import annotations

from typing import Final

__all__ = ["LINKS"]

LINKS: Final[dict[str, tuple[str, str]]] = {
    "client-until": ("until {when}", "{when} まで"),
    "client-for-good": ("for good", "無期限で"),
    "address-in-use": ("Address already in use", "使用中です"),
    "address-elsewhere": (
        "no interface here has that address",
        "そのアドレスを持つインターフェースがありません",
    ),
    "connection-refused": ("Connection refused", "接続が拒否されました"),
    "connection-reset": ("Connection reset by peer", "相手が接続を切りました"),
    "no-route-to-host": ("No route to host", "ホストへの経路がありません"),
    "no-route-to-network": ("Network is unreachable", "ネットワークに届きません"),
    "connection-timed-out": ("Connection timed out", "応答がなく時間切れです"),
    "the-server": ("the SSH server", "SSH サーバー"),
    "link-connecting": ("it is being connected", "接続しているところです"),
    "link-not-kept": ("there is no link of that name any more", "その名前のリンクはもうありません"),
    "link-interface": (
        "the far end of a link cannot be told to listen on an interface ({name}), only on an address",
        "リンクの向こう側では、インターフェース（{name}）ではなくアドレスで待ち受けます",
    ),
    "link-too-many": (
        "{count} ports are more than the {most} that the far end of a link is asked for",
        "{count} ポートは、リンクの向こう側に頼める {most} を超えます",
    ),
    "link-usual-keys": (
        "the agent's, and ~/.ssh/id_* of the daemon's user",
        "エージェントの鍵と、デーモンのユーザーの ~/.ssh/id_*",
    ),
    "not-an-ssh-url": (
        "it is no ssh:// URL with a host and nothing after the port",
        "ホストを持ち、ポートの後に何もない ssh:// の URL ではありません",
    ),
    "no-passwords": (
        "links log in with keys, never with passwords",
        "リンクは鍵でログインし、パスワードは使いません",
    ),
    "not-a-host-key": (
        "a host key is SHA256:…, or the line of a .pub file, or that line after ssh://user@host",
        "ホスト鍵は SHA256:…、.pub ファイルの行、または ssh://user@host に続けたその行です",
    ),
    "no-socket-there": ("there is a file, and it is no socket", "ソケットではないファイルがあります"),
    "password-long": (
        "a password has {most} bytes at most, as SOCKS can say no longer one",
        "パスワードは {most} バイト以内にしてください（SOCKS ではそれより長いものを送れません）",
    ),
    "password-short": (
        "a password has {least} characters at least",
        "パスワードは {least} 文字以上にしてください",
    ),
    "not-a-verifier": (
        "what begins with scrypt$ is a password's verifier from an export, and this is none",
        "scrypt$ で始まるのはエクスポートされたパスワードの検証値ですが、これはその形ではありません",
    ),
}
"""A key to its English and Japanese text; part of `causes.CAUSES`."""
