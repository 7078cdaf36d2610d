"""A file is the old one or the new one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sekimori.host.writing import write_whole


def test_a_file_is_replaced_whole_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old and longer")
    path.chmod(0o644)
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["secret"]


def test_what_was_left_behind_half_written_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "note.new").write_bytes(b"half of somethi")
    (tmp_path / "note.new").chmod(0o666)
    write_whole(tmp_path / "note", b"whole", mode=0o640)
    assert (tmp_path / "note").read_bytes() == b"whole"
    assert (tmp_path / "note").stat().st_mode & 0o777 == 0o640


def test_what_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.write_bytes(b"old")
    (tmp_path / "note.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
