"""Refusals and failures of targets that are devices."""

from __future__ import annotations

from typing import Final

from sekimori.model.message import Message

__all__ = ["DEVICES"]

DEVICES: Final[dict[str, Message]] = {
    "device-not-found": Message(
        "not-found",
        (
            "cannot find the device '{device}' on the LAN",
            "Switch it on. A name must be one that it has from DHCP or mDNS; its MAC address always works: "
            "'ip neighbour' lists those seen.",
        ),
        (
            "LAN に機器「{device}」が見つかりません",
            "機器の電源を入れてください。名前は DHCP か mDNS で名乗っているものに限ります。MAC アドレスなら必ず使えます"
            "（ip neighbour で一覧を見られます）。",
        ),
    ),
    "device-ambiguous": Message(
        "conflict",
        (
            "cannot tell which device '{name}' is: several go by that name, {macs}",
            "Say which one: device:{name}@MAC.",
        ),
        (
            "「{name}」がどの機器か決められません: 同じ名前の機器が複数あります（{macs}）",
            "device:{name}@MAC の形で、どれかを指定してください。",
        ),
    ),
    "device-moved-away": Message(
        "conflict",
        (
            "cannot send anything to {device}: its address {address} now belongs to another device, {other}",
            "Nothing is sent there until the device is seen again. Switch it on, or give it a reserved "
            "address in the DHCP server.",
        ),
        (
            "{device} へ転送できません: アドレス {address} は今、別の機器 {other} のものです",
            "その機器がまた見つかるまで何も転送しません。電源を入れるか、DHCP サーバーでアドレスを固定してください。",
        ),
    ),
}
