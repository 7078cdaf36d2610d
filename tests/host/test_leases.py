"""Lease files on disk: found, read again when they change, and bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sekimori.host import leases as module
from sekimori.host.leases import LeaseFiles

HEADER = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state\n"


def row(address: str, lifetime: int = 3600) -> str:
    return f"{address},aa:bb:cc:00:00:01,,{lifetime},1795077000,1,0,0,nas,0\n"


def line(address: str, name: str = "nas") -> str:
    return f"1795077000 aa:bb:cc:00:00:01 {address} {name} *\n"


def addresses(files: LeaseFiles) -> list[str]:
    return [str(each.address) for each in files.leases()]


def test_what_is_not_there_holds_no_lease(tmp_path: Path) -> None:
    files = LeaseFiles([str(tmp_path / "none"), str(tmp_path / "nowhere" / "*.leases")])
    assert files.leases() == ()
    (tmp_path / "none").write_text(line("192.168.1.50"))
    assert addresses(files) == ["192.168.1.50"]
    (tmp_path / "none").unlink()
    assert files.leases() == ()


def test_every_file_of_a_pattern_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "b.leases").write_text(line("192.168.1.51"))
    (tmp_path / "a.leases").write_text(line("192.168.1.50"))
    files = LeaseFiles([str(tmp_path / "*.leases"), str(tmp_path / "a.leases")])
    assert addresses(files) == ["192.168.1.50", "192.168.1.51"]


def test_a_file_written_in_place_and_one_put_in_its_place_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "dnsmasq.leases"
    path.write_text(line("192.168.1.50"))
    files = LeaseFiles([str(path)])
    assert addresses(files) == ["192.168.1.50"]
    path.write_text(line("192.168.1.51"))  # as long as before
    assert addresses(files) == ["192.168.1.51"]
    new, times = tmp_path / "new", path.stat()
    new.write_text(line("192.168.1.52"))
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    new.replace(path)
    assert addresses(files) == ["192.168.1.52"]


def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "dnsmasq.leases"
    path.write_text(line("192.168.1.50"))
    files = LeaseFiles([str(path)])
    first = files.leases()
    assert files.leases()[0] is first[0]


def test_keas_parts_are_read_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "kea-leases4.csv"
    path.write_text(HEADER + row("192.168.1.50", lifetime=0))
    earlier = {suffix: tmp_path / f"kea-leases4.csv{suffix}" for suffix in (".1", ".2", ".completed")}
    earlier[".2"].write_text(HEADER + row("192.168.1.50") + row("192.168.1.51"))
    earlier[".1"].write_text(HEADER + row("192.168.1.51", lifetime=0) + row("192.168.1.52"))
    files = LeaseFiles([str(path)])
    assert addresses(files) == ["192.168.1.52"]
    # The clean-up is done: its result stands for both parts, which it has not removed yet.
    earlier[".completed"].write_text(HEADER + row("192.168.1.53"))
    assert addresses(files) == ["192.168.1.53"]


@pytest.mark.parametrize("content", ["root:x:0:0\n", "{"])
def test_a_file_of_no_known_kind_holds_no_lease_and_costs_no_other(tmp_path: Path, content: str) -> None:
    (tmp_path / "a").write_text(content)
    (tmp_path / "b").write_text(line("192.168.1.50"))
    assert addresses(LeaseFiles([str(tmp_path / "a"), str(tmp_path / "b")])) == ["192.168.1.50"]


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 200)
    path = tmp_path / "dnsmasq.leases"
    path.write_text(line("192.168.1.50"))
    files = LeaseFiles([str(path)])
    assert addresses(files) == ["192.168.1.50"]
    path.write_text(line("192.168.1.50") * 9)
    assert addresses(files) == []


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.leases")
    (tmp_path / "directory.leases").mkdir()
    assert LeaseFiles([str(tmp_path / "*.leases"), "/dev/zero"]).leases() == ()
