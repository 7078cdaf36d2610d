"""Every route, through the client, over a real socket, with the real gate behind it."""

from __future__ import annotations

import asyncio
import getpass
from typing import TYPE_CHECKING, Any

import pytest

from sekimori.doors.api import answers
from sekimori.doors.api.services import PresetsBody
from sekimori.doors.api.stream import StatusBody
from sekimori.model.actual import Counters, Flow, SourceUse
from sekimori.model.errors import Problem

if TYPE_CHECKING:
    from tests.doors.api.conftest import Served

pytestmark = pytest.mark.loopback

WEB = {"ports": "8080:80", "to": "192.168.1.5", "from": "198.51.100.0/24", "name": "web"}


def check(shape: Any, answer: Any) -> Any:
    """Hold an answer to its described shape, both ways: nothing missing, nothing undescribed."""
    shaped = shape.model_validate(answer)
    assert shaped.model_dump(mode="json", by_alias=True) == answer
    return answer


async def test_open_answers_an_outcome_with_the_view(served: Served) -> None:
    outcome = check(answers.OutcomeBody, await served.call(served.client.open, WEB, why="a party"))

    assert (outcome["planned"], outcome["revision"]) == (False, 1)
    (change,), (view,) = outcome["changes"], outcome["mappings"]
    assert (change["verb"], change["subject"], change["name"]) == ("open", "mapping", "web")
    assert change["before"] is None
    assert change["changed"] == []
    assert change["after"]["expires_at"] == "2025-06-16T15:06:40+00:00"
    assert view["ports"] == "tcp/8080:80"
    assert view["to"] == "192.168.1.5:80"
    assert view["owner"] == f"person:{getpass.getuser()}"
    assert view["status"]["state"] == "open"
    assert view["status"]["targets"] == ["192.168.1.5"]
    assert view["expires_in"] == 86400
    assert view["asked"] == {"how": "for", "value": "24h"}
    context = served.world.contexts[-1]
    assert (str(context.actor), context.door, context.why) == (view["owner"], "api", "a party")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (
            {"ports": "dmz", "to": "192.168.1.50", "except": ["tcp/443", "gre"], "log": True},
            {"kind": "dmz", "ports": "dmz", "to": "192.168.1.50", "except": "gre,tcp/443", "log": True},
        ),
        (
            {"ports": "113", "trigger": ["tcp/6667"], "hold": "5m"},
            {"kind": "trigger", "to": "trigger", "trigger": "tcp/6667", "hold": "5m", "log": False},
        ),
        (
            {"ports": "443", "to": "[::10/-64]:443", "on": "eth1"},
            {"kind": "pinhole", "to": "[::10/-64]:443", "host": "::10/-64", "on": "eth1"},
        ),
        (
            {"ports": "tcp/1723,gre", "to": "192.168.1.5"},
            {"kind": "forward", "ports": "tcp/1723,gre", "to": "192.168.1.5", "except": None},
        ),
    ],
)
async def test_every_kind_is_shown_as_it_was_asked_for(
    served: Served, words: dict[str, object], shown: dict[str, object]
) -> None:
    outcome = check(answers.OutcomeBody, await served.call(served.client.open, words, plan=True))
    (view,) = outcome["mappings"]
    assert {key: view[key] for key in shown} == shown
    (change,) = outcome["changes"]
    assert (change["after"]["except"], change["after"]["log"]) == (view["except"], view["log"])


async def test_a_dmz_host_has_the_gravest_class(served: Served) -> None:
    outcome = await served.call(served.client.open, {"ports": "dmz", "to": "192.168.1.50"}, plan=True)
    assert outcome["mappings"][0]["risk"] == "admin"
    outcome = await served.call(served.client.open, {"ports": "gre", "to": "192.168.1.50"}, plan=True)
    assert outcome["mappings"][0]["risk"] == "other"


async def test_a_plan_changes_nothing(served: Served) -> None:
    outcome = check(answers.OutcomeBody, await served.call(served.client.open, WEB, plan=True))

    assert (outcome["planned"], outcome["revision"]) == (True, None)
    assert outcome["mappings"][0]["status"]["state"] == "starting"
    assert outcome["mappings"][0]["status"]["since"] is None
    assert await served.call(served.client.mappings) == []
    assert await served.call(served.client.history) == []


async def test_the_list_follows_every_change(served: Served) -> None:
    await served.call(served.client.open, WEB)
    await served.call(served.client.open, {**WEB, "ports": "9001", "name": "other"})
    await served.call(served.client.mappings)

    await served.call(served.client.edit, "web", {"limit": "5/min", "hours": "daily/09:00-18:00"})
    await served.call(served.client.close, "other")
    (view,) = await served.call(served.client.mappings)
    assert (view["limit"], view["opens_at"]) == ("5/min", "2025-06-16T00:00:00+00:00")

    served.world.clock.advance(10 * 3600)
    await served.world.engine.settle()
    (view,) = await served.call(served.client.mappings)
    assert (view["opens_at"], view["closes_at"]) == (None, "2025-06-16T09:00:00+00:00")
    assert (view["status"]["state"], view["expires_in"]) == ("open", 14 * 3600)
    assert view == await served.call(served.client.get, "web")


async def test_a_planned_view_does_not_stay(served: Served) -> None:
    await served.call(served.client.open, WEB)
    await served.call(served.client.edit, "web", {"limit": "5/min"}, plan=True)

    assert (await served.call(served.client.get, "web"))["limit"] is None


async def test_list_and_get(served: Served) -> None:
    await served.call(served.client.open, WEB)
    served.world.measured["m1"] = Counters(
        1, 7, 10, 20, 3, 4, {"source": 2}, {"refused": 1}, served.world.clock.now()
    )

    (view,) = await served.call(served.client.mappings)
    check(answers.MappingView, view)
    assert view["counters"]["flows_total"] == 7
    assert view["counters"]["refused"] == {"source": 2}
    assert view["counters"]["last_flow_at"] == "2025-06-15T15:06:40+00:00"
    for ref in ("web", "WEB", "m1", "8080", "tcp/8080"):
        assert await served.call(served.client.get, ref) == view


async def test_what_is_new_has_counted_nothing_and_is_not_asked(served: Served) -> None:
    served.world.measured["m1"] = Counters(flows_total=7)
    opened = await served.call(served.client.open, WEB)
    assert opened["mappings"][0]["counters"]["flows_total"] == 0
    edited = await served.call(served.client.edit, "web", {"limit": "5/min"})
    assert edited["mappings"][0]["counters"]["flows_total"] == 7


async def test_the_list_is_whole_and_in_order_beyond_a_batch(served: Served) -> None:
    asks = [_submit(served, {**WEB, "ports": str(p), "name": f"p{p}"}) for p in range(20000, 20450)]
    await served.world.gate_within.enact(asks, _context(served))

    views = await served.call(served.client.mappings)
    assert [view["name"] for view in views] == [f"p{p}" for p in range(20000, 20450)]
    check(answers.MappingsBody, {"mappings": views})
    assert views[7] == await served.call(served.client.get, "p20007")


async def test_edit_changes_the_said_words_only(served: Served) -> None:
    await served.call(served.client.open, {**WEB, "hours": "mon-fri/09:00-18:00"})

    outcome = check(
        answers.OutcomeBody,
        await served.call(served.client.edit, "web", {"limit": "5/min", "hours": "none"}, why="slow"),
    )
    (change,) = outcome["changes"]
    assert change["verb"] == "change"
    assert set(change["changed"]) == {"limit", "hours", "zone"}
    assert change["before"]["hours"] == "mon-fri/09:00-18:00"
    assert outcome["mappings"][0]["limit"] == "5/min"


async def test_pause_and_resume(served: Served) -> None:
    await served.call(served.client.open, WEB)

    paused = await served.call(served.client.edit, "web", paused=True)
    assert paused["mappings"][0]["status"]["state"] == "paused"
    resumed = await served.call(served.client.edit, "web", paused=False)
    assert resumed["mappings"][0]["status"]["state"] == "open"


async def test_schedules_tell_their_next_edge(served: Served) -> None:
    # The clock stands at Monday 2025-06-16 00:06:40 in Tokyo.
    view = (await served.call(served.client.open, {**WEB, "hours": "mon-fri/09:00-18:00"}))["mappings"][0]
    assert view["status"]["state"] == "outside-hours"
    assert (view["opens_at"], view["closes_at"]) == ("2025-06-16T00:00:00+00:00", None)

    view = (await served.call(served.client.edit, "web", {"hours": "daily/00:00-18:00"}))["mappings"][0]
    assert (view["opens_at"], view["closes_at"]) == (None, "2025-06-16T09:00:00+00:00")


async def test_extend_in_its_three_ways(served: Served) -> None:
    await served.call(served.client.open, {**WEB, "for": "2h"})
    extend = served.client.extend

    assert await _expires_in(served, extend, "web", {"add": "1h"}) == 3 * 3600
    assert await _expires_in(served, extend, "web", {"for": "30m"}) == 1800
    view = (await served.call(extend, "web", {"permanent": "for good"}))["mappings"][0]
    assert (view["permanent"], view["expires_at"], view["expires_in"]) == ("for good", None, None)


async def test_extend_with_nothing_runs_its_length_again(served: Served) -> None:
    await served.call(served.client.open, {**WEB, "for": "2h"})
    served.world.clock.advance(3600)

    assert await _expires_in(served, served.client.extend, "web") == 2 * 3600


async def test_extend_refuses_two_ways_at_once(served: Served) -> None:
    await served.call(served.client.open, WEB)

    with pytest.raises(Problem) as caught:
        await served.call(served.client.extend, "web", {"add": "1h", "until": "2026-01-01"})
    assert (caught.value.code, caught.value.facts["second"]) == ("exclusive", "--until")


async def test_close(served: Served) -> None:
    await served.call(served.client.open, WEB)

    assert (await served.call(served.client.close, "web", plan=True))["planned"]
    outcome = check(
        answers.OutcomeBody, await served.call(served.client.close, "web", now=True, why="done & gone")
    )
    assert outcome["changes"][0]["after"] is None
    assert outcome["mappings"] == []
    assert served.world.contexts[-1].why == "done & gone"
    assert served.world.plane.graces == {"m1": 0.0}
    assert await served.call(served.client.mappings) == []


async def test_a_port_with_its_protocol_is_a_ref(served: Served) -> None:
    await served.call(served.client.open, {**WEB, "ports": "tcp/53", "name": "dns-tcp"})
    await served.call(served.client.open, {**WEB, "ports": "udp/53", "name": "dns-udp"})

    assert (await served.call(served.client.get, "udp/53"))["name"] == "dns-udp"
    assert (await served.call(served.client.who, "udp/53"))["mapping"]["name"] == "dns-udp"
    await served.call(served.client.extend, "udp/53", {"add": "1h"})
    await served.call(served.client.close, "udp/53")
    assert [view["name"] for view in await served.call(served.client.mappings)] == ["dns-tcp"]


async def test_who(served: Served) -> None:
    await served.call(served.client.open, WEB)
    served.world.flow_list = [
        Flow("tcp", "198.51.100.7:4000", "192.168.1.5:80", 1, 2, 3, 4, 1.5, 0.5, "open")
    ]
    served.world.source_list = [SourceUse("198.51.100.7", 1, 2, 3, 4, 5, 6, 7, 1_750_000_000, 1_750_000_060)]

    use = check(answers.WhoBody, await served.call(served.client.who, "web"))
    assert use["mapping"]["name"] == "web"
    assert use["flows"][0]["idle"] == 0.5
    assert use["sources"][0]["last_seen"] == "2025-06-15T15:07:40+00:00"


async def test_history_and_undo(served: Served) -> None:
    await served.call(served.client.open, WEB, why="first")
    await served.call(served.client.close, "web")

    history = await served.call(served.client.history)
    check(answers.HistoryBody, {"revisions": history})
    assert [revision["number"] for revision in history] == [2, 1]
    assert (history[1]["why"], history[1]["rows"][0]["verb"]) == ("first", "open")
    assert history[1]["rows"][0]["id"] == "m1"
    assert history[1]["rows"][0]["after"]["created_at"] == "2025-06-15T15:06:40+00:00"
    assert [r["number"] for r in await served.call(served.client.history, before=2)] == [1]
    assert [r["number"] for r in await served.call(served.client.history, limit=1)] == [2]
    assert await served.call(served.client.history, subject="nobody") == []

    planned = await served.call(served.client.undo, plan=True)
    assert planned["planned"]
    outcome = check(answers.OutcomeBody, await served.call(served.client.undo, 2, why="oops"))
    assert outcome["mappings"][0]["name"] == "web"
    assert outcome["mappings"][0]["id"] == "m1"


async def test_undo_of_what_expired_takes_a_time(served: Served) -> None:
    await served.call(served.client.open, {**WEB, "for": "1h"})
    await served.call(served.client.close, "web")
    served.world.clock.advance(7200)

    with pytest.raises(Problem) as caught:
        await served.call(served.client.undo, 2)
    assert caught.value.code == "already-expired"
    outcome = await served.call(served.client.undo, 2, "3h")
    assert outcome["mappings"][0]["expires_in"] == 3 * 3600


async def test_apply_and_export(served: Served) -> None:
    applied = await served.call(served.client.apply, "/etc/x.toml", "[mappings]", plan=True, why="sync")

    check(answers.Applied, applied)
    assert applied["skipped"] == [{"code": "expired", "text": "left out"}]
    path, text, context, plan = served.world.synced[-1]
    assert (path, text, context.why, plan) == ("/etc/x.toml", "[mappings]", "sync", True)
    await served.call(served.client.apply)
    assert served.world.synced[-1][:2] == (None, None)
    assert (await served.call(served.client.export)).startswith("# 関守\n")


@pytest.mark.parametrize("file", ["x.toml", "", "/etc/x\0.toml"])
async def test_apply_takes_absolute_paths_only(served: Served, file: str) -> None:
    with pytest.raises(Problem) as caught:
        await served.call(served.client.apply, file)
    assert caught.value.code == "bad-request"
    assert served.world.synced == []


async def test_presets(served: Served) -> None:
    everything = await served.call(served.client.presets)
    check(PresetsBody, {"presets": everything})
    assert len(everything) == len(served.world.presets.all())
    ssh = await served.call(served.client.preset, "ssh")
    assert (ssh["name"], ssh["risk"], ssh["from"]) == ("ssh", "admin", "lan")
    assert ssh in await served.call(served.client.presets, "22")
    assert "ssh" in [each["name"] for each in await served.call(served.client.presets, "リモートログイン")]
    assert "minecraft" in [each["name"] for each in await served.call(served.client.presets, "minecarft")]
    assert await served.call(served.client.presets, "qqqqqq") == []
    with pytest.raises(Problem) as caught:
        await served.call(served.client.preset, "minecarft")
    assert caught.value.code == "no-such-preset"
    assert "minecraft" in caught.value.fix()


async def test_a_preset_lends_its_title_and_risk(served: Served) -> None:
    view = (
        await served.call(served.client.open, {"ports": "ssh", "to": "192.168.1.5", "from": "198.51.100.7"})
    )["mappings"][0]
    assert (view["preset"], view["risk"], view["title"]["en"]) == ("ssh", "admin", "SSH remote login")
    view = (await served.call(served.client.open, {**WEB, "ports": "2222:22"}))["mappings"][0]
    assert (view["preset"], view["risk"], view["title"]) == (None, "admin", None)


async def test_status_says_who_you_are(served: Served) -> None:
    status = await served.call(served.client.status)
    check(StatusBody, status)
    assert status["you"] == {"name": getpass.getuser(), "role": "admin"}
    assert status["started_at"] == "2025-06-15T15:06:40+00:00"
    assert (status["line"]["interface"], status["line"]["inbound4"]["answer"]) == (None, "unknown")


async def test_notices_come_in_the_language_asked_for(served: Served) -> None:
    served.client.language = "ja"
    assert (await served.call(served.client.apply))["skipped"][0]["text"] == "省きました"


async def test_calls_run_side_by_side(served: Served) -> None:
    calls = [
        served.call(served.client.open, {**WEB, "ports": str(port), "name": f"p{port}"})
        for port in range(20000, 20040)
    ]
    outcomes = await asyncio.gather(*calls)

    assert sorted(outcome["revision"] for outcome in outcomes) == list(range(1, 41))
    assert len(await served.call(served.client.mappings)) == 40


async def test_two_for_one_port_at_one_time_get_it_once(served: Served) -> None:
    calls = [served.call(served.client.open, {**WEB, "name": name}) for name in ("one", "two")]
    results = await asyncio.gather(*calls, return_exceptions=True)

    problems = [result for result in results if isinstance(result, Problem)]
    assert [problem.code for problem in problems] == ["port-taken"]


def _submit(served: Served, words: dict[str, object]) -> Any:
    from sekimori.model.request import Submit
    from sekimori.model.words import parse_wish

    return Submit(parse_wish(words, served.world.reading()))


def _context(served: Served) -> Any:
    from sekimori.model.mapping import Owner, OwnerKind
    from sekimori.model.request import Context

    return Context(Owner(OwnerKind.PERSON, "test"), "test")


async def _expires_in(served: Served, *call: Any) -> int:
    outcome = await served.call(*call)
    return int(outcome["mappings"][0]["expires_in"])
