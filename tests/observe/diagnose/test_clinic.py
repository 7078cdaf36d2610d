"""The doctor at work: looking, carrying out, taking back, with real files and programs of a directory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from sekimori.host.nftables import NftError, NftUnavailable
from sekimori.model.actual import State, Status
from sekimori.model.errors import Problem
from sekimori.model.remedy import Command, Edit, Remedy
from sekimori.model.snapshot import Snapshot
from sekimori.observe.diagnose.examiner import MOST_EXAMINED
from sekimori.observe.diagnose.machine import Machine
from sekimori.observe.diagnose.owners import Owner
from sekimori.observe.diagnose.ruleset import Ruleset, RulesetUnreadable

from .listing import DROP, forward
from .test_doctor import WEB, opening
from .ward import NOW, TEXT, SickWard, Ward, names, remedy


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path, WEB)


async def codes(ward: Ward, ref: str | None = None) -> list[tuple[str | None, str]]:
    return [(each.mapping, each.finding.code) for each in (await ward.clinic.examine(ref)).found]


class TestExamining:
    async def test_rules_are_read_once_for_all_and_named_by_mapping(self, ward: Ward) -> None:
        ward.snapshot = Snapshot([WEB, replace(opening("192.168.1.10:80", "udp/9"), id="m2", name="other")])
        ward.read = lambda _: Machine(forward([DROP]))
        found = await ward.clinic.examine(None)
        assert [(each.mapping, each.finding.code) for each in found.found] == [
            ("web", "fw-drops"),
            ("other", "fw-drops"),
        ]
        assert (found.examined, found.total, ward.asked) == (2, 2, [["wan", "lan"]])
        assert await codes(ward, "udp/9") == [("other", "fw-drops")]

    async def test_what_is_paused_is_looked_at_only_when_it_is_meant(self, ward: Ward) -> None:
        ward.snapshot = Snapshot([replace(WEB, paused=True)])
        ward.read = lambda _: Machine(forward([DROP]))
        assert (await ward.clinic.examine(None)).total == 0
        assert await codes(ward, "web") == [("web", "fw-drops")]

    async def test_no_such_mapping(self, ward: Ward) -> None:
        with pytest.raises(Problem) as caught:
            await ward.clinic.examine("nobody")
        assert caught.value.code == "no-such-mapping"

    @pytest.mark.parametrize(
        "error",
        [NftError("Operation not permitted"), RulesetUnreadable("[]"), NftUnavailable("no libnftables")],
    )
    async def test_rules_that_cannot_be_read_are_a_finding_and_hide_no_other(
        self, ward: Ward, error: Exception
    ) -> None:
        def read(_interfaces: Iterable[str]) -> Machine:
            raise error

        ward.read = read
        problem = Problem("disk-full", file="x")
        ward.statuses["m1"] = Status(State.FAILED, NOW, NOW, problem)
        found = (await ward.clinic.examine(None)).found
        assert [(each.mapping, each.finding.code) for each in found] == [
            ("web", "mapping-failed"),
            (None, "ruleset-unread"),
        ]
        said = found[1].finding.title["en"]
        assert ("nftables is not here" in said) == isinstance(error, NftUnavailable)
        assert str(error) in said

    async def test_of_very_many_mappings_some_are_looked_at(self, ward: Ward) -> None:
        many = [
            replace(opening("192.168.1.10", f"tcp/{port}"), id=f"m{port}", name=f"n{port}")
            for port in range(1, MOST_EXAMINED + 3)
        ]
        ward.snapshot = Snapshot(many)
        found = await ward.clinic.examine(None)
        assert (found.examined, found.total) == (MOST_EXAMINED, MOST_EXAMINED + 2)

    async def test_what_is_about_a_bridge_is_told_once(self, ward: Ward) -> None:
        ward.snapshot = Snapshot(
            [
                replace(opening("192.168.1.10", f"tcp/{port}"), id=f"m{port}", name=f"n{port}")
                for port in (80, 81, 82)
            ]
        )
        settings = {f"net.bridge.bridge-nf-call-{each}": "1" for each in ("iptables", "ip6tables")}
        ward.read = lambda _: Machine(Ruleset(), settings, bridges=frozenset({"lan"}))
        for ref in (None, "n81"):
            (found,) = (await ward.clinic.examine(ref)).found
            assert (found.mapping, found.finding.code, found.finding.subject) == (None, "bridge-nf", "lan")

    async def test_a_suffix_is_looked_for_in_each_prefix_inside(self, ward: Ward) -> None:
        ward.snapshot = Snapshot([opening("[::10/-64]:443", "tcp/443")])
        ward.read = lambda _: Machine(forward([DROP]))
        (found,) = (await ward.clinic.examine(None)).found
        assert found.finding.code == "fw-drops"


def test_an_id_is_of_the_steps_alone(tmp_path: Path) -> None:
    one = remedy(tmp_path / "a")
    assert one.id == replace(one, explains={"en": "y"}).id
    assert one.id != remedy(tmp_path / "b").id


class TestTreating:
    async def test_a_plan_tells_and_does_nothing(self, tmp_path: Path) -> None:
        ward = SickWard(tmp_path, web=remedy(tmp_path / "a"))
        told = await ward.clinic.treat(None, None, None, plan=True, by="person:root", why="")
        assert (told.planned, [each.remedy.id for each in told.treated]) == (
            True,
            [remedy(tmp_path / "a").id],
        )
        assert names(tmp_path) == []

    async def test_it_is_done_recorded_and_taken_back_even_by_another_process(self, tmp_path: Path) -> None:
        wanted = remedy(tmp_path / "a")
        ward = SickWard(tmp_path, web=wanted, other=wanted)
        done = await ward.clinic.treat(None, None, None, plan=False, by="person:root", why="a test")
        assert [(each.remedy, each.problem) for each in done.treated] == [(wanted, None)]
        assert done.after.found == ()
        assert (tmp_path / "a").is_dir()

        later = SickWard(tmp_path, web=wanted, other=wanted)
        (applied,) = await later.clinic.applied()
        assert applied.remedy == wanted
        assert (applied.codes, applied.mappings, applied.at, applied.by) == (
            ("fw-drops",),
            ("web", "other"),
            NOW,
            "person:root",
        )
        nothing = await later.clinic.take_back("third", None, plan=False, by="person:root", why="")
        assert nothing.treated == ()
        planned = await later.clinic.take_back("other", None, plan=True, by="person:root", why="")
        assert (len(planned.treated), (tmp_path / "a").is_dir()) == (1, True)
        undone = await later.clinic.take_back("other", [wanted.id], plan=False, by="person:root", why="")
        assert [each.problem for each in undone.treated] == [None]
        assert [each.mapping for each in undone.after.found] == ["web", "other"]
        assert names(tmp_path) == ["remedies.json"]
        assert await later.clinic.applied() == ()

    async def test_only_what_is_meant_is_done(self, tmp_path: Path) -> None:
        ward = SickWard(tmp_path, web=remedy(tmp_path / "a"), other=remedy(tmp_path / "b"))
        words = {"plan": False, "by": "person:root", "why": ""}
        assert (await ward.clinic.treat(None, ["policy-drop"], None, **words)).treated == ()  # type: ignore[arg-type]
        await ward.clinic.treat("other", ["fw-drops"], None, **words)  # type: ignore[arg-type]
        assert [(tmp_path / name).exists() for name in "ab"] == [False, True]
        await ward.clinic.treat(None, None, [remedy(tmp_path / "a").id], **words)  # type: ignore[arg-type]
        assert (tmp_path / "a").exists()
        for act in (ward.clinic.take_back, lambda *args, **rest: ward.clinic.treat(None, *args, **rest)):
            with pytest.raises(Problem) as caught:
                await act(None, ["0123456789"], **words)  # type: ignore[arg-type]
            assert (caught.value.code, caught.value.facts["ids"]) == ("remedy-gone", "0123456789")

    async def test_one_that_fails_is_told_undone_and_not_kept_and_the_others_are_done(
        self, tmp_path: Path
    ) -> None:
        bad = replace(remedy(tmp_path / "a"), steps=(*remedy(tmp_path / "a").steps, Command(("false",))))
        ward = SickWard(tmp_path, web=bad, other=remedy(tmp_path / "b"))
        done = await ward.clinic.treat(None, None, None, plan=False, by="person:root", why="")
        first, second = done.treated
        assert first.problem is not None
        assert (first.problem.code, first.problem.facts["step"]) == ("remedy-failed", "false")
        assert second.problem is None
        assert names(tmp_path) == ["b", "b.rules", "remedies.json"]
        assert [each.mappings for each in await ward.clinic.applied()] == [("other",)]
        assert [each.mapping for each in done.after.found] == ["web"]

    async def test_what_cannot_be_taken_back_stays_on_record(self, tmp_path: Path) -> None:
        ward = SickWard(tmp_path, web=remedy(tmp_path / "a"))
        await ward.clinic.treat(None, None, None, plan=False, by="person:root", why="")
        (tmp_path / "a" / "in the way").touch()
        (undone,) = (await ward.clinic.take_back(None, None, plan=False, by="person:root", why="")).treated
        assert undone.problem is not None
        assert undone.problem.code == "remedy-stays"
        assert len(await ward.clinic.applied()) == 1
        (tmp_path / "a" / "in the way").unlink()
        (undone,) = (await ward.clinic.take_back(None, None, plan=False, by="person:root", why="")).treated
        assert undone.problem is None
        assert await ward.clinic.applied() == ()

    async def test_it_is_on_record_before_it_is_done(self, tmp_path: Path) -> None:
        records = tmp_path / "remedies.json"
        step = Command(("cp", str(records), str(tmp_path / "copy")), ("rm", str(tmp_path / "copy")))
        ward = SickWard(tmp_path, web=Remedy(Owner.UFW, (step,), TEXT))
        await ward.clinic.treat(None, None, None, plan=False, by="person:root", why="")
        assert json.loads((tmp_path / "copy").read_text()) == json.loads(records.read_text())
        assert records.stat().st_mode & 0o777 == 0o600

    async def test_what_another_program_removed_is_no_failure(self, tmp_path: Path) -> None:
        edit = Edit(str(tmp_path / "rules"), "a line", "wan lan", section="*filter")
        ward = SickWard(tmp_path, web=Remedy(Owner.UFW, remedy(tmp_path / "a").steps, TEXT, (edit,)))
        (tmp_path / "rules").write_text("*filter\nCOMMIT\n")
        await ward.clinic.treat(None, None, None, plan=False, by="person:root", why="")
        (tmp_path / "rules").unlink()
        (tmp_path / "a").rmdir()
        (undone,) = (await ward.clinic.take_back(None, None, plan=False, by="person:root", why="")).treated
        assert undone.problem is None


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"schema": 2, "remedies": []}', '{"schema": 1, "remedies": [{}]}']
)
async def test_records_that_cannot_be_read_are_told_and_not_written_over(ward: Ward, text: str) -> None:
    path = ward.home / "remedies.json"
    path.write_text(text)
    with pytest.raises(Problem) as caught:
        await ward.clinic.applied()
    assert caught.value.code == "remedies-unreadable"
    assert str(path) in caught.value.title()
    assert path.read_text() == text
