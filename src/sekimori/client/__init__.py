"""The one client of the API: synchronous, standard library only, quick to import."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

from sekimori.client.connection import Connection, Json
from sekimori.model.places import SYSTEM, places

__all__ = ["Client", "default_socket"]

_SLOW: Final = 300.0
"""Seconds that a call may take in which other firewalls are asked and changed, by programs of theirs."""
_PATIENT: Final = 120.0
"""Seconds that a call may take in which SSH servers are asked, each within its own deadline."""


def default_socket(environ: Mapping[str, str] | None = None, euid: int | None = None) -> Path:
    """The socket to ask at: the user's own, or the machine's where the user runs no daemon.

    Raises:
        Problem: `state-unusable`, when the environment does not say where the user's files are.
    """
    environ = os.environ if environ is None else environ
    own = places(environ, os.geteuid() if euid is None else euid).socket
    said = environ.get("SEKIMORI_SOCKET") or environ.get("SEKIMORI_STATE_DIR")
    return SYSTEM.socket if not said and not own.exists() and SYSTEM.socket.exists() else own


class Client(Connection):
    """Calls on the daemon behind one socket; every answer is plain JSON values.

    Every method raises `Problem`: what the daemon answered, `unreachable`, `not-permitted`
    (the socket may not be used) or `timeout`. It holds nothing open between calls and
    may be used from several threads.
    """

    # -- what is there ---------------------------------------------------------

    def status(self) -> Json:
        """What the daemon is and where its things are."""
        return self._json("GET", "/v1/status")

    def mappings(self) -> list[Json]:
        """Every mapping, with its state and counters."""
        return cast(list[Json], self._json("GET", "/v1/mappings")["mappings"])

    def get(self, ref: str) -> Json:
        """One mapping, by name, id or outside port."""
        return self._json("GET", _mapping(ref))

    def who(self, ref: str) -> Json:
        """Who uses a mapping: `mapping`, `sources`, `flows`."""
        return self._json("GET", f"{_mapping(ref)}/who")

    def history(self, limit: int = 50, before: int | None = None, subject: str | None = None) -> list[Json]:
        """Revisions, newest first; `subject` is the name or id of a mapping or list."""
        query = _query(limit=limit, before=before, subject=subject)
        return cast(list[Json], self._json("GET", f"/v1/history{query}")["revisions"])

    def presets(self, search: str | None = None) -> list[Json]:
        """The known services, or those that a word finds."""
        return cast(list[Json], self._json("GET", f"/v1/presets{_query(search=search)}")["presets"])

    def preset(self, name: str) -> Json:
        """One known service, by name or alias."""
        return self._json("GET", f"/v1/presets/{quote(name, safe='')}")

    def gateway(self) -> Json:
        """What this machine is as a gateway, and the WANs and LANs that were found."""
        return self._json("GET", "/v1/gateway")

    def line(self) -> Json:
        """What is known of the line to the internet; `wans` has the line of each WAN."""
        return self._json("GET", "/v1/line")

    def router(self) -> Json:
        """The routers above: `routers`; and the mappings that they do not open: `refused`."""
        return self._json("GET", "/v1/router")

    def bans(self) -> list[Json]:
        """Who is kept out."""
        return cast(list[Json], self._json("GET", "/v1/bans")["bans"])

    def doors(self) -> Json:
        """The doors for devices, and the rules that their requests have to pass."""
        return self._json("GET", "/v1/doors")

    def links(self) -> list[Json]:
        """The links, and how they are."""
        return cast(list[Json], self._json("GET", "/v1/links")["links"])

    def link(self, name: str) -> Json:
        """One link, by name."""
        return self._json("GET", _link(name))

    def users(self) -> list[Json]:
        """The users of the SSH door."""
        return cast(list[Json], self._json("GET", "/v1/users")["users"])

    def user(self, name: str) -> Json:
        """One user of the SSH door, by name."""
        return self._json("GET", _user(name))

    def permissions(self) -> Json:
        """The permission rules that hold, in order."""
        return self._json("GET", "/v1/permissions")

    def doctor(self, mapping: str | None = None) -> Json:
        """What keeps packets from a mapping, or from any: `findings`, worst first; `remedies` that stand."""
        return self._json("GET", f"/v1/doctor{_query(mapping=mapping)}", within=_SLOW)

    def export(self) -> str:
        """The whole state as a config file (TOML)."""
        return self._text("GET", "/v1/export")

    def openapi(self) -> Json:
        """The API's description (OpenAPI 3.1)."""
        return self._json("GET", "/openapi.json")

    # -- changes ---------------------------------------------------------------

    def open(self, fields: Mapping[str, object], plan: bool = False, why: str = "") -> Json:
        """Open a mapping of the words in `model.words.FIELDS`. Answers an outcome."""
        return self._json("POST", "/v1/mappings", {**fields, "plan": plan, "why": why})

    def edit(
        self,
        ref: str,
        fields: Mapping[str, object] | None = None,
        paused: bool | None = None,
        plan: bool = False,
        why: str = "",
    ) -> Json:
        """Change the given words of a mapping; pause or resume it. Answers an outcome."""
        body = {**(fields or {}), "paused": paused, "plan": plan, "why": why}
        return self._json("PATCH", _mapping(ref), body)

    def extend(
        self, ref: str, fields: Mapping[str, object] | None = None, plan: bool = False, why: str = ""
    ) -> Json:
        """Give a mapping more time: `add`, or `for`, `until`, `permanent`; nothing is its length again."""
        return self._json("POST", f"{_mapping(ref)}/extend", {**(fields or {}), "plan": plan, "why": why})

    def close(self, ref: str, now: bool = False, plan: bool = False, why: str = "") -> Json:
        """End a mapping; `now` ends its flows without their grace. Answers an outcome."""
        return self._json("DELETE", _mapping(ref) + _query(now=now, plan=plan, why=why))

    def undo(
        self, revision: int | None = None, for_: str | None = None, plan: bool = False, why: str = ""
    ) -> Json:
        """Undo a revision (None is the newest). `for_` is the time for what has expired since."""
        return self._json("POST", "/v1/undo", {"revision": revision, "for": for_, "plan": plan, "why": why})

    def apply(
        self, file: str | None = None, text: str | None = None, plan: bool = False, why: str = ""
    ) -> Json:
        """Synchronise a config file: `text` as the content of `file`, or what the daemon reads there.

        `file` is absolute; None is the daemon's own. Answers an outcome with `skipped`.
        """
        return self._json("POST", "/v1/apply", {"file": file, "text": text, "plan": plan, "why": why})

    def enable_gateway(
        self, masquerade: bool | None = None, firewall: bool | None = None, plan: bool = False, why: str = ""
    ) -> Json:
        """Make this machine a gateway; None leaves a term as it is. Answers an outcome with `steps`."""
        body = {"masquerade": masquerade, "firewall": firewall, "plan": plan, "why": why}
        return self._json("PUT", "/v1/gateway", body)

    def disable_gateway(self, plan: bool = False, why: str = "") -> Json:
        """Be a gateway no longer. Answers an outcome with `steps`."""
        return self._json("DELETE", f"/v1/gateway{_query(plan=plan, why=why)}")

    def ban(
        self, address: str, fields: Mapping[str, object] | None = None, plan: bool = False, why: str = ""
    ) -> Json:
        """Keep an address or prefix out: `for` a duration, `until` a time, or until the ban is lifted."""
        body = {"address": address, **(fields or {}), "plan": plan, "why": why}
        return self._json("POST", "/v1/bans", body)

    def unban(self, address: str, plan: bool = False, why: str = "") -> Json:
        """Lift a ban. Answers an outcome."""
        return self._json("DELETE", f"/v1/bans/{quote(address, safe='')}{_query(plan=plan, why=why)}")

    def change_doors(
        self, doors: Mapping[str, Mapping[str, object] | None], plan: bool = False, why: str = ""
    ) -> Json:
        """Open doors with these terms (`interfaces`, `version`, `nonce`; of ssh `listen`, `authorized_keys`,
        `grant`), and shut those that are None.
        """
        return self._json("PATCH", "/v1/doors", {"doors": dict(doors), "plan": plan, "why": why})

    def put_link(
        self, name: str, fields: Mapping[str, object] | None = None, plan: bool = False, why: str = ""
    ) -> Json:
        """Add a link, or change it: `to`, `jump`, `identity`, `config`, `host_keys`, `connections`.

        Answers an outcome with `shown`, the host keys. The problems `host-key-unknown` and
        `host-key-changed` have them in their facts, as `keys`.
        """
        return self._json("PUT", _link(name), {**(fields or {}), "plan": plan, "why": why}, _PATIENT)

    def remove_link(self, name: str, plan: bool = False, why: str = "") -> Json:
        """Remove a link. Answers an outcome."""
        return self._json("DELETE", f"{_link(name)}{_query(plan=plan, why=why)}")

    def test_link(self, name: str) -> Json:
        """Connect once by a link, and see what may be done there."""
        return self._json("POST", f"{_link(name)}/test", {}, _PATIENT)

    def add_user(
        self, name: str, fields: Mapping[str, object] | None = None, plan: bool = False, why: str = ""
    ) -> Json:
        """Let somebody in by the SSH door: `keys`, `grant`, `until`. Answers an outcome."""
        return self._json("POST", "/v1/users", {"name": name, **(fields or {}), "plan": plan, "why": why})

    def edit_user(
        self, name: str, fields: Mapping[str, object] | None = None, plan: bool = False, why: str = ""
    ) -> Json:
        """Change the given terms of a user. Answers an outcome."""
        return self._json("PATCH", _user(name), {**(fields or {}), "plan": plan, "why": why})

    def remove_user(self, name: str, plan: bool = False, why: str = "") -> Json:
        """Let a user in no more. Answers an outcome."""
        return self._json("DELETE", f"{_user(name)}{_query(plan=plan, why=why)}")

    def add_key(self, name: str, key: str, plan: bool = False, why: str = "") -> Json:
        """Let a user in by one more key, a line as in authorized_keys. Answers an outcome."""
        return self._json("POST", f"{_user(name)}/keys", {"key": key, "plan": plan, "why": why})

    def forget_key(self, name: str, fingerprint: str, plan: bool = False, why: str = "") -> Json:
        """Take a key from a user. Answers an outcome."""
        path = f"{_user(name)}/keys/{quote(fingerprint, safe='')}"
        return self._json("DELETE", f"{path}{_query(plan=plan, why=why)}")

    def set_permissions(self, rules: Sequence[str] | None, plan: bool = False, why: str = "") -> Json:
        """Put these permission rules in the place of all; None returns to the usual one."""
        body = {"rules": None if rules is None else list(rules), "plan": plan, "why": why}
        return self._json("PUT", "/v1/permissions", body)

    def add_permission(self, rule: str, at: int | None = None, plan: bool = False, why: str = "") -> Json:
        """Add a permission rule; None is last, but not where it would never decide."""
        return self._json("POST", "/v1/permissions", {"rule": rule, "at": at, "plan": plan, "why": why})

    def forget_permission(self, number: int, plan: bool = False, why: str = "") -> Json:
        """Take a permission rule away. Answers an outcome."""
        return self._json("DELETE", f"/v1/permissions/{number}{_query(plan=plan, why=why)}")

    def adopt(
        self, ref: str, fields: Mapping[str, object] | None = None, plan: bool = False, why: str = ""
    ) -> Json:
        """Make a lease the caller's own mapping: `for`, `until`, `permanent`, or the usual time."""
        return self._json("POST", f"{_mapping(ref)}/adopt", {**(fields or {}), "plan": plan, "why": why})

    def import_miniupnpd(self, file: str | None, text: str, plan: bool = False, why: str = "") -> Json:
        """Take over a miniupnpd.conf; `file` is what it is called. Answers an outcome with `skipped`."""
        body = {"text": text, "plan": plan, "why": why} | ({} if file is None else {"file": file})
        return self._json("POST", "/v1/import/miniupnpd", body)

    def kill(self, mapping: str | None = None, source: str | None = None) -> int:
        """End live flows of a mapping, from an address or prefix, or both; how many."""
        return int(self._json("POST", "/v1/kill", {"mapping": mapping, "source": source})["ended"])

    def confirm(self) -> Json:
        """Let stand what waits for you to show that you are not cut off; answers `confirmed`."""
        return self._json("POST", "/v1/confirm", {})

    def pending(self) -> Json:
        """What waits to be confirmed: `pending`, and how the latest waits ended: `settled`."""
        return self._json("GET", "/v1/pending")

    def fix(
        self,
        mapping: str | None = None,
        remedies: Sequence[str] | None = None,
        plan: bool = False,
        why: str = "",
        *,
        undo: bool = False,
    ) -> Json:
        """Carry out remedies that `doctor` told, all or those with these ids; with `undo`, take back those
        that stand. Answers what `doctor` does after, with `treated`.
        """
        body = {"mapping": mapping, "remedies": remedies, "plan": plan, "why": why}
        return self._json("POST", f"/v1/doctor/{'undo' if undo else 'fix'}", body, _SLOW)

    # -- as it happens -----------------------------------------------------------

    def events(self, counters: bool = False) -> Generator[tuple[str, Json], None, None]:
        """Events as (name, data): `hello` first, then `committed`, `status`, `pending`, `confirmed`,
        `reverted`, `counters`, `lagged`.

        With `counters`, all mappings come once a second. It ends when the daemon does.
        """
        yield from self._events(f"/v1/events{_query(counters=counters)}")


def _mapping(ref: str) -> str:
    return f"/v1/mappings/{quote(ref, safe='')}"


def _link(name: str) -> str:
    return f"/v1/links/{quote(name, safe='')}"


def _user(name: str) -> str:
    return f"/v1/users/{quote(name, safe='')}"


def _query(**words: object) -> str:
    said = {key: value for key, value in words.items() if value not in (None, "", False)}
    texts = {key: "true" if value is True else str(value) for key, value in said.items()}
    return "?" + "&".join(f"{key}={quote(text, safe='')}" for key, text in texts.items()) if said else ""
