"""What there is to know of an imported miniupnpd.conf, in English and Japanese."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from sekimori.model.decision import Notice
from sekimori.model.door import DoorName

__all__ = [
    "left_out",
    "longest",
    "more_words",
    "no_interface",
    "no_pinholes",
    "not_found",
    "open_end",
    "others",
    "own_only",
    "patterns",
    "port_zero",
    "quota",
    "second_version",
]

_WHY: Final[tuple[tuple[frozenset[str], str, str], ...]] = (
    (
        frozenset({"ext_ifname", "ext_ifname6", "ext_ip"}),
        "the lines to the internet are found by their routes ('sekimori gateway status'; [network] wan in "
        "the config file names them)",
        "インターネット側は経路から見つけます（sekimori gateway status。[network] wan でも指定できます）",
    ),
    (
        frozenset({"ext_perform_stun", "ext_stun_host", "ext_stun_port"}),
        "no STUN server is asked unless this program's own config file names one",
        "STUN サーバーには、このプログラムの設定ファイルで指定しない限り問い合わせません",
    ),
    (
        frozenset({"lease_file", "lease_file6", "clean_ruleset_threshold", "clean_ruleset_interval"}),
        "leases are kept in the ledger and end by themselves; devices ask again for those they still need",
        "リースは台帳に残り、期限や機器の不在で自然に終わります。必要なものは機器が改めて求めます",
    ),
    (
        frozenset({"min_lifetime"}),
        "PCP and NAT-PMP leases last 120 s at least",
        "PCP と NAT-PMP のリースは最短 120 秒です",
    ),
    (
        frozenset({"pcp_allow_thirdparty"}),
        "'others' in a rule would allow it to UPnP as well; add it with 'sekimori door allow WHO --others'",
        "ルールの others は UPnP にも効くため付けていません。sekimori door allow 対象 --others で足せます",
    ),
    (
        frozenset(
            (
                *("upnp_table_name", "upnp_nat_table_name", "upnp_forward_chain", "upnp_nat_chain"),
                *("upnp_nat_postrouting_chain", "anchor", "queue", "tag", "quickrules", "packet_log"),
            )
        ),
        "mappings are made in a table of this program's own",
        "マッピングは専用のテーブルに作ります",
    ),
    (
        frozenset(
            (
                *("port", "http_port", "https_port", "minissdpdsocket", "notify_interval"),
                *("ipv6_listening_ip", "bitrate_up", "bitrate_down", "presentation_url", "system_uptime"),
                *("uuid", "serial", "model_number", "friendly_name", "manufacturer_name"),
                *("manufacturer_url", "model_name", "model_description", "model_url"),
            )
        ),
        "the door chooses and says that by itself",
        "窓口が自分で決めます",
    ),
)
_UNKNOWN: Final = ("it is no option that is known here", "知らない項目です")


def left_out(names: Collection[str]) -> Iterator[Notice]:
    """The options that were not taken over, with the reason for each lot of them."""
    rest = set(names)
    for group, english, japanese in _WHY:
        found = sorted(rest & group)
        rest -= group
        if found:
            yield _left_out(found, english, japanese)
    if rest:
        yield _left_out(sorted(rest), *_UNKNOWN)


def _left_out(names: Sequence[str], english: str, japanese: str) -> Notice:
    listed = ", ".join(names)
    return Notice("left-out", f"{listed}: left out, for {english}.", f"{listed}: 省きました。{japanese}。")


def no_interface(doors: Collection[DoorName]) -> Notice:
    """No door is opened, because it is not said where."""
    command = f"sekimori door enable {' '.join(doors) or 'igd'} --on lan0"
    return Notice(
        "no-listening-ip",
        f"No door was opened: no usable listening_ip says where. Open them with '{command}'.",
        f"窓口は開けていません: 使える listening_ip がありません。{command} で開けてください。",
    )


def not_found(text: str) -> Notice:
    """A listening_ip that no LAN has."""
    return Notice(
        "no-such-lan",
        f"listening_ip={text}: left out, for no LAN here has that address ('sekimori gateway status').",
        f"listening_ip={text}: 省きました。そのアドレスの LAN がありません（sekimori gateway status）。",
    )


def more_words(first: str, others: Sequence[str]) -> Notice:
    """What stands behind the interface or the address."""
    listed = " ".join(others)
    return Notice(
        "left-out",
        f"listening_ip={first}: '{listed}' was left out; the members of a bridge need no door, and the "
        "outside address is found.",
        f"listening_ip={first}: 「{listed}」は省きました。ブリッジの下のポートに窓口は要らず、"
        "外側のアドレスは自動で見つけます。",
    )


def second_version() -> Notice:
    """The file asks for IGD:2."""
    return Notice(
        "igd-version",
        "The door says it is IGD:2, as force_igd_desc_v1=no has it. Windows and some consoles want 1: "
        "'sekimori door enable igd --igd-version 1'.",
        "force_igd_desc_v1=no のとおり IGD:2 として名乗ります。Windows や一部のゲーム機は 1 を求めます: "
        "sekimori door enable igd --igd-version 1",
    )


def open_end(number: int, rule: str) -> Notice:
    """What no rule fits is allowed by miniupnpd."""
    return Notice(
        "open-end",
        f"miniupnpd allows what none of its rules fits; rule {number}, '{rule}', says so here. "
        f"Without it that is denied: 'sekimori door forget {number}'.",
        f"miniupnpd はどのルールにも当てはまらない要求を許すので、ルール {number}「{rule}」を加えました。"
        f"拒否するには sekimori door forget {number} を実行してください。",
    )


def no_pinholes() -> Notice:
    """IPv6, which miniupnpd's rules are not about."""
    return Notice(
        "no-pinholes",
        "miniupnpd's rules are about IPv4 only, and it opens IPv6 to every device; here none may until a "
        "rule says so: 'sekimori door allow ::/0'.",
        "miniupnpd のルールは IPv4 だけのもので、IPv6 はどの機器にも開けます。ここではルールがない限り"
        "開けません: sekimori door allow ::/0",
    )


def others() -> Notice:
    """secure_mode=no."""
    return Notice(
        "others",
        "secure_mode=no: devices may open ports to other hosts of the LAN ('others' in each rule).",
        "secure_mode=no のとおり、機器が LAN のほかの機器にもポートを開けられます（各ルールの others）。",
    )


def own_only() -> Notice:
    """Nothing said of secure_mode, whose default has changed."""
    return Notice(
        "own-only",
        "secure_mode is not said: devices may open ports to themselves only, as newer miniupnpd has it. "
        "Older ones allowed any host.",
        "secure_mode がないので、新しい miniupnpd と同じく、機器は自分へのポートだけを開けられます。"
        "古い版ではどの機器へも開けられました。",
    )


def longest() -> Notice:
    """max_lifetime is about PCP only there."""
    return Notice(
        "longest",
        "max_lifetime holds for every lease here, those of UPnP too.",
        "max_lifetime は、ここでは UPnP も含むすべてのリースに効きます。",
    )


def quota() -> Notice:
    """There is no quota in miniupnpd."""
    return Notice(
        "quota",
        "miniupnpd has no quota; here a device may hold 64 leases at a time, unless a rule says 'most any'.",
        "miniupnpd に上限はありませんが、ここでは機器ごとに同時に 64 件までです"
        "（ルールの most any で外せます）。",
    )


def patterns() -> Notice:
    """Patterns of descriptions."""
    return Notice(
        "patterns",
        "A pattern is held against the descriptions of UPnP; requests of PCP and NAT-PMP have none.",
        "パターンは UPnP の説明文に対して使います。PCP と NAT-PMP の要求に説明文はありません。",
    )


def port_zero(number: int) -> Notice:
    """A rule about port 0."""
    return Notice(
        "port-zero",
        f"The rule in line {number} was left out: it is about port 0 only, which no request is for.",
        f"{number} 行目のルールは省きました: ポート 0 だけが対象で、当てはまる要求がありません。",
    )
