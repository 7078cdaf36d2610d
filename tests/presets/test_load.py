"""The presets that ship, and how strictly they are read."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekimori.model.address import looks_like_ports, parse_ports
from sekimori.model.limits import Rate
from sekimori.model.preset import Preset, RiskClass
from sekimori.presets.load import DANGERS, LANGUAGES, Presets, load_presets

FILES = ("admin.toml", "web.toml", "game.toml", "p2p.toml", "infra.toml")
PRESETS = load_presets()
ALL = PRESETS.all()
each_preset = pytest.mark.parametrize("preset", ALL, ids=lambda preset: preset.name)


def ports_of(preset: Preset) -> Iterator[tuple[str, int]]:
    for text in preset.ports:
        for spec in parse_ports(text):
            for protocol in spec.protocols:
                for port in spec.outside if protocol.has_ports else (0,):
                    yield protocol.value, port


# --- the data


def test_there_are_enough_of_every_class() -> None:
    counts: dict[RiskClass, int] = defaultdict(int)
    for preset in ALL:
        counts[preset.risk] += 1
    assert len(ALL) >= 115
    assert counts[RiskClass.ADMIN] >= 40
    assert counts[RiskClass.WEB] >= 20
    assert counts[RiskClass.GAME] >= 25
    assert counts[RiskClass.P2P] >= 10
    assert counts[RiskClass.INFRA] >= 20


@each_preset
def test_it_speaks_both_languages(preset: Preset) -> None:
    assert set(preset.title) == set(LANGUAGES)
    assert all(text == text.strip() and text for text in preset.title.values())
    if preset.note:
        assert set(preset.note) == set(LANGUAGES)
        assert preset.note["en"].endswith(".")
        assert preset.note["ja"].endswith("。")
        assert re.search(r"[ぁ-ん]", preset.note["ja"]), "the Japanese note is not Japanese"
        assert not re.search(r"[^\x00-\x7f]", preset.note["en"]), "the English note is not English"


@each_preset
def test_its_name_is_never_mistaken_for_ports(preset: Preset) -> None:
    for word in (preset.name, *preset.aliases):
        assert not looks_like_ports(word)


@each_preset
def test_its_ports_are_read_by_the_cli(preset: Preset) -> None:
    ports = list(ports_of(preset))
    assert ports
    assert len(ports) == len(set(ports))


@each_preset
def test_its_defaults_are_safe(preset: Preset) -> None:
    assert preset.lifetime in (3600, 86400)
    if preset.limit is not None:
        assert str(Rate.parse(preset.limit)) == preset.limit
    if preset.danger is not None:
        assert preset.danger in DANGERS
        assert preset.sources == "lan"
        assert preset.note


@pytest.mark.parametrize(
    ("risk", "sources", "lifetime", "limit", "danger"),
    [
        (RiskClass.ADMIN, "lan", 3600, None, "exposed-admin"),
        (RiskClass.WEB, "anyone", 86400, None, None),
        (RiskClass.GAME, "anyone", 86400, "20/min", None),
        (RiskClass.P2P, "anyone", 86400, None, None),
        (RiskClass.INFRA, "anyone", 86400, None, None),
    ],
)
def test_the_first_of_a_class_has_its_defaults(
    risk: RiskClass, sources: str, lifetime: int, limit: str | None, danger: str | None
) -> None:
    first = next(preset for preset in ALL if preset.risk is risk)
    assert (first.sources, first.lifetime, first.limit, first.danger) == (sources, lifetime, limit, danger)


def test_admin_always_names_its_danger_and_starts_with_the_lan() -> None:
    admin = [preset for preset in ALL if preset.risk is RiskClass.ADMIN]
    assert [preset.name for preset in admin if preset.danger is None or preset.sources != "lan"] == []
    assert {preset.name for preset in admin if preset.danger != "exposed-admin"} == {"telnet"}


def test_no_port_belongs_to_two_dangerous_presets() -> None:
    holders: dict[tuple[str, int], list[str]] = defaultdict(list)
    for preset in ALL:
        if preset.danger is not None:
            for key in ports_of(preset):
                holders[key].append(preset.name)
    assert {key: names for key, names in holders.items() if len(names) > 1} == {}


def test_no_harmless_preset_is_refused_for_the_sake_of_a_dangerous_one() -> None:
    refused = {
        (preset.name, protocol, port)
        for preset in ALL
        if preset.danger is None
        for protocol, port in ports_of(preset)
        if PRESETS.danger_for(protocol, port) is not None
    }
    assert refused == set()


@pytest.mark.parametrize("port", [80, 443, 3000, 8000, 8080, 8443, 8888, 9000])
def test_ports_that_anything_may_use_are_not_dangerous(port: int) -> None:
    assert PRESETS.danger_for("tcp", port) is None


@pytest.mark.parametrize(
    ("name", "ports"),
    [
        ("ssh", ("tcp/22",)),
        ("minecraft", ("tcp/25565",)),
        ("minecraft-bedrock", ("udp/19132-19133",)),
        ("wireguard", ("udp/51820",)),
        ("openvpn", ("udp/1194",)),
        ("ikev2", ("udp/500", "udp/4500")),
        ("ipsec", ("udp/500", "udp/4500", "esp")),
        ("l2tp-ipsec", ("udp/500", "udp/4500", "esp")),
        ("pptp", ("tcp/1723", "gre")),
        ("sstp", ("tcp/443",)),
        ("ipv6-tunnel", ("6in4",)),
        ("dns", ("tcp+udp/53",)),
        ("iperf3", ("tcp+udp/5201",)),
        ("plex", ("tcp/32400",)),
        ("valheim", ("udp/2456-2457",)),
        ("mumble", ("tcp+udp/64738",)),
    ],
)
def test_well_known_services_have_their_ports(name: str, ports: tuple[str, ...]) -> None:
    preset = PRESETS.get(name)
    assert preset is not None
    assert preset.ports == ports


@pytest.mark.parametrize(
    "name", ["playstation", "nintendo-switch", "xbox", "teamspeak", "smtp", "imaps", "sip", "turn"]
)
def test_services_people_ask_for_are_there(name: str) -> None:
    assert PRESETS.get(name) is not None


def test_vpns_say_what_must_not_be_opened() -> None:
    l2tp, pptp = PRESETS.get("l2tp"), PRESETS.get("pptp")
    assert l2tp is not None
    assert pptp is not None
    for note in (l2tp.note["en"], l2tp.note["ja"]):
        assert "1701" in note
    assert all(key != ("udp", 1701) for key in ports_of(l2tp))
    for note in (pptp.note["en"], pptp.note["ja"]):
        assert "WireGuard" in note
        assert "MS-CHAPv2" in note
    assert (pptp.danger, pptp.sources) == ("broken-crypto", "lan")


# --- finding one


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("ssh", "ssh"),
        ("SFTP", "ssh"),
        ("MineCraft", "minecraft"),
        (" k8s ", "kubernetes"),
        ("postgres", "postgresql"),
        ("samba", "smb"),
        ("ps5", "playstation"),
        ("l2tp", "l2tp-ipsec"),
        ("strongswan", "ipsec"),
        ("tunnelbroker", "ipv6-tunnel"),
    ],
)
def test_get_takes_a_name_or_an_alias_in_any_case(word: str, name: str) -> None:
    found = PRESETS.get(word)
    assert found is not None
    assert found.name == name


def test_every_alias_leads_to_its_preset() -> None:
    for preset in ALL:
        assert all(PRESETS.get(alias) is preset for alias in preset.aliases)


@pytest.mark.parametrize("word", ["", "no-such-service", "8080", "tcp/22"])
def test_get_finds_nothing_where_there_is_nothing(word: str) -> None:
    assert PRESETS.get(word) is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("maincraft", "minecraft"),
        ("mine", "minecraft"),
        ("postgress", "postgresql"),
        ("WIREGARD", "wireguard"),
        ("homeassistant", "home-assistant"),
        ("assistant", "home-assistant"),
    ],
)
def test_suggest_puts_what_was_meant_first(typed: str, meant: str) -> None:
    near = PRESETS.suggest(typed)
    assert near[0] == meant
    assert len(near) == len(set(near)) <= 3


@pytest.mark.parametrize("typed", ["", "  ", "xyzzy"])
def test_suggest_stays_silent_rather_than_guess(typed: str) -> None:
    assert PRESETS.suggest(typed) == ()


@pytest.mark.parametrize(
    ("protocol", "port", "name", "danger"),
    [
        ("tcp", 22, "ssh", "exposed-admin"),
        ("tcp", 23, "telnet", "cleartext-login"),
        ("tcp", 3389, "rdp", "exposed-admin"),
        ("udp", 3389, "rdp", "exposed-admin"),
        ("tcp", 5903, "vnc", "exposed-admin"),
        ("tcp", 445, "smb", "exposed-admin"),
        ("tcp", 5432, "postgresql", "exposed-admin"),
        ("tcp", 3306, "mysql", "exposed-admin"),
        ("tcp", 6379, "redis", "exposed-admin"),
        ("tcp", 27017, "mongodb", "exposed-admin"),
        ("tcp", 2375, "docker", "exposed-admin"),
        ("tcp", 6443, "kubernetes", "exposed-admin"),
        ("tcp", 8006, "proxmox", "exposed-admin"),
        ("tcp", 8123, "home-assistant", "exposed-admin"),
        ("tcp", 1883, "mqtt", "exposed-admin"),
        ("tcp", 21, "ftp", "cleartext-login"),
        ("udp", 53, "dns", "open-resolver"),
        ("udp", 123, "ntp", "amplifier"),
        ("udp", 161, "snmp", "amplifier"),
        ("udp", 1900, "ssdp", "amplifier"),
        ("udp", 11211, "memcached", "amplifier"),
        ("tcp", 1080, "socks", "open-proxy"),
        ("udp", 5060, "sip", "toll-fraud"),
        ("tcp", 1723, "pptp", "broken-crypto"),
    ],
)
def test_danger_for_names_what_listens_there(protocol: str, port: int, name: str, danger: str) -> None:
    preset = PRESETS.danger_for(protocol, port)
    assert preset is not None
    assert (preset.name, preset.danger) == (name, danger)


@pytest.mark.parametrize(
    ("protocol", "port"),
    [("udp", 22), ("tcp", 123), ("tcp", 25565), ("udp", 51820), ("tcp", 0), ("gre", 1), ("gre", 65535)],
)
def test_danger_for_is_about_the_protocol_too(protocol: str, port: int) -> None:
    assert PRESETS.danger_for(protocol, port) is None


def make_preset(name: str, risk: RiskClass, danger: str | None, *ports: str) -> Preset:
    return Preset(name=name, title={}, ports=ports, risk=risk, sources="lan", lifetime=3600, danger=danger)


def test_administration_comes_first_where_a_port_is_shared() -> None:
    presets = Presets(
        [
            make_preset("proxy", RiskClass.INFRA, "open-proxy", "tcp/9999"),
            make_preset("console", RiskClass.ADMIN, "exposed-admin", "tcp/9990-9999"),
            make_preset("page", RiskClass.WEB, None, "tcp/9990"),
        ]
    )
    shared = presets.danger_for("tcp", 9999)
    assert shared is not None
    assert shared.name == "console"
    assert presets.danger_for("tcp", 9989) is None


# --- reading strictly

GOOD = """
[defaults]
risk = "admin"
sources = "lan"
lifetime = "90m"
danger = "exposed-admin"
[thing]
title = { en = "Thing", ja = "もの" }
ports = ["tcp/1-3", "udp/2", "tcp+udp/9"]
aliases = ["stuff"]
limit = "5/s"
note = { en = "Mind it.", ja = "注意します。" }
"""


def load_text(directory: Path, text: str) -> Presets:
    for file in FILES:
        (directory / file).write_text(text if file == "admin.toml" else "", encoding="utf-8")
    return load_presets(directory)


def test_a_table_becomes_a_preset_with_the_defaults_of_its_file(tmp_path: Path) -> None:
    assert load_text(tmp_path, GOOD).all() == (
        Preset(
            name="thing",
            title={"en": "Thing", "ja": "もの"},
            ports=("tcp/1-3", "udp/2", "tcp+udp/9"),
            risk=RiskClass.ADMIN,
            sources="lan",
            lifetime=5400,
            aliases=("stuff",),
            limit="5/s",
            danger="exposed-admin",
            note={"en": "Mind it.", "ja": "注意します。"},
        ),
    )


def test_a_preset_may_differ_from_the_defaults(tmp_path: Path) -> None:
    text = GOOD + 'risk = "infra"\nlifetime = "1d"\ndanger = "amplifier"\n'
    (preset,) = load_text(tmp_path, text).all()
    assert (preset.risk, preset.lifetime, preset.danger) == (RiskClass.INFRA, 86400, "amplifier")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("limit =", "limits =", r"admin\.toml: \[thing\] limits: unknown key"),
        ('lifetime = "90m"', 'ports = ["tcp/1"]', r"admin\.toml: \[defaults\] ports: unknown key"),
        ('[thing]\ntitle = { en = "Thing", ja = "もの" }', "[thing]", r"\[thing\] title: needs exactly"),
        (', ja = "もの"', "", r"\[thing\] title: needs exactly the languages en, ja"),
        (', ja = "もの"', ', ja = " "', r"\[thing\] title\.ja: not a text"),
        (', ja = "もの"', ', ja = "もの", fr = "chose"', r"\[thing\] title: needs exactly"),
        (', ja = "注意します。"', "", r"\[thing\] note: needs exactly the languages en, ja"),
        ('["tcp/1-3", "udp/2", "tcp+udp/9"]', "[]", r"\[thing\] ports: missing"),
        ('["tcp/1-3", "udp/2", "tcp+udp/9"]', '"tcp/1"', r"\[thing\] ports: not a list of texts"),
        ('"udp/2"', '"udp/70000"', r"\[thing\] ports: .*1 to 65535"),
        ('"udp/2"', '"icmp/2"', r"\[thing\] ports: .*icmp"),
        ('"udp/2"', '"gre/2"', r"\[thing\] ports: .*gre has no ports"),
        ('"udp/2"', '"gre,esp"', r"\[thing\] ports: 'gre,esp' is not one"),
        ('"udp/2"', '"GRE"', r"\[thing\] ports: 'GRE' is not one"),
        ('"udp/2"', '"gre", "esp+gre"', r"\[thing\] ports: .*overlaps 'gre'|'esp\+gre' is not one"),
        ('"udp/2"', '"2"', r"\[thing\] ports: '2' is not one PROTOCOL/PORT"),
        ('"udp/2"', '"udp/2:3"', r"\[thing\] ports: 'udp/2:3' is not one"),
        ('"udp/2"', '"udp/2,udp/5"', r"\[thing\] ports: 'udp/2,udp/5' is not one"),
        ('"udp/2"', '"udp/8-4"', r"\[thing\] ports: .*backwards"),
        ('"udp/2"', '"tcp/3-4"', r"\[thing\] ports: 'tcp/3-4' overlaps 'tcp/1-3'"),
        ('risk = "admin"', 'risk = "grave"', r"\[thing\] risk: .*grave"),
        ('risk = "admin"\n', "", r"\[thing\] risk: missing"),
        ('sources = "lan"', 'sources = "all"', r"\[thing\] sources: 'all' is neither lan nor anyone"),
        ('sources = "lan"', 'sources = "anyone"', r"\[thing\] sources: .*danger starts with lan"),
        ('lifetime = "90m"', 'lifetime = "long"', r"\[thing\] lifetime: .*long"),
        ('lifetime = "90m"', "lifetime = 90", r"\[thing\] lifetime: not a text"),
        ('limit = "5/s"', 'limit = "5"', r"\[thing\] limit: .*5"),
        ('danger = "exposed-admin"\n', "", r"\[thing\] danger: an admin preset needs one"),
        ('danger = "exposed-admin"', 'danger = "dragons"', r"\[thing\] danger: 'dragons' is none of"),
        ('note = { en = "Mind it.", ja = "注意します。" }', "", r"\[thing\] note: .*says why"),
        ("[thing]", "[Thing]", r"\[Thing\] name: 'Thing' is not in kebab case"),
        ("[thing]", "[anyone]", r"\[anyone\] name: .*meaning of its own"),
        ('["stuff"]', '["7days"]', r"\[thing\] aliases: '7days' is not in kebab case"),
        ('["stuff"]', "[7]", r"\[thing\] aliases: not a list of texts"),
        ("[defaults]", "thing2 = 1\n[defaults]", r"admin\.toml: \[thing2\] is not a table"),
        ("[thing]", "[thing", r"admin\.toml: .*line"),
        ("[thing]", "[defaults]", r"admin\.toml: .*defaults"),
    ],
)
def test_a_broken_file_is_refused_by_file_preset_and_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(ValueError, match=message):
        load_text(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize("word", ["thing", "stuff"])
def test_a_name_or_an_alias_is_taken_once(tmp_path: Path, word: str) -> None:
    second = GOOD[GOOD.index("[thing]") :].replace("[thing]", "[other]").replace('"stuff"', f'"{word}"')
    with pytest.raises(ValueError, match=f"'{word}' names both 'thing' and 'other'"):
        load_text(tmp_path, GOOD + second)


def test_a_missing_file_is_not_read_as_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_presets(tmp_path)


def test_loading_does_not_hold_up_a_start() -> None:
    # The aim is 30 ms; the bound is CPU time with room for a slow machine.
    spent = []
    for _ in range(3):
        begun = time.process_time()
        load_presets()
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.1
