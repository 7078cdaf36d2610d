"""The doctor over the API: what is told, what is done for the asking, and by whom."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sekimori.doors.api.access import Access, Peer, Role, Visitor
from sekimori.doors.api.doctor import DoctorBody, TreatmentBody
from sekimori.model.errors import Problem
from sekimori.observe.diagnose.machine import Machine
from tests.observe.diagnose.listing import DROP, forward
from tests.observe.diagnose.test_doctor import WEB
from tests.observe.diagnose.ward import SickWard, Ward, names, remedy


@pytest.fixture
def dropping(tmp_path: Path) -> Ward:
    """A doctor of a machine that drops what the mapping `web` forwards."""
    ward = Ward(tmp_path / "d", WEB)
    ward.read = lambda _interfaces: Machine(forward([DROP]))
    return ward


@pytest.fixture
def sick(tmp_path: Path) -> SickWard:
    """A doctor with two mappings that a remedy each would help; its directory is `d`."""
    home = tmp_path / "d"
    home.mkdir()
    return SickWard(home, web=remedy(home / "a"), other=remedy(home / "b"))


async def test_nothing_to_say(served: Any) -> None:
    status, headers, body = await served.send("GET", "/v1/doctor")
    assert (status, headers["cache-control"]) == (200, "no-store")
    assert body == {"findings": [], "examined": 0, "mappings": 0, "remedies": []}


async def test_a_finding_has_its_rule_and_both_languages(served: Any, dropping: Ward) -> None:
    served.world.doctor = dropping.clinic
    _, _, body = await served.send("GET", "/v1/doctor?mapping=web")
    DoctorBody.model_validate(body, strict=True)
    (found,) = body["findings"]
    assert (found["code"], found["severity"], found["confidence"]) == ("fw-drops", "error", "certain")
    assert (found["mapping"], found["subject"], found["remedy"]) == ("web", "tcp/8080", None)
    assert found["evidence"] == {
        "family": "inet",
        "table": "other",
        "chain": "c",
        "handle": 2,
        "rule": "drop",
        "hook": "forward",
        "owner": "nftables",
    }
    assert found["title"]["en"].startswith("tcp/8080 does not get through")
    assert "届きません" in found["title"]["ja"]
    assert await served.call(served.client.doctor, "web") == body


async def test_no_such_mapping(served: Any, dropping: Ward) -> None:
    served.world.doctor = dropping.clinic
    for method, path, body in (
        ("GET", "/v1/doctor?mapping=nobody", None),
        ("POST", "/v1/doctor/fix", {"mapping": "nobody"}),
    ):
        status, _, answer = await served.send(method, path, body)
        assert (status, answer["code"]) == (404, "no-such-mapping")


async def test_what_was_planned_is_carried_out_listed_and_taken_back(served: Any, sick: SickWard) -> None:
    served.world.doctor = sick.clinic
    status, _, plan = await served.send("POST", "/v1/doctor/fix", {"plan": True})
    TreatmentBody.model_validate(plan, strict=True)
    assert (status, plan["planned"], len(plan["treated"]), plan["remedies"]) == (200, True, 2, [])
    assert names(sick.home) == []

    first = plan["treated"][0]
    assert first["commands"] == [["mkdir", str(sick.home / "a")]]
    assert first["undo"] == [["rmdir", str(sick.home / "a")]]
    assert first["files"] == [{"path": str(sick.home / "a.rules"), "text": "a line"}]
    _, _, done = await served.send("POST", "/v1/doctor/fix", {"remedies": [first["id"]], "why": "a test"})
    TreatmentBody.model_validate(done, strict=True)
    assert [(each["id"], each["problem"]) for each in done["treated"]] == [(first["id"], None)]
    assert [each["mapping"] for each in done["findings"]] == ["other"]
    assert [(each["id"], each["mappings"], each["codes"]) for each in done["remedies"]] == [
        (first["id"], ["web"], ["fw-drops"])
    ]
    assert done["remedies"][0]["by"].startswith("person:")
    assert names(sick.home) == ["a", "a.rules", "remedies.json"]

    undone = await served.call(served.client.fix, "web", undo=True)
    TreatmentBody.model_validate(undone, strict=True)
    assert [each["id"] for each in undone["treated"]] == [first["id"]]
    assert (undone["remedies"], names(sick.home)) == ([], ["remedies.json"])


async def test_only_for_a_code(served: Any, sick: SickWard) -> None:
    served.world.doctor = sick.clinic
    _, _, body = await served.send("POST", "/v1/doctor/fix", {"codes": ["policy-drop"]})
    assert (body["treated"], names(sick.home)) == ([], [])


async def test_what_failed_is_a_problem_in_the_askers_language(served: Any, sick: SickWard) -> None:
    served.world.doctor = sick.clinic
    (sick.home / "a").touch()  # there is no making a directory of that name
    sick.examiner.remedies = {"web": remedy(sick.home / "a" / "b")}  # type: ignore[attr-defined]
    _, _, body = await served.send("POST", "/v1/doctor/fix", {}, language="ja")
    TreatmentBody.model_validate(body, strict=True)
    problem = body["treated"][0]["problem"]
    assert (problem["code"], problem["status"]) == ("remedy-failed", 500)
    assert "直せません" in problem["title"]
    assert body["remedies"] == []


async def test_a_remedy_that_is_no_longer_meant_is_refused(served: Any, sick: SickWard) -> None:
    served.world.doctor = sick.clinic
    for act in ("fix", "undo"):
        status, _, body = await served.send("POST", f"/v1/doctor/{act}", {"remedies": ["0123456789"]})
        assert (status, body["code"]) == (409, "remedy-gone")
    assert names(sick.home) == []


@pytest.mark.parametrize("body", [{"remedies": "all"}, {"codes": [1]}, {"yes": True}, [], b"no"])
@pytest.mark.parametrize("act", ["fix", "undo"])
async def test_what_cannot_be_read_does_nothing(served: Any, sick: SickWard, act: str, body: object) -> None:
    served.world.doctor = sick.clinic
    status, _, answer = await served.send("POST", f"/v1/doctor/{act}", body)
    assert (status, answer["code"]) == (422, "bad-request")
    assert names(sick.home) == []


class Viewers(Access):
    """Everybody may look and nobody may change."""

    def admit(self, peer: Peer) -> Visitor:
        return Visitor("guest", Role.VIEWER)


async def test_a_viewer_may_look_and_change_nothing(
    world: Any, serving: Any, sick: SickWard, tmp_path: Path
) -> None:
    world.doctor = sick.clinic
    async with serving(world, tmp_path / "s", Viewers(os.geteuid())) as served:
        assert (await served.send("GET", "/v1/doctor"))[0] == 200
        for undo in (False, True):
            with pytest.raises(Problem) as caught:
                await served.call(served.client.fix, undo=undo)
            assert caught.value.code == "not-permitted"
    assert names(sick.home) == []
