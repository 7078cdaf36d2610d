"""What each remedy does and how long it lasts, in English and Japanese."""

# ruff: noqa: E501 - full-width text counts double

from __future__ import annotations

from typing import Final

__all__ = ["EXPLAINS"]

EXPLAINS: Final = {
    "docker": {
        "en": "Adds rules to DOCKER-USER, the chain that Docker leaves to the administrator, after the rules "
        "that are there: they accept what was forwarded on purpose from the WAN to this LAN, and answers. "
        "Docker keeps them when it restarts; after a reboot they have to be added again.",
        "ja": "Docker が管理者のために空けている DOCKER-USER チェーンの、今ある規則の後ろに規則を加えます。"
        "WAN からこの LAN へ意図して転送した通信と、その返事だけを通します。"
        "Docker を再起動しても残りますが、マシンを再起動したら加え直す必要があります。",
    },
    "iptables": {
        "en": "Adds rules right before the one that keeps the packets back, for exactly these packets and "
        "their answers. They last until the rules are loaded anew: put them where your rules are saved, too.",
        "ja": "通信を止めている規則のすぐ前に、この通信と返事だけを通す規則を加えます。"
        "規則を読み込み直すと消えるので、規則を保存している場所にも書いてください。",
    },
    "ufw-dnat": {
        "en": "Adds one rule to ufw's own after.rules: it accepts what was forwarded on purpose from the WAN "
        "to this LAN, unless a rule of 'ufw route' denies it. It lasts over reloads and reboots.",
        "ja": "ufw の after.rules に規則を 1 つ加えます。WAN からこの LAN へ意図して転送した通信を、"
        "ufw route の規則が拒まない限り通します。再読み込みや再起動の後も残ります。",
    },
    "ufw-port": {
        "en": "Adds one rule of ufw for this address and port. It lasts over reloads and reboots.",
        "ja": "このアドレスとポートのための ufw の規則を 1 つ加えます。再読み込みや再起動の後も残ります。",
    },
    "firewalld": {
        "en": "Adds one rule for this address and port to a policy of firewalld, which is made if it is not "
        "there; making it reloads firewalld, and changes that are not permanent are lost then. "
        "It lasts over reloads and reboots.",
        "ja": "firewalld のポリシーに、このアドレスとポートの規則を 1 つ加えます。"
        "ポリシーがなければ作ります。作るときは firewalld を再読み込みするので、永続化していない変更は失われます。"
        "規則は再読み込みや再起動の後も残ります。",
    },
    "fw4": {
        "en": "Adds one file that fw4 includes at the head of its chain. It lasts over reloads and reboots; "
        "name it in /etc/sysupgrade.conf to keep it over an upgrade of OpenWrt.",
        "ja": "fw4 がチェーンの先頭で取り込むファイルを 1 つ加えます。再読み込みや再起動の後も残ります。"
        "OpenWrt の更新後も残すには /etc/sysupgrade.conf に書いてください。",
    },
}
