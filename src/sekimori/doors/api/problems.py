"""Every failing answer is RFC 9457: a `Problem` in the asker's language."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from sekimori.model.causes import Text, cause
from sekimori.model.errors import HTTP_STATUS, Problem

__all__ = ["TooLarge", "handle_problems", "language_of", "problem_response", "too_large_response"]


def language_of(headers: Mapping[str, str]) -> str:
    """`ja` or `en`: the one of the two that Accept-Language prefers (RFC 9110 §12.5.4)."""
    best, best_weight = "en", 0.0
    for part in headers.get("accept-language", "").split(","):
        tag, _, parameter = part.strip().lower().partition(";")
        language = tag.strip().partition("-")[0]
        weight = _weight(parameter)
        if language in ("en", "ja") and weight > best_weight:
            best, best_weight = language, weight
    return best


def problem_response(problem: Problem, language: str, status: int | None = None) -> Response:
    """The answer that tells a problem; `status` replaces that of its kind."""
    status = status or HTTP_STATUS[problem.kind]
    text = json.dumps({**problem.body(language), "status": status}, ensure_ascii=False)
    return Response(
        text.encode("utf-8", "replace"),  # a lone surrogate from a hostile body has no UTF-8 form
        status,
        {"content-language": language},
        "application/problem+json",
    )


def handle_problems(app: FastAPI) -> None:
    """Make an app answer every refusal as a problem."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


class TooLarge(HTTPException):
    """A body is larger than `largest` bytes.

    It is an HTTPException because FastAPI hides any other that reading a body raises.
    """

    def __init__(self, largest: int) -> None:
        super().__init__(413)
        self.largest = largest


def too_large_response(error: TooLarge, language: str) -> Response:
    """The answer to a body that is too large."""
    problem = Problem("bad-request", why=cause("body-too-large", most=error.largest))
    response = problem_response(problem, language, 413)
    # Not all of the body may have been read, so the connection carries no other call.
    response.headers["connection"] = "close"
    return response


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error, language_of(request.headers))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = Problem("bad-request", why=_say_all(error.errors()))
    return problem_response(problem, language_of(request.headers))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    language = language_of(request.headers)
    if isinstance(error, TooLarge):
        return too_large_response(error, language)
    path = request.url.path
    causes = {
        400: cause("body-not-text"),  # FastAPI's word for bytes that it cannot decode
        404: cause("no-such-path", path=path),
        405: cause("no-such-method", path=path, method=request.method),
    }
    said = cause("said", text=error.detail)
    problem = Problem("bad-request", why=causes.get(error.status_code, said))
    response = problem_response(problem, language, None if error.status_code == 400 else error.status_code)
    if error.status_code == 405:  # RFC 9110 §15.5.6: all that it does take
        response.headers["allow"] = ", ".join(_methods_of(request))
    return response


def _methods_of(request: Request) -> list[str]:
    """What the routes of a path take; the router itself names those of the first one only."""
    routes: tuple[Route, ...] = request.app.state.routes
    found = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in found for method in route.methods or ()})


def _say_all(errors: Iterable[Mapping[str, Any]]) -> Text:
    """Every cause once, in their order."""
    causes = {each["en"]: each for each in map(_say, errors)}
    return reduce(lambda first, second: cause("both", first=first, second=second), causes.values())


def _say(error: Mapping[str, Any]) -> dict[str, str]:
    where = _path_of(error["loc"])
    match error["type"]:
        case "extra_forbidden":
            return cause("unknown-field", name=where)
        case "missing":
            return cause("key-missing", key=where) if where else cause("body-missing")
        case "json_invalid":
            return cause("body-not-json", text=error.get("ctx", {}).get("error", "malformed"))
        case "model_attributes_type" | "dict_type":
            return cause("body-not-object")
        case _:
            return cause("field-says", name=where, text=error["msg"])


def _path_of(location: Iterable[object]) -> str:
    # Names of union members stand among the keys; they mean nothing to the asker.
    parts = [str(part) for part in location]
    return ".".join(parts[1:2])


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
