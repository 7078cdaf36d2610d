"""The leases of share and tunnel: how long they are asked for, when they are renewed, and when no more."""

from __future__ import annotations

from typing import Any

import pytest

from sekimori.cli import staying
from sekimori.doors.api.render import render_change
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping


@pytest.fixture
def answering(fake):
    """A daemon that tells the counters twice, and then that somebody closed the port."""
    mapping: Mapping = fake.mapping()
    view = fake.view(mapping)
    fake.answers["GET /v1/status"] = {"version": "1"}
    fake.answers["GET /v1/links"] = {"links": []}
    fake.answers["GET /v1/gateway"] = {"lans": [{"addresses": ["192.168.1.2"]}], "wans": []}
    fake.answers["POST /v1/mappings"] = fake.opening(mapping)
    fake.answers["GET /v1/mappings/m-web"] = view
    fake.answers["POST /v1/mappings/m-web/extend"] = fake.changing(Verb.EXTEND, mapping, mapping)
    closed = render_change(Made(Verb.CLOSE, mapping, None))
    counters: tuple[str, dict[str, Any]] = ("counters", {"mappings": [view]})
    fake.answers["GET /v1/events"] = [("hello", {}), counters, counters, ("committed", {"changes": [closed]})]
    return fake


def renewals(fake: Any) -> list[str]:
    return [body["for"] for method, path, body in fake.asked if path.endswith("/extend") and method == "POST"]


def test_it_is_leased_for_minutes_and_not_renewed_at_once(answering, run):
    ran = run("share", "3000")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("192.168.1.2:8080  http://192.168.1.2:8080/\n")
    (body,) = answering.bodies("POST")
    assert (body["for"], body["to"], body["ports"]) == ("10m", "127.0.0.1:3000", "tcp/13000")
    assert renewals(answering) == []


def test_it_is_renewed_when_half_of_it_is_gone(answering, run, monkeypatch):
    monkeypatch.setattr(staying, "_RENEW_AFTER", 0)
    assert run("share", "3000").code == 0
    assert renewals(answering) == ["10m", "10m"]


def test_never_for_longer_than_was_said(answering, run, monkeypatch):
    monkeypatch.setattr(staying, "_RENEW_AFTER", 0)
    assert run("share", "3000", "--for", "5m").code == 0
    assert answering.bodies("POST")[0]["for"] == "5m"
    for text in renewals(answering):
        assert text in ("5m", "4m59s")


def test_at_its_end_it_is_left_to_end(answering, run, monkeypatch):
    monkeypatch.setattr(staying, "_RENEW_AFTER", 0)
    assert run("share", "3000", "--for", "1s").code == 0
    assert renewals(answering) == []


def test_one_that_is_gone_meanwhile_is_no_failure(answering, run, monkeypatch):
    monkeypatch.setattr(staying, "_RENEW_AFTER", 0)
    answering.answers["POST /v1/mappings/m-web/extend"] = Problem("no-such-mapping", ref="m-web", near="")
    ran = run("share", "3000")
    assert (ran.code, ran.err) == (0, "web was closed.\n")


def test_what_was_said_goes_before_what_goes_without_saying(answering, run):
    answering.answers["GET /v1/links/vps"] = {"name": "vps", "to": "ssh://[2001:db8::7]:22", "sekimori": True}
    ran = run(
        *("share", "192.168.1.20:80", "--via", "vps", "--from", "lan", "--on", "203.0.113.2"),
        *("--port", "8081", "--accept-risk", "exposed-admin", "--why", "a demo"),
    )
    assert answering.bodies("POST") == [
        {
            "from": "lan",
            "to": "192.168.1.20:80",
            "on": "203.0.113.2",
            "accept_risk": ["exposed-admin"],
            "at": "vps",
            "ports": "tcp/8081",
            "for": "10m",
            "plan": False,
            "why": "a demo",
        }
    ]
    assert ran.out.startswith("[2001:db8::7]:8080  http://[2001:db8::7]:8080/\n")
