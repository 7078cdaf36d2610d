"""Links are kept, and what goes through them is real exactly while it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from sekimori.model.address import IpProtocol, UnixPath
from sekimori.model.errors import Problem
from sekimori.model.link import SSH_DOOR
from sekimori.model.linkfacts import LinkTest
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind
from sekimori.planes.link import plane as plane_module
from sekimori.reconcile.ports import Changes, Wanted
from sekimori.testing.contract_plane import wanted_for

from .farend import WORKER, Lab, link_named, settled

VIA = (Hop("relay"), Hop("link", "vps"))
AT = (Hop("link", "vps"), Hop("relay"))


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    made = Lab("vps")
    async with made.running():
        yield made


@pytest.fixture
async def up(lab: Lab) -> Lab:
    await settled(lambda: lab.phase() == "up")
    return lab


def via(lab: Lab, number: int = 1, port: int = 8080, **given: Any) -> Wanted:
    return wanted_for(number, port, lab.plane, path=VIA, **given)


def at(lab: Lab, number: int = 1, port: int = 8080, **given: Any) -> Wanted:
    return wanted_for(number, port, lab.plane, **{"path": AT, "at": "vps", "on": None, **given})


async def failure(lab: Lab, wanted: Wanted) -> Problem | None:
    return (await lab.plane.apply(Changes(put=(wanted,)))).get(wanted.mapping.id)


async def is_real(lab: Lab, wanted: Wanted) -> bool:
    return (await lab.plane.observe()).get(wanted.mapping.id) == lab.plane.fingerprint(wanted)


# -- through a link ------------------------------------------------------------------------------


async def test_what_goes_through_a_link_is_real_while_that_is_up(up: Lab) -> None:
    wanted = via(up)
    assert await failure(up, wanted) is None
    assert await is_real(up, wanted)
    up.end.say_state("waiting", code="link-no-udp", facts={"link": "vps"}, next=5.0)
    await settled(lambda: up.changed)
    assert not await is_real(up, wanted)
    problem = await failure(up, wanted)
    assert problem is not None
    assert problem.code == "link-down"
    assert "SSH alone knows only TCP" in problem.title()
    assert "TCP しか運べません" in problem.title("ja")
    assert up.plane.told()["vps"].next_try == 5.0
    up.changed.clear()
    up.end.say_state("up")
    await settled(lambda: up.changed)
    assert up.changed == [["01"]]
    assert await is_real(up, wanted)
    assert up.plane.told()["vps"].why is None
    assert up.end.ops("listen", "unlisten") == []


async def test_a_link_that_is_still_connecting_is_not_waited_for(lab: Lab) -> None:
    lab.answers = False
    problem = await failure(lab, via(lab))
    assert problem is not None
    assert problem.code == "link-down"
    assert "is being connected" in problem.title()


async def test_what_another_try_does_not_mend_is_told_as_it_is(up: Lab) -> None:
    assert await failure(up, via(up)) is None
    up.end.say_state("refused", code="link-no-udp", facts={"link": "vps"})
    await settled(lambda: up.changed)
    problem = await failure(up, via(up))
    assert problem is not None
    assert problem.code == "link-no-udp"


async def test_a_new_reason_is_told_to_the_engine_and_the_same_one_is_not(up: Lab) -> None:
    wanted = via(up)
    await failure(up, wanted)
    up.end.say_state("waiting", code="link-no-udp", facts={"link": "vps"})
    await settled(lambda: up.changed)
    await failure(up, wanted)
    up.changed.clear()
    up.end.say_state("waiting", code="link-no-udp", facts={"link": "vps"}, rtt=0.5)
    await settled(lambda: up.plane.told()["vps"].rtt == 0.5)
    assert up.changed == []
    up.end.say_state("waiting", code="link-broke", facts={"link": "vps", "how": "x"})
    await settled(lambda: up.changed)


async def test_udp_goes_only_to_a_far_end_that_is_ours(up: Lab) -> None:
    wanted = via(up, protocols=(IpProtocol.TCP, IpProtocol.UDP))
    assert await failure(up, wanted) is None
    up.sekimori = False
    up.end.say_state("up")
    await settled(lambda: up.changed)
    problem = await failure(up, wanted)
    assert problem is not None
    assert problem.code == "link-no-udp"
    assert await failure(up, via(up, 2, 8081)) is None


async def test_no_link_of_that_name(up: Lab) -> None:
    wanted = wanted_for(1, 80, up.plane, path=(Hop("relay"), Hop("link", "nowhere")))
    problem = await failure(up, wanted)
    assert problem is not None
    assert problem.code == "link-down"
    assert await up.plane.apply(Changes(remove={"01": 0.0})) == {}


# -- at a link's far end -------------------------------------------------------------------------


async def test_the_far_end_listens_on_every_port_for_the_worker_that_has_the_mapping(up: Lab) -> None:
    wanted = at(up, protocols=(IpProtocol.TCP, IpProtocol.UDP))
    assert await failure(up, wanted) is None
    listens = [each for each in up.end.told if each["op"] == "listen"]
    assert [(each["port_key"], each["host"], each["worker"]) for each in listens] == [
        ("tcp/8080", "", WORKER),
        ("udp/8080", "", WORKER),
    ]
    assert up.plane.far_ports("01") == {"tcp/8080": 8080, "udp/8080": 8080}
    await up.plane.apply(Changes(remove={"01": 0.0}))
    assert up.end.listens == {}
    assert up.plane.far_ports("01") == {}


async def test_a_unix_socket_at_the_far_end(up: Lab) -> None:
    mapping = replace(at(up).mapping, on=UnixPath("/run/app.sock"))
    assert await failure(up, replace(at(up), mapping=mapping)) is None
    assert set(up.end.listens) == {("unix", "/run/app.sock", 0)}


async def test_listens_are_asked_for_again_after_the_process_was_killed(up: Lab) -> None:
    wanted = at(up)
    await failure(up, wanted)
    first = up.end
    first.die(-9)
    await settled(lambda: up.phase() == "waiting")
    assert not await is_real(up, wanted)
    assert "signal 9" in str(up.plane.told()["vps"].why)
    problem = await failure(up, wanted)
    assert problem is not None
    assert problem.code == "link-down"
    assert "signal 9" in problem.title("ja")
    assert len(up.ends) == 1
    up.clock.advance(0.2)
    await settled(lambda: len(up.ends) == 2 and up.plane.far_ports("01"))
    assert await is_real(up, wanted)
    assert set(up.attached) == {"vps"}


async def test_a_process_that_ends_again_and_again_is_started_less_and_less_often(up: Lab) -> None:
    for wait in (0.2, 0.4, 0.8):
        number = len(up.ends)
        up.end.die(1)
        await settled(lambda: up.phase() == "waiting")
        up.clock.advance(wait - 0.01)
        await settled(lambda: up.plane.told()["vps"].next_try)
        assert len(up.ends) == number
        up.clock.advance(0.02)
        await settled(lambda number=number: len(up.ends) > number)  # type: ignore[misc]
        await settled(lambda: up.phase() == "up")


async def test_an_answer_that_comes_late_is_taken(up: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane_module, "PATIENCE", 0.01)
    up.mute = True
    wanted = at(up)
    problem = await failure(up, wanted)
    assert problem is not None
    assert problem.code == "link-slow"
    up.end.say(op="listening", id="01", port_key="tcp/8080", port=8080)
    await settled(lambda: up.changed)
    assert await is_real(up, wanted)


async def test_a_port_that_is_taken_there_is_told_once_and_tried_when_the_engine_tries(up: Lab) -> None:
    up.busy.add(8080)
    wanted = at(up, port=8080)
    assert await failure(up, wanted) is not None
    assert await failure(up, wanted) is not None
    assert len(up.end.ops("listen")) == 2
    assert up.changed == []  # else the engine would ask for ever
    up.busy.clear()
    assert await failure(up, wanted) is None


async def test_a_port_lost_while_the_link_is_up_is_told(up: Lab) -> None:
    wanted = at(up)
    await failure(up, wanted)
    up.end.say(op="unable", id="01", port_key="tcp/8080", code="no-such-thing", facts={"a": 1})
    await settled(lambda: up.changed)
    assert not await is_real(up, wanted)


async def test_answers_for_what_is_gone_change_nothing(up: Lab) -> None:
    await failure(up, at(up))
    await up.plane.apply(Changes(remove={"01": 0.0}))
    up.end.say(op="listening", id="01", port_key="tcp/8080", port=8080)
    up.end.say(op="listening", id="77")
    up.end.say(op="state", phase="dancing")
    up.end.say(op="else")
    up.end.say(op="flows", flows=3)
    up.end.say_state("up", rtt=0.25)
    await settled(lambda: up.plane.told()["vps"].rtt == 0.25)
    assert up.plane.told()["vps"].flows == 3
    assert await up.plane.observe() == {}
    assert up.changed == []


def test_what_no_far_end_can_be_asked_for() -> None:
    lab = Lab()
    plain = at(lab).mapping
    assert lab.plane.unable(plain) is None
    wide = replace(plain, ports=_wide(plain))
    assert lab.plane.unable(wide) is not None
    assert lab.plane.unable(replace(wide, at=None, path=VIA)) is None


def _wide(mapping: Mapping) -> Any:
    pair = mapping.ports[0]
    outside = replace(pair.outside, first=1000, last=2000)
    return (replace(pair, outside=outside, inside=outside),)


# -- links that come, change and go --------------------------------------------------------------


async def test_a_link_that_is_added_is_kept_and_one_removed_is_ended(up: Lab) -> None:
    wanted = wanted_for(1, 80, up.plane, path=(Hop("relay"), Hop("link", "home")))
    assert await failure(up, wanted) is not None
    up.links["home"] = link_named("home")
    up.plane.follow()
    await settled(lambda: up.phase("home") == "up" and up.changed)
    assert await is_real(up, wanted)
    process = up.end
    del up.links["home"]
    up.plane.follow()
    assert not await is_real(up, wanted)
    await settled(lambda: "home" not in up.attached)
    assert await process.wait() == 0
    assert set(up.plane.told()) == {"vps"}


async def test_a_link_that_is_another_is_connected_anew_when_the_old_has_gone(up: Lab) -> None:
    wanted = at(up)
    await failure(up, wanted)
    old = up.end
    up.links["vps"] = replace(up.links["vps"], connections=4)
    up.plane.follow()
    await settled(lambda: up.phase() == "up" and len(up.ends) == 2)
    assert await old.wait() == 0
    await settled(lambda: up.end.listens)
    assert up.end.told[1]["connections"] == 4
    await settled(lambda: up.changed)
    assert await is_real(up, wanted)


async def test_what_a_test_found_is_kept_with_the_link_it_was_of(up: Lab) -> None:
    link = up.links["vps"]

    def outside() -> bool | None:
        return up.plane.told()["vps"].outside

    up.plane.note_test(link, LinkTest(outside=False))
    assert outside() is False
    up.plane.note_test(link, LinkTest(problem=Problem("link-broke", link="vps", how="x")))
    up.plane.note_test(replace(link, connections=7), LinkTest(outside=True))  # another than is kept
    up.plane.note_test(replace(link, name="gone"), LinkTest(outside=True))
    up.end.say_state("waiting", code="link-no-udp", facts={"link": "vps"}, next=5.0)
    await settled(lambda: up.phase() == "waiting")
    assert outside() is False
    up.plane.note_test(link, LinkTest(outside=None))
    assert outside() is None
    up.plane.note_test(link, LinkTest(outside=True))
    up.links["vps"] = replace(link, connections=7)
    up.plane.follow()
    assert outside() is None


async def test_a_link_that_only_its_owner_changed_stays_up(up: Lab) -> None:
    owner = Owner(OwnerKind.FILE, "/etc/sekimori/sekimori.toml")
    up.links["vps"] = replace(up.links["vps"], owner=owner)
    up.plane.follow()
    up.end.say_state("up", rtt=0.1)
    await settled(lambda: up.plane.told()["vps"].rtt == 0.1)
    assert len(up.ends) == 1


async def test_a_process_that_ends_as_its_link_is_removed_takes_nothing_else_with_it(up: Lab) -> None:
    up.links["home"] = link_named("home")
    up.plane.follow()
    await settled(lambda: up.phase("home") == "up")
    up.end.die(1)
    del up.links["home"]
    up.plane.follow()
    await settled(lambda: "home" not in up.attached)
    up.ends[0].say_state("up", rtt=0.25)
    await settled(lambda: up.plane.told()["vps"].rtt == 0.25)


async def test_what_the_former_process_of_a_link_still_says_is_not_taken_for_the_next_one(up: Lab) -> None:
    wanted = at(up)
    assert await failure(up, wanted) is None
    old = up.end
    up.answers = False
    up.links["vps"] = replace(up.links["vps"], connections=4)
    up.plane.follow()
    old.say(op="listening", id=wanted.mapping.id, port_key="tcp/8080", port=8080)
    await settled(lambda: len(up.ends) == 2)
    assert up.plane.far_ports(wanted.mapping.id) == {}


async def test_no_descriptor_is_left_for_channels_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab("vps")

    async def fail(name: str, take: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(lab, "attach", fail)
        async with lab.running():
            await settled(lambda: lab.phase() == "waiting")
            assert "Too many open files" in str(lab.plane.told()["vps"].why)
            patch.undo()
            lab.clock.advance(1)
            await settled(lambda: lab.phase() == "up")


async def test_the_network_changed(lab: Lab) -> None:
    lab.answers = False
    await settled(lambda: lab.ends and lab.end.ops("start"))
    lab.plane.retry()
    assert lab.end.ops("retry") == ["retry"]
    lab.end.say_state("up")
    await settled(lambda: lab.phase() == "up")
    lab.plane.retry()
    assert lab.end.ops("retry") == ["retry", "retry"]  # it may be up over a network that is gone


async def test_workers_that_are_started_later_get_a_channel_too(up: Lab) -> None:
    assert set(up.end.channels) == {WORKER}
    first = up.end.channels[WORKER]
    up.give("vps")
    assert up.end.channels[WORKER] is not first
    first.close()
    up.end.die(1)
    up.give("vps")  # to one that has ended: the descriptor must not leak (filterwarnings=error tells)


async def test_a_process_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab("vps")
    tries: list[object] = []

    async def fail(hear: object) -> Any:
        tries.append(hear)
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(lab.plane, "_launch", fail)
    async with lab.running():
        await settled(lambda: lab.phase() == "waiting")
        assert "Cannot allocate memory" in str(lab.plane.told()["vps"].why)
        lab.clock.advance(1)
        await settled(lambda: len(tries) > 1)


# -- clients of a door ---------------------------------------------------------------------------


async def test_a_clients_port_is_real_while_its_session_holds_it(up: Lab) -> None:
    wanted = wanted_for(1, 8080, up.plane, path=(Hop("relay"), Hop("link", SSH_DOOR)))
    problem = await failure(up, wanted)
    assert problem is not None
    assert problem.code == "client-away"
    held: set[str] = set()
    up.plane.register(SSH_DOOR, lambda mapping: None if mapping.id in held else problem)
    held.add("01")
    up.plane.look_again(["01", "unknown"])
    assert up.changed == [["01"]]
    assert await is_real(up, wanted)
    held.clear()
    up.plane.look_again(["01"])
    assert await failure(up, wanted) is problem
    up.plane.unregister(SSH_DOOR)
    assert (await failure(up, wanted)) is not None


async def test_a_change_of_a_clients_port_is_put_again(up: Lab) -> None:
    wanted = wanted_for(1, 8080, up.plane, path=(Hop("relay"), Hop("link", SSH_DOOR)))
    again = replace(wanted, mapping=replace(wanted.mapping, revision=9))
    assert up.plane.fingerprint(wanted) != up.plane.fingerprint(again)
