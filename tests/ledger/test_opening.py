from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sekimori.ledger import opening, schema
from sekimori.ledger.store import Ledger
from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.errors import Problem
from sekimori.model.mapping import Owner, OwnerKind


@pytest.fixture
def directory(tmp_path: Path, make, context) -> Path:
    """A state directory whose ledger holds two mappings and a list."""
    with closing(Ledger.open(tmp_path / "state")) as ledger:
        offices = NamedList("office", Owner(OwnerKind.FILE, "/etc/s.toml"), ())
        ledger.commit(
            [
                Made(Verb.OPEN, None, make(1)),
                Made(Verb.OPEN, None, make(2)),
                Made(Verb.DEFINE, None, offices),
            ],
            context,
            1.0,
        )
    return tmp_path / "state"


def alter(directory: Path, *statements: str) -> None:
    with closing(sqlite3.connect(directory / "ledger.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def refusal(directory: Path) -> Problem:
    with pytest.raises(Problem) as caught:
        Ledger.open(directory)
    return caught.value


def leave_a_wal(directory: Path, statement: str) -> None:
    """Change the ledger as a killed program does: the change is in the WAL alone."""
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "c.execute(sys.argv[2]); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(directory / "ledger.db"), statement], check=False)
    assert (directory / "ledger.db-wal").stat().st_size > 0


class TestNew:
    def test_directory_and_file_are_made_for_the_owner_alone(self, tmp_path: Path) -> None:
        with closing(Ledger.open(tmp_path / "deep" / "state")) as ledger:
            assert (ledger.revision, len(ledger.snapshot)) == (0, 0)
            for path in (tmp_path / "deep" / "state").iterdir():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert stat.S_IMODE((tmp_path / "deep" / "state").stat().st_mode) == 0o700

    def test_an_empty_file_is_a_new_ledger(self, tmp_path: Path) -> None:
        (tmp_path / "ledger.db").touch()
        Ledger.open(tmp_path).close()
        assert [path.name for path in tmp_path.iterdir()] == ["ledger.db"]

    def test_it_needs_no_alembic(self, directory: Path, tmp_path: Path) -> None:
        script = (
            "import sys; from pathlib import Path; from sekimori.ledger.store import Ledger; "
            "[Ledger.open(Path(each)).close() for each in sys.argv[1:]]; "
            "print([name for name in sys.modules if name.startswith('alembic')])"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(directory), str(tmp_path / "new")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("[]\n", "")


class TestNewer:
    def test_it_is_left_byte_for_byte(self, directory: Path) -> None:
        alter(directory, "UPDATE alembic_version SET version_num = '0999'", "CREATE TABLE later (x)")
        before = (directory / "ledger.db").read_bytes()
        problem = refusal(directory)
        assert problem.code == "ledger-newer"
        assert (problem.facts["theirs"], problem.facts["ours"]) == ("0999", schema.HEAD)
        assert (directory / "ledger.db").read_bytes() == before

    def test_so_is_one_whose_newer_schema_is_in_its_wal(self, directory: Path) -> None:
        leave_a_wal(directory, "UPDATE alembic_version SET version_num = '0999'")
        paths = [directory / "ledger.db", directory / "ledger.db-wal"]
        before = [path.read_bytes() for path in paths]
        assert refusal(directory).code == "ledger-newer"
        assert [path.read_bytes() for path in paths] == before


class TestCorrupt:
    def check_kept(self, directory: Path, content: bytes, why: str) -> None:
        problem = refusal(directory)
        assert problem.code == "ledger-corrupt"
        assert re.search(why, str(problem.facts["why"])), problem
        kept = Path(str(problem.facts["kept"]))
        assert re.fullmatch(r"ledger\.db\.corrupt-\d{8}T\d{6}Z(-\d+)?", kept.name)
        assert kept.read_bytes() == content
        assert not (directory / "ledger.db").exists()
        with closing(Ledger.open(directory)) as ledger:
            assert len(ledger.snapshot) == 0
        assert kept.read_bytes() == content

    def test_garbage(self, tmp_path: Path) -> None:
        (tmp_path / "ledger.db").write_bytes(b"these are not the bytes of a database" * 1000)
        self.check_kept(tmp_path, b"these are not the bytes of a database" * 1000, "file is not a database")

    def test_truncated(self, directory: Path) -> None:
        whole = (directory / "ledger.db").read_bytes()
        (directory / "ledger.db").write_bytes(whole[: len(whole) // 2])
        self.check_kept(directory, whole[: len(whole) // 2], "malformed")

    def test_damaged_pages(self, directory: Path) -> None:
        damaged = bytearray((directory / "ledger.db").read_bytes())
        for page in range(4096, len(damaged), 4096):
            damaged[page : page + 64] = b"\xff" * 64
        (directory / "ledger.db").write_bytes(damaged)
        self.check_kept(directory, bytes(damaged), ".")

    @pytest.mark.parametrize(
        ("statement", "why"),
        [
            ("UPDATE mappings SET document = '{' WHERE id = 'm1'", "mapping m1 cannot be read: Expecting"),
            ("UPDATE mappings SET document = '[]' WHERE id = 'm1'", "mapping m1 cannot be read"),
            ("UPDATE mappings SET document = '{}' WHERE id = 'm1'", "mapping m1 cannot be read: no 'to'"),
            (
                "UPDATE mappings SET document = replace(document, 'lan', '!') WHERE id = 'm1'",
                "cannot read the source",
            ),
            ("UPDATE mappings SET id = 'm9' WHERE id = 'm1'", "mapping m9 is about m1"),
            ("UPDATE lists SET prefixes = '[\"nowhere\"]'", "list office cannot be read"),
            ("UPDATE lists SET owner = 'nobody'", "list office cannot be read"),
        ],
    )
    def test_a_row_that_cannot_be_read(self, directory: Path, statement: str, why: str) -> None:
        alter(directory, statement)
        self.check_kept(directory, (directory / "ledger.db").read_bytes(), why)

    def test_a_database_that_is_no_ledger(self, tmp_path: Path) -> None:
        alter(tmp_path, "CREATE TABLE something (x)")
        self.check_kept(tmp_path, (tmp_path / "ledger.db").read_bytes(), "no schema number")

    def test_an_emptied_file_keeps_its_wal(self, directory: Path) -> None:
        leave_a_wal(directory, "UPDATE lists SET owner = 'person:b'")
        wal = (directory / "ledger.db-wal").read_bytes()
        (directory / "ledger.db").write_bytes(b"")
        self.check_kept(directory, b"", "write-ahead log")
        assert [path.read_bytes() for path in directory.glob("*.corrupt-*-wal")] == [wal]

    def test_the_moving_may_be_cut_short(self, directory: Path) -> None:
        leave_a_wal(directory, "UPDATE mappings SET document = '{' WHERE id = 'm1'")
        whole = (directory / "ledger.db-wal").read_bytes()
        (directory / "ledger.db").rename(directory / "ledger.db.corrupt-20270115T080000Z")
        assert refusal(directory).code == "ledger-corrupt"
        assert [path.read_bytes() for path in directory.glob("*.corrupt-*-wal")] == [whole]

    def test_file_and_wal_are_kept_under_one_name(self, directory: Path) -> None:
        leave_a_wal(directory, "UPDATE lists SET owner = 'person:b'")
        wal = (directory / "ledger.db-wal").read_bytes()
        (directory / "ledger.db").write_bytes(b"garbage" * 5000)
        kept = refusal(directory).facts["kept"]
        assert Path(f"{kept}-wal").read_bytes() == wal
        assert not (directory / "ledger.db-wal").exists()

    def test_nothing_is_overwritten_when_two_are_moved_in_one_second(self, tmp_path: Path) -> None:
        kept = []
        for content in (b"first garbage" * 99, b"second garbage" * 99, b"third garbage" * 99):
            (tmp_path / "ledger.db").write_bytes(content)
            kept.append((Path(str(refusal(tmp_path).facts["kept"])), content))
        assert len({path for path, _ in kept}) == 3
        assert all(path.read_bytes() == content for path, content in kept)


class TestUnusable:
    @pytest.mark.parametrize("name", ["file/state", "file"])
    def test_a_directory_that_cannot_be(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").touch()
        problem = refusal(tmp_path / name)
        assert problem.code == "state-unusable"
        assert str(tmp_path / name) in problem.title()

    def test_a_directory_in_the_files_place(self, tmp_path: Path) -> None:
        (tmp_path / "ledger.db").mkdir()
        assert refusal(tmp_path).code == "state-unusable"

    @pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
    @pytest.mark.parametrize("mode", [0o500, 0o000])
    def test_a_directory_without_the_permission(self, tmp_path: Path, mode: int) -> None:
        script = (
            "import os, sys; from pathlib import Path; from sekimori.ledger.store import Ledger\n"
            "from sekimori.model.errors import Problem\n"
            "directory = Path(sys.argv[1]); os.chown(directory, 65534, 65534)\n"
            "directory.chmod(int(sys.argv[2])); os.chdir(directory); os.setgid(65534); os.setuid(65534)\n"
            "try: Ledger.open(Path('.'))\n"
            "except Problem as problem: print(problem.code, problem.facts['why'])"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), str(mode)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "state-unusable permission denied: ledger.db\n"

    def test_a_move_that_fails_says_so(self, tmp_path: Path, monkeypatch) -> None:
        (tmp_path / "ledger.db").write_bytes(b"garbage" * 99)

        def refuse(_file: Path) -> Path:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(opening, "_move_aside", refuse)
        problem = refusal(tmp_path)
        assert problem.code == "state-unusable"
        assert "not a database" in problem.title()
        assert (tmp_path / "ledger.db").read_bytes() == b"garbage" * 99
