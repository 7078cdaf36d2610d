"""Remedies carried out on files and programs of a directory: once, whole, and back again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.observe.diagnose.hands import LocalHands
from sekimori.observe.diagnose.owners import Owner
from sekimori.observe.diagnose.remedy import Command, Edit, Remedy, RemedyFailed, apply, revert

RULES = (
    "*nat\n:PREROUTING ACCEPT\nCOMMIT\n# the filter\n*filter\n:after - [0:0]\n-A after -j RETURN\nCOMMIT\n"
)
WORDS = {"en": "x", "ja": "x"}


def remedy(*steps: Command, edits: tuple[Edit, ...] = ()) -> Remedy:
    return Remedy(Owner.UFW, steps, WORDS, edits)


def touch(path: Path) -> Command:
    """Makes a directory, which a second time would fail."""
    return Command(("mkdir", str(path)), ("rmdir", str(path)), ("test", "-d", str(path)))


def test_lines_go_to_the_end_of_their_section_and_away_again() -> None:
    edit = Edit("after.rules", "-A after -j ACCEPT", "wan lan", section="*filter")
    done = edit.into(RULES)
    assert done.splitlines()[-5:] == [
        "-A after -j RETURN",
        "# sekimori begin wan lan",
        "-A after -j ACCEPT",
        "# sekimori end wan lan",
        "COMMIT",
    ]
    assert done.startswith("*nat\n:PREROUTING ACCEPT\nCOMMIT\n")
    assert edit.into(done) == done
    assert edit.out_of(done) == RULES


def test_two_blocks_in_one_file_do_not_know_each_other() -> None:
    one = Edit("f", "-A after -i a", "a lan", section="*filter")
    two = Edit("f", "-A after -i b", "b lan", section="*filter")
    assert one.out_of(two.into(one.into(RULES))) == two.into(RULES)


@given(st.lists(st.sampled_from(["COMMIT", "*nat", "-A x", "# note", ""])), st.text("ab ", min_size=1))
def test_what_is_put_in_can_be_taken_out(lines: list[str], tag: str) -> None:
    text = "".join(f"{line}\n" for line in ["*filter", *lines, "COMMIT"])
    edit = Edit("f", "-A ours", tag.strip() or "t", section="*filter")
    assert edit.out_of(edit.into(text)) == text


def test_a_file_without_the_section_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_text("*nat\nCOMMIT\n")
    with pytest.raises(RemedyFailed, match="no section"):
        apply(remedy(edits=(Edit(str(path), "x", "t", section="*filter"),)), LocalHands())
    assert path.read_text() == "*nat\nCOMMIT\n"


def test_applied_twice_is_applied_once_and_reverted_is_gone(tmp_path: Path) -> None:
    rules, own, made = tmp_path / "rules", tmp_path / "include" / "own", tmp_path / "made"
    rules.write_text(RULES)
    rules.chmod(0o640)
    edits = (Edit(str(rules), "-A after", "t", section="*filter"), Edit(str(own), "rule", "t"))
    wanted = remedy(touch(made), edits=edits)
    for _ in range(2):
        apply(wanted, LocalHands())
        assert made.is_dir()
        assert "rule\n" in own.read_text()
        assert rules.read_text().count("-A after\n") == 1
    assert rules.stat().st_mode & 0o777 == 0o640
    for _ in range(2):
        revert(wanted, LocalHands())
        assert not made.exists()
        assert not own.exists()
        assert rules.read_text() == RULES


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    made, own = tmp_path / "made", tmp_path / "own"
    wanted = remedy(
        touch(made), Command(("sh", "-c", "echo no; exit 3")), edits=(Edit(str(own), "rule", "t"),)
    )
    with pytest.raises(RemedyFailed, match="no") as caught:
        apply(wanted, LocalHands())
    assert caught.value.output == "no"
    assert not made.exists()
    assert not own.exists()


def test_a_program_that_is_not_there_is_a_failure() -> None:
    with pytest.raises(RemedyFailed, match="no-such-program"):
        apply(remedy(Command(("no-such-program",))), LocalHands())


def test_what_others_still_use_stays(tmp_path: Path) -> None:
    made = tmp_path / "made"
    step = touch(made)
    shared = remedy(Command(step.do, step.undo, step.done, spare=("ls", str(tmp_path / "users"))))
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "other").touch()
    apply(shared, LocalHands())
    revert(shared, LocalHands())
    assert made.is_dir()
    (tmp_path / "users" / "other").unlink()
    revert(shared, LocalHands())
    assert not made.exists()
