"""Refusals about the gateway and about bans."""

from __future__ import annotations

from typing import Final

from sekimori.model.message import Message

__all__ = ["GATEWAY"]

GATEWAY: Final[dict[str, Message]] = {
    "needs-net-admin": Message(
        "not-permitted",
        (
            "cannot make this machine a gateway: {why}",
            "Run the daemon as root, or give it CAP_NET_ADMIN (systemd: AmbientCapabilities=CAP_NET_ADMIN).",
        ),
        (
            "このマシンをゲートウェイにできません: {why}",
            "デーモンを root で動かすか、CAP_NET_ADMIN を与えてください（systemd では AmbientCapabilities=CAP_NET_ADMIN）。",
        ),
    ),
    "no-such-ban": Message(
        "not-found",
        ("cannot find a ban of {prefix}", "'sekimori bans' lists them.{near}"),
        ("{prefix} の締め出しはありません", "sekimori bans で一覧を見られます。{near}"),
    ),
    "bad-ban": Message(
        "refused",
        (
            "cannot ban {prefix}: {why}",
            "Ban the address or the prefix that does harm. To admit only some, give the mapping --from.",
        ),
        (
            "{prefix} を締め出せません: {why}",
            "害のあるアドレスかプレフィックスを指定してください。一部だけを入れたいときは、マッピングに --from を付けてください。",
        ),
    ),
    "ban-ended": Message(
        "conflict",
        (
            "cannot undo revision {revision}: the ban of {name} would have ended on {when}",
            "Ban it again with 'sekimori ban {name} --for 1d'.",
        ),
        (
            "リビジョン {revision} を取り消せません: {name} の締め出しは {when} に終わっています",
            "sekimori ban {name} --for 1d でもう一度締め出してください。",
        ),
    ),
}
