"""ls, show, who, history, status, presets, export: what a person and a program read."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from sekimori.cli.text import wide
from sekimori.doors.api.render import render_change, render_preset
from sekimori.model.actual import HopStatus, State
from sekimori.model.address import Interface, parse_spans
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Owner, Trigger
from sekimori.model.schedule import Schedule
from sekimori.model.source import Sources
from sekimori.model.target import Target
from sekimori.presets.load import load_presets

FILE = Owner.parse("file:/etc/sekimori/sekimori.toml")


@pytest.fixture
def three(fake):
    """Three mappings in three states, one of a file, with words in Japanese."""
    cameras = fake.mapping(
        "cameras",
        "udp/7000-7010",
        "cam.lan",
        owner=FILE,
        sources=Sources.parse("lan"),
        lifetime=Lifetime.permanent("家族のカメラ"),
        schedule=Schedule.parse("mon-fri/09:00-18:00", "Asia/Tokyo"),
    )
    game = fake.mapping(
        "minecraft", "5136:25565", "kids-pc", sources=Sources.parse("198.51.100.0/24,203.0.113.0/28,office")
    )
    problem = Problem("no-such-host", host="cam.lan", why="DNS has no such name")
    views = [
        fake.view(fake.mapping(), flows_active=3, flows_total=120, bytes_in=123456, bytes_out=98765432),
        fake.view(game, State.PAUSED),
        fake.view(cameras, State.FAILED, problem=problem),
    ]
    fake.answers["GET /v1/mappings"] = {"mappings": views}
    for view in views:
        fake.answers[f"GET /v1/mappings/{view['name']}"] = view
    return views


def test_ls_of_nothing_says_how_to_open_one(fake, run):
    fake.answers["GET /v1/mappings"] = {"mappings": []}
    assert run("ls").out.startswith("Nothing is open. To open a port: sekimori open ")
    assert run("ls", "--quiet").out == ""
    assert run("ls", "--json").envelope["data"] == {"mappings": []}


def test_ls_in_a_pipe_is_one_line_for_each_mapping(three, run):
    lines = run("ls").out.splitlines()
    heads = "NAME OPEN → TARGET TO WHOM UNTIL STATE NOW IN/OUT MANAGED BY"
    assert lines[0].split() == heads.split()
    columns = [re.split(r"\s{2,}", line) for line in lines[1:4]]
    assert columns[0][:3] == ["web", "tcp/8080 → 192.168.1.5:8080", "anyone"]
    assert columns[0][4:] == ["● open", "3", "121K/94.2M", "alice"]
    assert columns[1][1:3] == ["tcp/5136 → kids-pc:25565", "198.51.100.0/24 +2"]
    assert columns[1][4] == "= paused"
    assert columns[2][2:5] == ["LAN", "permanent", "× failed"]
    assert columns[2][-1] == "file sekimori.toml"
    assert lines[4:] == ["cameras: cannot find the host 'cam.lan': DNS has no such name"]


@pytest.mark.parametrize("columns", ["80", "200"])
def test_ls_shows_refusals_where_somebody_was_refused(fake, run, columns):
    quiet, knocked = fake.mapping("quiet"), fake.mapping("ssh")
    fake.answers["GET /v1/mappings"] = {"mappings": [fake.view(quiet, refused={"source": 0})]}
    assert "REFUSED" not in run("ls", COLUMNS=columns).out
    views = [fake.view(quiet), fake.view(knocked, refused={"source": 3, "rate": 4, "limit": 0})]
    fake.answers["GET /v1/mappings"] = {"mappings": views}
    lines = run("ls", COLUMNS=columns).out.splitlines()
    assert lines[0].split()[-1] == "REFUSED"
    figures = {line.split()[0]: line.split()[-1] for line in lines[1:] if not line.startswith(" ")}
    assert figures == {"quiet": "0", "ssh": "7"}
    assert "拒否" in run("ls", COLUMNS=columns, SEKIMORI_LANG="ja").out


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("columns", ["80", "100", "120"])
def test_ls_fits_the_terminal_and_cuts_no_word(three, run, language, columns):
    out = run("ls", COLUMNS=columns, SEKIMORI_LANG=language).out
    assert max(wide(line) for line in out.splitlines()) <= int(columns)
    for text in ("tcp/8080 → 192.168.1.5:8080", "udp/7000-7010 → cam.lan:7000-7010", "minecraft", "94.2M"):
        assert text in out
    assert "sekimori.toml" in out


def test_japanese_columns_line_up(three, run):
    lines = run("ls", SEKIMORI_LANG="ja").out.splitlines()
    head, rows = lines[0], lines[1:4]
    until = wide(head[: head.index("期限")])
    for row, text in zip(rows, ("明日", "明日", "無期限"), strict=True):
        assert wide(row[: row.index(text)]) == until
    assert "● 開放中" in rows[0]


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_shape_and_a_word(fake, run, state):
    fake.answers["GET /v1/mappings"] = {"mappings": [fake.view(fake.mapping(), state)]}
    assert re.search(rf"[●◌=○×] {str(state).replace('-', ' ')}  ", run("ls").out)


def test_no_colour_where_nobody_sees_it(three, run):
    for words in (("ls",), ("who", "web"), ("history",)):
        assert "\x1b" not in run(*words).out


def test_show_tells_everything_that_is_set(three, run):
    out = run("show", "cameras").out
    rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in out.splitlines())
    assert rows["state"].startswith("failed since ")
    assert rows["problem"] == "cannot find the host 'cam.lan': DNS has no such name"
    assert rows["to do"].startswith("Check the spelling")
    assert rows["until"] == "permanent (家族のカメラ)"
    assert rows["hours"] == "mon-fri/09:00-18:00 (Asia/Tokyo)"
    assert rows["managed by"] == "/etc/sekimori/sekimori.toml"
    assert rows["on"] == "all addresses"
    assert "limit" not in rows
    assert rows["owner"] == "the file /etc/sekimori/sekimori.toml"
    assert "ファイル /etc/sekimori/sekimori.toml" in run("show", "cameras", "--lang", "ja").out
    assert run("show", "cameras", "--json").envelope["data"]["owner"] == str(FILE)
    web = run("show", "web").out
    assert re.search(r"^until +tomorrow \d\d:\d\d \((in 23h \d+m|in 1d); ", web, re.MULTILINE)
    assert re.search(r"^out +94.2 MiB$", web, re.MULTILINE)


def test_ls_and_show_tell_how_each_of_several_hops_is(fake, run):
    problem = Problem("no-such-host", host="cam.lan", why="DNS has no such name")
    path = (Hop("router"), Hop("kernel"))
    good = fake.view(fake.mapping("good", path=path), hops=(HopStatus("router"), HopStatus("kernel")))
    hops = (HopStatus("router"), HopStatus("kernel", problem))
    bad = fake.view(fake.mapping("bad", path=path), State.FAILED, problem=problem, hops=hops)
    fake.answers |= {"GET /v1/mappings": {"mappings": [good, bad]}, "GET /v1/mappings/bad": bad}
    assert run("ls").out.splitlines()[3:] == ["bad (router): works", f"bad (kernel): {problem.title()}"]
    out = run("show", "bad").out
    hops_told = [re.split(r"\s{2,}", line)[1] for line in out.splitlines() if line.startswith("hop ")]
    assert hops_told == ["router: works", "kernel: does not work"]
    assert out.count(problem.title()) == 1  # the problem itself says why
    assert re.search(r"^path +by the router above, by the kernel$", out, re.MULTILINE)
    assert "router: 動いています" in run("show", "bad", "--lang", "ja").out


def test_ls_tells_in_one_line_what_a_mapping_waits_for(fake, run):
    problem = Problem("client-away", name="bob-8000", owner="the key bob", until="for good")
    path = (Hop("relay"), Hop("link", "@ssh"))
    hops = (HopStatus("relay"), HopStatus("link", problem))
    away = fake.view(fake.mapping("bob-8000", path=path), State.FAILED, problem=problem, hops=hops)
    fake.answers["GET /v1/mappings"] = {"mappings": [away]}
    assert run("ls").out.splitlines()[2:] == [f"bob-8000: {problem.title()}"]


def test_ls_tells_once_what_several_wait_for(fake, run):
    down = Problem("link-down", link="vps", why="it is being connected")
    views = [fake.view(fake.mapping(name), State.FAILED, problem=down) for name in ("db", "web")]
    fake.answers["GET /v1/mappings"] = {"mappings": views}
    assert run("ls").out.splitlines()[3:] == [f"db, web: {down.title()}"]


def test_show_goes_on_below_itself_where_the_terminal_ends(fake, run):
    problem = Problem("client-away", name="bob-8000", owner="the key bob", until="until 2026-12-01 18:00 UTC")
    fake.answers["GET /v1/mappings/web"] = fake.view(fake.mapping(), State.FAILED, problem=problem)
    lines = run("show", "web", COLUMNS="60").out.splitlines()
    fix = next(place for place, line in enumerate(lines) if line.startswith("to do "))
    assert lines[fix].endswith("The port stays theirs until 2026-12-01 18:00 UTC,")
    assert re.fullmatch(r" {8,}and works again as soon as they connect\.", lines[fix + 1])
    assert all(len(line) <= 60 for line in lines)


def test_ls_and_show_tell_what_is_no_forward(fake, run):
    trigger = Trigger(parse_spans("tcp/6667"), 600)
    dmz = fake.mapping("dmz", "dmz", "192.168.1.50", excepted=parse_spans("443"), log=True)
    irc = fake.mapping("irc", "113", "trigger", trigger=trigger)
    hole = fake.mapping("hole", "443", target=Target.parse_host("::10/-64"), on=Interface("eth1"))
    views = {each.name: fake.view(each) for each in (dmz, irc, hole)}
    fake.answers["GET /v1/mappings"] = {"mappings": list(views.values())}
    out = run("ls", COLUMNS="200").out
    for text in (
        "dmz but tcp/443 → 192.168.1.50",
        "tcp/113 → whoever uses tcp/6667",
        "tcp/443 @eth1 → [::10/-64]:443 (pinhole)",
    ):
        assert text in out
    shown = {
        "dmz": {"kind": "DMZ host", "except": "tcp/443", "log": "yes"},
        "irc": {"kind": "trigger", "trigger": "tcp/6667, held for 10m"},
        "hole": {"kind": "pinhole", "on": "eth1"},
    }
    for name, expected in shown.items():
        fake.answers[f"GET /v1/mappings/{name}"] = views[name]
        lines = run("show", name).out.splitlines()
        rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines)
        assert {key: rows[key] for key in expected} == expected
        assert ("trigger" in rows, "except" in rows) == (name == "irc", name == "dmz")
    fake.answers["GET /v1/mappings/web"] = fake.view(fake.mapping())
    assert "kind" not in run("show", "web").out
    assert "きっかけ" in run("show", "irc", "--lang", "ja").out


def test_show_counts_refusals_and_failures_by_cause(fake, run):
    counters = {"refused": {"source": 3, "rate": 0}, "failed": {"timed_out": 2, "from-the-future": 1}}
    fake.answers["GET /v1/mappings/web"] = fake.view(fake.mapping(), **counters)
    english, japanese = run("show", "web").out, run("show", "web", "--lang", "ja").out
    assert re.search(r"^refused +source 3$", english, re.MULTILINE)
    assert re.search(r"^failed +timed out 2, from-the-future 1$", english, re.MULTILINE)
    assert re.search(r"^拒否 +接続元 3$", japanese, re.MULTILINE)
    assert re.search(r"^失敗 +応答なし 2, from-the-future 1$", japanese, re.MULTILINE)


def test_show_says_when_hours_open_and_close(fake, run):
    view = fake.view(fake.mapping(), State.OUTSIDE_HOURS)
    fake.answers["GET /v1/mappings/web"] = {**view, "opens_at": "2030-01-01T09:00:00Z"}
    assert ", opens 2030-01-01 09:00" in run("show", "web").out
    view = fake.view(fake.mapping(), State.OPEN)
    fake.answers["GET /v1/mappings/web"] = {**view, "closes_at": "2030-01-01T18:00:00Z"}
    assert ", closes 2030-01-01 18:00" in run("show", "web").out


def test_a_mapping_may_be_named_by_its_port(fake, run):
    fake.answers["GET /v1/mappings/udp%2F53"] = fake.view(fake.mapping())
    assert run("show", "udp/53").code == 0


def test_who_lists_sources_and_live_flows(three, fake, run):
    source = {
        **dict.fromkeys(("bytes_in", "bytes_out", "packets_in", "packets_out", "refused"), 2048),
        "source": "203.0.113.77",
        "flows_active": 2,
        "flows_total": 18,
        "first_seen": "2026-11-20T10:00:00+00:00",
        "last_seen": "2026-11-20T10:00:00+00:00",
    }
    flow = {
        "protocol": "tcp",
        "source": "203.0.113.77:50000",
        "target": "192.168.1.5:8080",
        "state": "open",
        "bytes_in": 1,
        "bytes_out": 2_000_000,
        "packets_in": 1,
        "packets_out": 2,
        "age": 75.2,
        "idle": 0.4,
    }
    use = {"mapping": three[0], "sources": [source], "flows": [flow]}
    fake.answers["GET /v1/mappings/web/who"] = use
    out = run("who", "web").out
    assert re.search(r"^203\.0\.113\.77 +2 +18 +2\.0K/2\.0K +2048 +2026-11-20 10:00 ", out, re.MULTILINE)
    assert re.search(
        r"^tcp +203\.0\.113\.77:50000 +192\.168\.1\.5:8080 +1/1\.9M +1m 15s +0s +open$", out, re.M
    )
    states = [{**flow, "state": state} for state in ("open", "dialling", "half-closed", "new-state")]
    fake.answers["GET /v1/mappings/web/who"] = {**use, "flows": states}
    assert re.findall(r"0s +(.+)$", run("who", "web").out, re.M) == [
        *("open", "dialling", "half closed", "new-state")
    ]
    japanese = run("who", "web", "--lang", "ja").out
    assert re.findall(r"0秒 +(.+)$", japanese, re.M) == ["通信中", "接続中", "片側終了", "new-state"]
    assert re.search(r"\d+日( \d+時間)?前$", japanese, re.M)
    fake.answers["GET /v1/mappings/web/who"] = {**use, "flows": []}
    assert run("who", "web").out.endswith("No connection is live.\n")
    fake.answers["GET /v1/mappings/web/who"] = {**use, "sources": [], "flows": []}
    assert run("who", "web").out == "Nobody has used web yet.\n"


@pytest.fixture
def revisions(fake):
    web = fake.mapping()
    lan = fake.mapping(sources=Sources.parse("lan"))
    rows = [Made(Verb.OPEN, None, fake.mapping(f"m{n}")) for n in range(5)]
    found = [
        {
            "number": 9,
            "at": "2026-11-20T07:00:00+00:00",
            "actor": "person:alice",
            "door": "cli",
            "why": "引っ越し\x1b[31m",
            "rows": [{**render_change(Made(Verb.CHANGE, web, lan)), "id": "x"}],
        },
        {
            "number": 8,
            "at": "2026-11-19T07:00:00+00:00",
            "actor": str(FILE),
            "door": "file",
            "why": "",
            "rows": [{**render_change(made), "id": "x"} for made in rows],
        },
    ]
    fake.answers["GET /v1/history"] = {"revisions": found}
    return found


def test_history(fake, run, revisions):
    ran = run("history")
    lines = ran.out.splitlines()
    assert re.split(r"\s{2,}", lines[1].strip()) == [
        *("9", "2026-11-20 07:00", "alice", "cli", "change web (from)", "引っ越し\ufffd[31m")
    ]
    assert "  file sekimori.toml  " in lines[2]
    assert lines[2].endswith("open m0, open m1, open m2 +2")
    assert ran.err == ""
    assert fake.asked[-1][1] == "/v1/history?limit=50"


def test_history_speaks_the_words_of_the_command_line(fake, run, revisions):
    before = fake.mapping(schedule=Schedule.parse("daily/09:00-18:00", "Asia/Tokyo"))
    after = replace(
        before,
        sources=Sources.parse("lan"),
        lifetime=Lifetime.permanent("x"),
        schedule=Schedule.parse("daily/09:00-17:00", "UTC"),
    )
    made = Made(Verb.CHANGE, before, after)
    revisions[0].update(rows=[{**render_change(made), "id": "x"}], why="undo of revision 4")
    assert "change web (from, until, hours)  undo of revision 4" in re.sub(" {3,}", "  ", run("history").out)
    japanese = run("history", "--lang", "ja").out
    assert "変更 web (接続元, 期限, 時間帯)" in japanese
    assert "リビジョン 4 の取り消し" in japanese
    assert "ファイル sekimori.toml" in japanese
    revisions[0]["why"] = "by root"
    assert "root による" in run("history", "--lang", "ja").out
    assert "  by root" in run("history").out


def test_history_says_how_to_see_older_ones(fake, run, revisions):
    ran = run("history", "web", "--limit", "2", "--before", "10")
    assert fake.asked[-1][1] == "/v1/history?limit=2&before=10&subject=web"
    assert ran.err == "Older ones: sekimori history web --before 8\n"
    assert run("history", "--limit", "2", "--json").err == ""


def test_history_of_nothing(fake, run):
    fake.answers["GET /v1/history"] = {"revisions": []}
    assert run("history").out == "Nothing was changed yet.\n"
    assert run("history", "nix").out == "The history has nothing about 'nix'.\n"


def test_status_shows_whatever_the_daemon_says(fake, run):
    about = {
        "version": "0.1.0",
        "pid": 33,
        "config": None,
        "started_at": "2026-11-20T07:00:00Z",
        "planes": [{"name": "relay", "workers": [7, 8]}],
        "counts": {"mappings": 3, "open": 2},
        "from_the_future": 1,
    }
    fake.answers["GET /v1/status"] = about
    out = run("status").out
    assert out.startswith(f"The daemon runs at {fake.socket}.\n")
    assert re.search(r"^config file +-$", out, re.MULTILINE)
    assert re.search(r"^planes +relay \(workers 7, 8\)$", out, re.MULTILINE)
    assert re.search(r"^counts +mappings 3, open 2$", out, re.MULTILINE)
    assert re.search(r"^from the future +1$", out, re.MULTILINE)
    assert "方式" in run("status", "--lang", "ja").out
    assert run("status", "--json").envelope["data"] == about


@pytest.mark.parametrize("exists", [True, False])
def test_status_says_where_the_config_file_would_be(fake, run, exists):
    fake.answers["GET /v1/status"] = {"config": "/etc/s.toml", "config_exists": exists}
    ending = "" if exists else r" \(not there\)"
    out = run("status").out
    assert re.search(rf"^config file +/etc/s\.toml{ending}$", out, re.MULTILINE)
    assert "exists" not in out
    assert ("（ありません）" in run("status", "--lang", "ja").out) is not exists


def test_status_says_that_the_text_of_the_config_file_was_taken_back(fake, run):
    at = "2026-11-22T09:00:00+00:00"
    about = {"config": "/etc/s.toml", "config_exists": True, "config_taken_back_at": at}
    fake.answers["GET /v1/status"] = about
    out = run("status").out
    assert re.search(r"^config file +/etc/s\.toml \(its text was taken back at .*'sekimori apply'", out, re.M)
    assert out.count("taken back") == 1
    assert "元に戻され" in run("status", "--lang", "ja").out
    about["config_taken_back_at"] = None
    assert "taken back" not in run("status").out


@pytest.mark.parametrize("said", ["minecraft", "MC", "minecraft-java"])
def test_one_preset_by_its_name_or_alias_is_shown_whole(fake, run, said):
    presets = load_presets()
    preset = presets.get(said)
    assert preset is not None
    found = [preset, presets.all()[0]]
    fake.answers["GET /v1/presets"] = {"presets": [render_preset(one) for one in found]}
    for language, label in (("en", "note"), ("ja", "注意")):
        out = run("presets", said, COLUMNS="80", SEKIMORI_LANG=language).out
        assert re.search(rf"^{label} +{re.escape(preset.note[language])}$", out, re.MULTILINE)
        for text in (preset.title[language], *preset.ports, *preset.aliases, str(preset.limit)):
            assert text in out
        assert f"sekimori open {preset.name} --to " in out
        assert out.splitlines()[-1].endswith(f": {presets.all()[0].name}")


def test_presets_in_both_languages_at_80_columns(fake, run):
    fake.answers["GET /v1/presets"] = {"presets": [render_preset(one) for one in load_presets().all()]}
    for language in ("en", "ja"):
        out = run("presets", "mine", COLUMNS="80", SEKIMORI_LANG=language).out
        assert max(wide(line) for line in out.splitlines()) <= 80
    assert fake.asked[-1][1] == "/v1/presets?search=mine"
    assert "Minecraft Java版" in out.replace("\n", "")


def test_presets_that_do_not_exist(fake, run):
    fake.answers["GET /v1/presets"] = {"presets": []}
    assert run("presets", "zz").out.startswith("No preset matches 'zz'.")


def test_export_is_toml_and_nothing_else(fake, run):
    fake.answers["GET /v1/export"] = '[mappings.web]\nports = "8080"\n'
    assert run("export").out == '[mappings.web]\nports = "8080"\n'
    assert run("export", "--quiet").out == '[mappings.web]\nports = "8080"\n'
    assert run("export", "--json").envelope["data"] == {"toml": '[mappings.web]\nports = "8080"\n'}


def test_json_is_ascii_where_stdout_is_not_utf8(three, spawn):
    process = spawn("ls", "--json", PYTHONIOENCODING="latin-1")
    out, err = process.communicate(timeout=30)
    assert err == ""
    assert out.isascii()
    assert json.loads(out)["data"]["mappings"][2]["permanent"] == "家族のカメラ"
    out, err = spawn("ls", PYTHONIOENCODING="ascii", SEKIMORI_LANG="ja").communicate(timeout=30)
    assert err == ""
    assert "web" in out
