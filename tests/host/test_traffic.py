"""Counters and speeds of interfaces, as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekimori.host.traffic import Traffic, read_speed, read_traffic

TABLE = "\n".join(
    (
        "Inter-|   Receive                                    |  Transmit",
        " face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs ...",
        "    lo:  580920  5809 0 0 0 0 0 0   580920    5809    0    0    0     0       0          0",
        "  wan0:18446744073709551615 7 1 1 0 0 0 0 11 13 0 0 0 0 0 0",
        "eth0.7:       1     2 0 0 0 0 0 0        3       4    0    0    0     0       0          0",
    )
)


def test_reads_the_table_of_proc(tmp_path: Path) -> None:
    table = tmp_path / "dev"
    table.write_text(TABLE)
    assert read_traffic("wan0", table) == Traffic(2**64 - 1, 7, 11, 13)
    assert read_traffic("eth0.7", table) == Traffic(1, 2, 3, 4)
    assert read_traffic("wan", table) is None


def test_reads_this_machines_own() -> None:
    assert read_traffic("lo") is not None
    assert read_traffic("not there") is None


@pytest.mark.parametrize(("text", "speed"), [("1000\n", 10**9), ("-1\n", None), ("", None), ("fast\n", None)])
def test_reads_the_speed_of_a_link(tmp_path: Path, text: str, speed: int | None) -> None:
    (tmp_path / "eth0").mkdir()
    (tmp_path / "eth0" / "speed").write_text(text)
    assert read_speed("eth0", tmp_path) == speed
    assert read_speed("ppp0", tmp_path) is None
