"""Refusals: each as a problem body, with its status, in its language."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sekimori.doors.api import answers
from sekimori.doors.api.entrance import LARGEST_BODY
from sekimori.doors.api.problems import language_of
from sekimori.model.errors import HTTP_STATUS, Problem
from sekimori.model.messages import MESSAGES

if TYPE_CHECKING:
    from tests.doors.api.conftest import Served

pytestmark = pytest.mark.loopback

WEB = {"ports": "8080:80", "to": "192.168.1.5", "from": "198.51.100.0/24", "name": "web"}


def _problem(code: str) -> Problem:
    """A problem with a fact for every blank in its sentences."""
    message = MESSAGES[code]
    blanks = re.findall(r"{(\w+)}", " ".join((*message.en, *message.ja)))
    return Problem(code, **{blank: f"<{blank}>" for blank in blanks})


def _body(status: int, headers: dict[str, str], body: Any) -> dict[str, Any]:
    """Hold an answer to RFC 9457."""
    assert headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    answers.ProblemBody.model_validate(body, extra="forbid")
    return dict(body)


@pytest.mark.parametrize("code", MESSAGES)
async def test_every_code_keeps_its_status_its_facts_and_both_languages(served: Served, code: str) -> None:
    problem = _problem(code)
    served.world.raises = problem
    for language in ("en", "ja"):
        status, headers, body = await served.send("POST", "/v1/mappings", WEB, language)
        assert status == HTTP_STATUS[problem.kind]
        assert _body(status, headers, body) == problem.body(language)
        assert headers["content-language"] == language


@pytest.mark.parametrize("code", MESSAGES)
async def test_the_client_raises_what_the_gate_raised(served: Served, code: str) -> None:
    problem = _problem(code)
    served.world.raises = problem
    with pytest.raises(Problem) as caught:
        await served.call(served.client.open, WEB)
    assert (caught.value.code, caught.value.facts) == (problem.code, problem.facts)


@pytest.mark.parametrize(
    ("method", "path", "body", "why"),
    [
        ("POST", "/v1/mappings", {**WEB, "prots": "1"}, "unknown field 'prots'"),
        ("POST", "/v1/mappings", {**WEB, "from_": "lan"}, "unknown field 'from_'"),
        ("POST", "/v1/mappings", {**WEB, "paused": True}, "unknown field 'paused'"),
        ("PATCH", "/v1/mappings/web", {"for_": "2h"}, "unknown field 'for_'"),
        ("POST", "/v1/mappings/web/extend", {"ports": "1"}, "unknown field 'ports'"),
        ("POST", "/v1/undo", {"revision": 1, "until": "18:00"}, "unknown field 'until'"),
        ("POST", "/v1/apply", {"path": "/x"}, "unknown field 'path'"),
        ("POST", "/v1/mappings", {**WEB, "to": 5}, "'to': Input should be a valid string"),
        ("POST", "/v1/mappings", {**WEB, "max_connections": True}, "'max_connections': "),
        ("POST", "/v1/mappings", {**WEB, "plan": "perhaps"}, "'plan': Input should be a valid boolean"),
        ("POST", "/v1/mappings", {**WEB, "why": "x" * 5000}, "'why': String should have at most 4096"),
        ("POST", "/v1/mappings", b'{"ports": "\\ud800"}', "'ports': "),
        ("POST", "/v1/undo", {"revision": 0}, "'revision': "),
        ("POST", "/v1/undo", {"revision": 10**30}, "'revision': "),
        ("POST", "/v1/mappings", b"{", "the body is not JSON"),
        ("POST", "/v1/mappings", b"[1]", "the body is not a JSON object"),
        ("POST", "/v1/mappings", b"\xff\xfe", "the body is not JSON"),
        ("POST", "/v1/mappings", b"", "its body is missing"),
        ("GET", "/v1/history?limit=0", None, "'limit': "),
        ("GET", "/v1/history?limt=1", None, "unknown field 'limt'"),
        ("DELETE", "/v1/mappings/web?pln=true", None, "unknown field 'pln'"),
        ("POST", "/v1/mappings?plan=true", WEB, "unknown query field 'plan'"),
        ("POST", "/v1/undo?plan=true", {}, "unknown query field 'plan'"),
        ("GET", "/v1/mappings?x=1", None, "unknown query field 'x'"),
    ],
)
async def test_a_slip_is_refused_before_the_gate(
    served: Served, method: str, path: str, body: Any, why: str
) -> None:
    status, headers, answer = await served.send(method, path, body)

    assert status == 422
    answer = _body(status, headers, answer)
    assert answer["code"] == "bad-request"
    assert why in answer["facts"]["why"]["en"]
    assert answer["facts"]["why"]["ja"] != answer["facts"]["why"]["en"]
    assert served.world.contexts == []


async def test_a_body_that_is_not_called_json_is_refused(served: Served) -> None:
    status, headers, body = await served.send(
        "POST", "/v1/undo", b'{"revision": null}', content_type="text/plain"
    )
    assert _body(status, headers, body)["code"] == "bad-request"
    assert served.world.contexts == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({**WEB, "ports": "0"}, "bad-ports"),
        ({**WEB, "ports": "80-90:1-5"}, "range-mismatch"),
        ({**WEB, "ports": "nosuchthing"}, "no-such-preset"),
        ({**WEB, "to": "no host"}, "bad-target"),
        ({**WEB, "from": "nowhere!"}, "bad-source"),
        ({**WEB, "from": "office"}, "no-such-list"),
        ({**WEB, "for": "soon"}, "bad-duration"),
        ({**WEB, "for": "1h", "until": "18:00"}, "exclusive"),
        ({**WEB, "name": "_"}, "bad-name"),
        ({"to": "192.168.1.5"}, "missing"),
        ({**WEB, "ports": "22", "from": "anyone"}, "risk-not-accepted"),
    ],
)
async def test_bad_words_are_named_and_change_nothing(
    served: Served, fields: dict[str, object], code: str
) -> None:
    with pytest.raises(Problem) as caught:
        await served.call(served.client.open, fields)
    assert caught.value.code == code
    assert await served.call(served.client.history) == []


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/nothing", "/v1/mappings/", "/v1/presets/a/b", "/docs", "/redoc"]
)
async def test_no_such_route(served: Served, path: str) -> None:
    status, headers, body = await served.send("GET", path)
    assert status == 404
    _body(status, headers, body)


async def test_no_such_method(served: Served) -> None:
    status, headers, body = await served.send("PUT", "/v1/mappings", WEB)
    assert (status, headers["allow"]) == (405, "get, post")
    assert "does not take PUT" in _body(status, headers, body)["title"]


async def test_no_such_mapping_says_what_is_near(served: Served) -> None:
    await served.call(served.client.open, WEB)
    for method, path in [("GET", ""), ("GET", "/who"), ("PATCH", ""), ("POST", "/extend"), ("DELETE", "")]:
        body: Any = {} if method in ("PATCH", "POST") else None
        status, headers, answer = await served.send(method, f"/v1/mappings/wep{path}", body)
        assert (status, _body(status, headers, answer)["code"]) == (404, "no-such-mapping")


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_too_large_is_refused_and_the_next_call_is_well(served: Served, declared: bool) -> None:
    body = b'{"text": "' + b"x" * LARGEST_BODY + b'"}'
    head = b"POST /v1/apply HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    if declared:
        request = head + b"content-length: %d\r\n\r\n" % len(body) + body
    else:
        request = head + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    status, headers, answer = await served.raw(request)

    assert status == 413
    assert headers["connection"] == "close"
    assert b'"code": "bad-request"' in answer
    assert served.world.synced == []
    assert (await served.call(served.client.status))["version"] == "1.2.3"


async def test_the_client_tells_that_its_body_is_too_large(served: Served) -> None:
    with pytest.raises(Problem) as caught:
        await served.call(served.client.apply, None, "x" * (LARGEST_BODY + 1))
    assert caught.value.code == "bad-request"
    assert f"larger than {LARGEST_BODY} bytes" in str(caught.value)


async def test_a_body_just_below_the_bound_is_read(served: Served) -> None:
    await served.call(served.client.apply, None, "x" * (LARGEST_BODY - 200))
    assert len(served.world.synced[0][1] or "") == LARGEST_BODY - 200


async def test_the_unforeseen_is_logged_and_not_told(served: Served) -> None:
    served.world.raises = RuntimeError("the secret is 1234")
    with structlog.testing.capture_logs() as logs:
        status, headers, body = await served.send("POST", "/v1/mappings", WEB)

    body = _body(status, headers, body)
    assert (status, body["code"]) == (500, "unexpected")
    assert "1234" not in str(body)
    (entry,) = [log for log in logs if log["event"] == "api.unexpected"]
    assert (entry["log_level"], entry["path"], entry["exc_info"]) == ("error", "/v1/mappings", True)
    served.world.raises = None
    assert (await served.send("POST", "/v1/mappings", WEB))[0] == 200


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("ja", "ja"),
        ("ja-JP,ja;q=0.9,en;q=0.8", "ja"),
        ("en-GB,en;q=0.9,ja;q=0.8", "en"),
        ("fr, ja;q=0.5", "ja"),
        ("fr, de", "en"),
        ("ja;q=0, en", "en"),
        ("ja;q=0.2, en;q=0.7", "en"),
        ("JA", "ja"),
        ("ja;q=much", "en"),
        ("*", "en"),
    ],
)
def test_the_preferred_of_two_languages(header: str, language: str) -> None:
    assert language_of({"accept-language": header}) == language
