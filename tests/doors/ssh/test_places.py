"""Where the door listens: at addresses that are there, and at others as soon as they are."""

from __future__ import annotations

import socket

from sekimori.doors.ssh.places import Places
from sekimori.testing.ports import free_ports


def test_a_place_that_is_not_there_is_told_and_the_others_are_opened() -> None:
    port = free_ports()
    opened: list[str] = []
    places = Places([f"192.0.2.77:{port}", f"127.0.0.1:{port}"], lambda key, _sock: opened.append(key))
    places.open()
    places.open()
    assert opened == [f"127.0.0.1:{port}"]
    assert list(places.problems) == [f"192.0.2.77:{port}"]
    assert "cannot answer at the ssh door" in places.problems[f"192.0.2.77:{port}"].title()
    with socket.create_connection(("127.0.0.1", port)):
        places.close()
    assert not places.sockets


def test_a_port_that_another_has_is_taken_once_it_is_free() -> None:
    port = free_ports()
    opened: list[str] = []
    places = Places([f"*:{port}"], lambda key, _sock: opened.append(key))
    with socket.create_server(("127.0.0.1", port)):
        places.open()
        assert opened == []
    places.open()
    assert opened == [f"*:{port}"]
    assert not places.problems
    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, port)):
            continue
    places.close()
