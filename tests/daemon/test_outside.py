"""The secret that makes PCP's nonces."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekimori.daemon.outside import read_secret
from sekimori.model.errors import Problem


def test_it_is_the_same_after_a_restart_and_only_ours_to_read(tmp_path: Path) -> None:
    made = read_secret(tmp_path)
    assert len(made) == 32
    assert read_secret(tmp_path) == made
    assert (tmp_path / "router.secret").stat().st_mode & 0o777 == 0o600


def test_one_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "router.secret").write_bytes(b"short")
    assert len(read_secret(tmp_path)) == 32


def test_where_it_cannot_be_kept_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Problem) as refused:
        read_secret(tmp_path / "missing")
    assert refused.value.code == "state-unusable"
