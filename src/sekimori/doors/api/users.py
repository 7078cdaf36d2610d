"""Routes of the SSH door's users: their keys, what those may do, and who is connected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, StrictInt
from starlette.responses import Response

from sekimori.doors.api.answers import Instant, OutcomeBody, ProblemBody
from sekimori.doors.api.call import AdminCall, Call, ViewerCall, json_response
from sekimori.doors.api.gateway import PlanQuery
from sekimori.doors.api.render import Json
from sekimori.doors.api.shapes import Asked, Text, Written
from sekimori.model.causes import near
from sekimori.model.errors import Problem
from sekimori.model.grantwords import parse_grant
from sekimori.model.lifetime import format_duration, format_instant
from sekimori.model.linkfacts import SshSession
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import UNSAID
from sekimori.model.user import Grant, PutUser, RemoveUser, User, check_user_name
from sekimori.model.words import read_lifetime
from sekimori.wire.authorizedkeys import parse_line

__all__ = ["GrantTerms", "GrantView", "SessionView", "read_grant", "render_grant", "render_session", "router"]

router = APIRouter(prefix="/v1/users", tags=["users of the SSH door"])

Name = Annotated[str, Path(description="The user's name.", examples=["alice"])]
Fingerprint = Annotated[
    str, Path(description="The key's fingerprint, or enough of its beginning to be the only one.")
]


class GrantTerms(Asked):
    """What somebody may do who comes by the SSH door. null is as it stands; of a new one, the least."""

    ports: Text | list[Text] | None = Field(
        None, description="Outside ports that `ssh -R` may open; `none` is none.", examples=["8000-8999,9443"]
    )
    on: Text | list[Text] | None = Field(
        None, description="Addresses of this machine to open them on; `any` is all. New: all."
    )
    most: StrictInt | Text | None = Field(None, description="How many ports at one time. New: 10.")
    from_: Text | list[Text] | None = Field(
        None, alias="from", description="Who may come in by them. New: what a bare port admits, the LAN."
    )
    for_: Text | None = Field(
        None, alias="for", description="How long a port stands until it is asked for again.", examples=["24h"]
    )
    hold: Text | None = Field(
        None, description="How long a port stays its owner's after the session is gone.", examples=["1h"]
    )
    limit: Text | None = Field(None, description="New flows of each source, of each port.")
    limit_total: Text | None = Field(None, description="New flows of all sources, of each port.")
    max_connections: StrictInt | Text | None = Field(None, description="Flows of each port at one time.")
    quota: StrictInt | Text | None = Field(
        None,
        description="Bytes, in and out, of all ports and channels together; `none` is no bound.",
        examples=["10G"],
    )
    quota_every: Text | None = Field(None, description="In how long a time.", examples=["30d"])
    to: Text | list[Text] | None = Field(
        None,
        description="Where `-L`, `-D` and `-J` may lead; `none` is nowhere.",
        examples=["db.lan:5432,10.0.0.0/8,*:443"],
    )
    sessions: StrictInt | Text | None = Field(None, description="SSH connections at one time. New: 10.")
    accept_risk: Text | list[Text] | None = Field(
        None, description="Dangers that may be opened to anyone, by name."
    )

    def words(self) -> dict[str, object]:
        """What was said, in the words of `model.grantwords`."""
        return self.model_dump(by_alias=True, exclude_none=True)


class GrantView(BaseModel):
    """What somebody may do who comes by the SSH door."""

    ports: str = Field(examples=["8000-8999"])
    on: list[str] | None
    most: int
    from_: str | None = Field(alias="from")
    for_: str = Field(alias="for")
    hold: str
    limit: str | None
    limit_total: str | None
    max_connections: int | None
    quota: int | None = Field(description="Bytes.")
    quota_every: str
    to: str
    sessions: int
    accept_risk: list[str]


class UserTerms(Written):
    """Whose keys may come in, and what they may do."""

    keys: list[Text] | None = Field(
        None, description="Lines as in authorized_keys, options included.", examples=[["ssh-ed25519 AAAA…"]]
    )
    grant: GrantTerms | None = Field(None, description="null is as it stands; of a new user, the least.")
    until: Text | None = Field(
        None,
        description="From when on nobody comes in by these keys; `none` is never.",
        examples=["2026-12-01"],
    )


class NewUser(UserTerms):
    """Somebody new."""

    name: Text = Field(examples=["alice"])


class KeyBody(Written):
    """One more key."""

    key: Text = Field(
        description="A line as in authorized_keys.", examples=["ssh-ed25519 AAAA… alice@laptop"]
    )


class KeyView(BaseModel):
    """A public key that may come in."""

    fingerprint: str = Field(
        description="Empty where there is a problem.",
        examples=["SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"],
    )
    algorithm: str = Field(examples=["ssh-ed25519"])
    options: str = Field(description="As they were written; each narrows the grant.")
    comment: str = Field(description="Where there is a problem, the whole line.")
    problem: ProblemBody | None = Field(
        description="Why nobody comes in by it: an earlier version could read the line, and this one cannot."
    )


class SessionView(BaseModel):
    """Somebody who is connected to the SSH door."""

    user: str
    fingerprint: str = Field(description="Of the key that was used.")
    source: str = Field(examples=["198.51.100.7:50022"])
    since: Instant
    client: str = Field(description="The client's own words for what it is: a stranger's text.")
    mappings: list[str] = Field(description="Names of the ports that it holds open.")
    channels: int = Field(description="Connections to destinations (-L, -D, -J) now.")
    bytes_in: int = Field(description="Of those, from the client.")
    bytes_out: int


class UserView(BaseModel):
    """A user of the SSH door. What it opens is owned by `key:NAME`."""

    name: str
    owner: str = Field(examples=["person:alice"])
    managed_by: str | None = Field(description="The config file that owns it.")
    created_at: Instant
    expires_at: Instant | None
    keys: list[KeyView]
    grant: GrantView
    mappings: list[str] = Field(description="Names of the ports that stand in its name.")
    sessions: list[SessionView]


class UsersBody(BaseModel):
    """Every user, by name."""

    users: list[UserView]


@router.get("", response_model=UsersBody, summary="The users of the SSH door")
async def list_users(call: ViewerCall) -> Response:
    """Whose keys may come in, what they may do, and who is connected."""
    users = sorted(call.views.snapshot().users.values(), key=lambda user: user.name)
    return json_response({"users": [_render_user(user, call) for user in users]})


@router.get("/{name}", response_model=UserView, summary="One user of the SSH door")
async def get_user(name: Name, call: ViewerCall) -> Response:
    """Their keys, what those may do, and whether they are connected."""
    return json_response(_render_user(_find(call, name), call))


@router.post("", response_model=OutcomeBody, summary="Let somebody in by the SSH door")
async def add_user(body: NewUser, call: AdminCall) -> Response:
    """Without a grant they may come in and do nothing."""
    name = check_user_name(body.name)
    async with call.desk.in_turn:
        if name in call.views.snapshot().users:
            raise Problem("user-exists", user=name)
        if not body.keys:
            example = f"sekimori user add {name} id_ed25519.pub --ports 8000-8999"
            raise Problem("missing", key="keys", example=example)
        usual = User(name=name, owner=call.visitor.owner, keys=(), grant=Grant())
        return await call.enact([PutUser(_changed(usual, body, call))], body.plan, body.why)


@router.patch("/{name}", response_model=OutcomeBody, summary="Change what a user may do")
async def change_user(name: Name, body: UserTerms, call: AdminCall) -> Response:
    """It holds at once, for those who are connected too."""
    async with call.desk.in_turn:
        return await call.enact([PutUser(_changed(_find(call, name), body, call))], body.plan, body.why)


@router.delete("/{name}", response_model=OutcomeBody, summary="Let a user in no more")
async def remove_user(name: Name, query: Annotated[PlanQuery, Query()], call: AdminCall) -> Response:
    """Their sessions end, and the ports that they opened close."""
    return await call.enact([RemoveUser(_find(call, name).name)], query.plan, query.why)


@router.post("/{name}/keys", response_model=OutcomeBody, summary="Let a user in by one more key")
async def add_key(name: Name, body: KeyBody, call: AdminCall) -> Response:
    """A key that the user has already gets the options of this line."""
    async with call.desk.in_turn:
        user = _find(call, name)
        new = parse_line(body.key)
        others = [line for line in user.keys if _blob(line) != new.blob]
        return await _put_keys(call, user, [*others, body.key.strip()], body.plan, body.why)


@router.delete("/{name}/keys/{fingerprint:path}", response_model=OutcomeBody, summary="Take a key away")
async def remove_key(
    name: Name, fingerprint: Fingerprint, query: Annotated[PlanQuery, Query()], call: AdminCall
) -> Response:
    """Sessions that it opened end. The last key of a user cannot be taken: remove the user instead."""
    async with call.desk.in_turn:
        user = _find(call, name)
        gone = _find_key(user, fingerprint)
        stays = [line for line in user.keys if line != gone]
        if not stays:
            raise Problem("last-key", user=user.name)
        return await _put_keys(call, user, stays, query.plan, query.why)


def read_grant(terms: GrantTerms | None, stands: Grant) -> Grant:
    """The grant that is wanted, with what was not said as it stands.

    Raises:
        Problem: a word cannot be read.
    """
    return stands if terms is None else parse_grant(terms.words(), stands)


def render_grant(grant: Grant) -> Json:
    """A grant in the words it is given in."""
    return grant.to_document() | {"hold": format_duration(grant.hold) if grant.hold else "none"}


def render_session(session: SshSession, call: Call) -> Json:
    """Who is connected. Mappings that were closed meanwhile are left out."""
    snapshot = call.views.snapshot()
    held = [mapping.name for each in session.mappings if (mapping := snapshot.get(each)) is not None]
    host = f"[{session.address}]" if ":" in session.address else session.address
    return {
        "user": session.user,
        "fingerprint": session.fingerprint,
        "source": f"{host}:{session.port}",
        "since": format_instant(session.since),
        "client": session.client,
        "mappings": held,
        "channels": session.channels,
        "bytes_in": session.bytes_in,
        "bytes_out": session.bytes_out,
    }


async def _put_keys(call: Call, user: User, lines: Sequence[str], plan: bool, why: str) -> Response:
    wanted = User(
        name=user.name,
        owner=user.owner,
        keys=tuple(lines),
        grant=user.grant,
        expires_at=user.expires_at,
    )
    return await call.enact([PutUser(wanted)], plan, why)


def _changed(stands: User, body: UserTerms, call: Call) -> User:
    """The user that is wanted, with what was not said as it stands.

    Raises:
        Problem: a key, a word of the grant, or the time cannot be read.
    """
    ends = stands.expires_at
    if body.until is not None:
        ends = _read_end(body.until, call)
    return User(
        name=stands.name,
        owner=stands.owner,
        keys=stands.keys if body.keys is None else tuple(_distinct(body.keys)),
        grant=read_grant(body.grant, stands.grant),
        expires_at=ends,
    )


def _read_end(text: str, call: Call) -> int | None:
    if text.strip().lower() == "none":
        return None
    lifetime = read_lifetime({"until": text}, call.views.reading())
    return None if lifetime is UNSAID else lifetime.expires_at


def _distinct(lines: Iterable[str]) -> list[str]:
    """The lines without blanks; of one key that stands there twice, the last.

    Raises:
        Problem: `bad-key`.
    """
    by_key = {parse_line(line).blob: line.strip() for line in lines}
    return list(by_key.values())


def _find(call: Call, name: str) -> User:
    users = call.views.snapshot().users
    user = users.get(name.strip().lower())
    if user is None:
        raise Problem("no-such-user", name=name, near=near(get_close_matches(name, users, 3)))
    return user


def _find_key(user: User, fingerprint: str) -> str:
    """The line of a key, by its fingerprint or the beginning of it; of one that cannot be read, by itself."""
    wanted = fingerprint.strip().removeprefix("SHA256:").rstrip("=")
    prints: dict[str, str] = {}
    for line in user.keys:
        try:
            prints[line] = parse_line(line).fingerprint
        except Problem:
            prints[line] = line
    found = [
        line
        for line, text in prints.items()
        if line == fingerprint.strip() or (wanted and text.startswith(f"SHA256:{wanted}"))
    ]
    if len(found) != 1:
        known = ", ".join(prints.values())
        raise Problem("no-such-key", text=fingerprint, user=user.name, known=known)
    return found[0]


def _render_user(user: User, call: Call) -> Json:
    snapshot = call.views.snapshot()
    owner = Owner(OwnerKind.KEY, user.name)
    sessions = [each for each in call.views.ssh_door().sessions if each.user == user.name]
    return {
        "name": user.name,
        "owner": str(user.owner),
        "managed_by": user.owner.id if user.owner.kind is OwnerKind.FILE else None,
        "created_at": format_instant(user.created_at),
        "expires_at": None if user.expires_at is None else format_instant(user.expires_at),
        "keys": [_render_key(line, call.language) for line in user.keys],
        "grant": render_grant(user.grant),
        "mappings": [mapping.name for mapping in snapshot.leases_of(owner)],
        "sessions": [render_session(each, call) for each in sessions],
    }


def _render_key(line: str, language: str) -> dict[str, Any]:
    try:
        key = parse_line(line)
    except Problem as problem:
        unread = {"fingerprint": "", "algorithm": "", "options": "", "comment": line}
        return {**unread, "problem": problem.body(language)}
    return {
        "fingerprint": key.fingerprint,
        "algorithm": key.algorithm,
        "options": key.written,
        "comment": key.comment,
        "problem": None,
    }


def _blob(line: str) -> bytes | None:
    """The key of a line; None of one that cannot be read."""
    try:
        return parse_line(line).blob
    except Problem:
        return None
