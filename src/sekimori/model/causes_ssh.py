"""Causes about the SSH door, its keys and what they open."""

from __future__ import annotations

from typing import Final

__all__ = ["SSH"]

SSH: Final[dict[str, tuple[str, str]]] = {
    "key-none": ("it holds no public key", "公開鍵がありません"),
    "key-private": (
        "it is a private key; the public one stands beside it in a file that ends in .pub",
        "秘密鍵です。公開鍵は .pub で終わる隣のファイルにあります",
    ),
    "key-algorithm": (
        "{algorithm} is not used any more; make an ed25519 key: ssh-keygen -t ed25519",
        "{algorithm} はもう使えません。ed25519 の鍵を作ってください: ssh-keygen -t ed25519",
    ),
    "key-broken": (
        "what stands after {algorithm} is not such a key",
        "{algorithm} の後ろがその種類の鍵ではありません",
    ),
    "key-weak": (
        "an RSA key of {bits} bits can be broken; {least} are the least",
        "{bits} ビットの RSA 鍵は破られます。最低 {least} ビットです",
    ),
    "key-option-unknown": (
        "'{option}' is no option that is known here",
        "「{option}」はここで使えるオプションではありません",
    ),
    "key-option-value": (
        "the value of {option} is not usable: '{value}'",
        "{option} の値「{value}」は使えません",
    ),
    "key-option-quote": (
        "the value of {option} stands between double quotes",
        "{option} の値は二重引用符で囲みます",
    ),
    "key-option-twice": ("{option} stands there twice", "{option} が二度書かれています"),
    "key-option-alone": (
        "{option} has a meaning only beside {beside}",
        "{option} は {beside} と一緒でなければ意味がありません",
    ),
    "key-file-kind": ("{path} is no plain file", "{path} は通常のファイルではありません"),
    "key-file-large": (
        "{path} has more than the {most} bytes that a file of keys may have",
        "{path} は、鍵のファイルの上限（{most} バイト）を超えています",
    ),
    "key-row-large": (
        "with its grant it has more than {most} bytes, which is more than the door can be told",
        "許可と合わせて {most} バイトを超え、窓口に伝えられません",
    ),
    "key-lines-more": (
        "so it is with {count} more lines",
        "ほかにも {count} 行が使えません",
    ),
    "key-file-open": (
        "others than root and the daemon's user may change {path}",
        "root とデーモンのユーザー以外が {path} を変えられます",
    ),
    "ssh-process-ended": (
        "its process ended ({how}) and is started again",
        "プロセスが終わりました（{how}）。再起動します",
    ),
}
"""A key to its English and Japanese text; part of `causes.CAUSES`."""
