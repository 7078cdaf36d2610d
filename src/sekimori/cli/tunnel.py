"""`tunnel`: what `ssh -N -L -R -D` does, as mappings that stand for as long as this command runs."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final

from cyclopts import Parameter

from sekimori.cli.grammar import Writing
from sekimori.cli.hosting import Hosted, answers, ending_as_interrupt, introduce, unheed_ends
from sekimori.cli.linking import put, tell_trusted
from sekimori.cli.misuse import Misuse
from sekimori.cli.session import Session
from sekimori.cli.sshwords import Forwarding, Place, read_destination, read_dynamic, read_local, read_remote
from sekimori.cli.staying import Stay
from sekimori.cli.text import clean, who_may
from sekimori.model.errors import Kind, Problem
from sekimori.model.lifetime import parse_duration

__all__ = ["tunnel"]

View = Mapping[str, Any]

_EXAMPLE: Final = "sekimori tunnel -L 5432:db:5432 alice@bastion"
_OURS: Final = "tunnel-"
"""How the names of links begin that this command makes."""
_EVERYWHERE: Final = "*,localhost,127.0.0.0/8,::1"
_LEFT_AFTER: Final = 3600
"""Seconds after which such a link that nothing goes through was left behind."""


def _flag(short: str, long: str) -> Any:
    return Parameter(name=(long, short))


def tunnel(
    host: str | None = None,
    /,
    *,
    local: Annotated[list[str] | None, _flag("-L", "--local")] = None,
    remote: Annotated[list[str] | None, _flag("-R", "--remote")] = None,
    dynamic: Annotated[list[str] | None, _flag("-D", "--dynamic")] = None,
    port: Annotated[str | None, _flag("-p", "--port")] = None,
    identity: Annotated[list[str] | None, _flag("-i", "--identity")] = None,
    jump: Annotated[list[str] | None, _flag("-J", "--jump")] = None,
    login: Annotated[str | None, _flag("-l", "--login")] = None,
    ssh_config: Annotated[str | None, _flag("-F", "--ssh-config")] = None,
    no_command: Annotated[bool, _flag("-N", "--no-command")] = False,
    background: Annotated[bool, _flag("-f", "--background")] = False,
    host_key: list[str] | None = None,
    from_: list[str] | None = None,
    for_: str | None = None,
    accept_risk: list[str] | None = None,
    why: str = "",
    session: Session,
) -> int:
    """Forward ports through an SSH server or a link, in the spelling of ssh(1); Ctrl-C ends it."""
    if background:
        raise Misuse("no-background", fix="hint.no-background", verb="tunnel", text="-f")
    if not host:
        raise Problem("missing", key="HOST", example=_EXAMPLE)
    wanted = [
        *(read_local(text) for text in local or ()),
        *(read_remote(text) for text in remote or ()),
        *(read_dynamic(text) for text in dynamic or ()),
    ]
    if not wanted:
        raise Misuse("no-forwarding", fix="hint.forwarding", verb="tunnel", text="-L")
    del no_command  # no command is ever run there: ssh's -N is what this always does
    place = read_destination(host, login or "", port or "")
    spelled = {"-L": local, "-R": remote, "-D": dynamic, "-p": port, "-i": identity, "-J": jump, "-l": login}
    spelled |= {"-F": ssh_config, "--from": from_, "--for": for_, "--accept-risk": accept_risk, "--why": why}
    own = {"jump": jump, "identity": identity, "config": ssh_config}
    terms = {"from": None if from_ is None else ",".join(from_), "accept_risk": accept_risk}
    seconds = None if for_ is None else parse_duration(for_)
    with ending_as_interrupt():
        hosted = None if answers(session) else Hosted(session)
        run = _Tunnel(hosted.session if hosted else session, place, wanted, terms, why)
        run.again = partial(_command, host, spelled)
        if hosted is None:
            return run.carry_out(None, own, host_key or [], seconds)
        with hosted:
            return run.carry_out(hosted, own, host_key or [], seconds)


class _Tunnel:
    """One run of the command."""

    def __init__(
        self,
        session: Session,
        place: Place,
        wanted: Sequence[Forwarding],
        terms: Mapping[str, Any],
        why: str,
    ) -> None:
        self._session = session
        self._place = place
        self._wanted = wanted
        self.again: Callable[[Sequence[str]], str] | None = None
        """Writes this very command with the host keys to trust."""
        self._terms = {key: value for key, value in terms.items() if value is not None}
        self._why = why

    def carry_out(
        self, hosted: Hosted | None, own: Mapping[str, Any], keys: list[str], seconds: float | None
    ) -> int:
        """Open, stay, close; a link that was made for it goes with it."""
        link, made = self._link(own, keys)
        closed: list[str] = []
        try:
            stay = Stay(self._session, hosted, seconds)
            try:
                views = self._open(stay, link)
                for view, one in zip(views, self._wanted, strict=True):
                    # The name of a link that was made for this command says nothing to who typed a host.
                    self._tell(view, one, self._place.text.removeprefix("ssh://") if made else link)
                introduce(self._session, hosted)
                stay.run()
                unheed_ends()
            finally:
                closed = stay.close()
        except KeyboardInterrupt:
            pass  # the usual end of this command
        finally:
            if made:
                self._remove(link)
        for name in closed:
            if not self._session.options.quiet:
                self._session.talk(self._session.word("host.closed", name=name))
        return 0

    def _link(self, own: Mapping[str, Any], keys: list[str]) -> tuple[str, bool]:
        """The name of the link to go through, and whether it was made for this command.

        Raises:
            Problem: the server's key is not trusted, or it cannot be asked for it.
        """
        said = {key: value for key, value in own.items() if value is not None}
        if self._place.plain and not said:
            known = {link["name"] for link in self._session.client.links()}
            if self._place.plain.lower() in known:
                return self._place.plain.lower(), False
        self._sweep()
        fields: dict[str, object] = {"to": self._place.text}
        fields |= {key: list(_each(key, value)) for key, value in said.items() if key != "config"}
        if "config" in said:
            fields["config"] = said["config"] if said["config"] == "none" else _absolute(said["config"])
        name = f"{_OURS}{secrets.token_hex(3)}"
        outcome = put(self._session, name, fields, keys, Writing(why=self._why), self.again)
        for line in tell_trusted(self._session, outcome["shown"]) if self._session.talks else ():
            self._session.talk(line)
        return name, True

    def _sweep(self) -> None:
        """Remove links of earlier runs that died without a word: their ports have lapsed since."""
        for link in self._session.client.links():
            age = (self._session.clock.now - datetime.fromisoformat(link["created_at"])).total_seconds()
            if link["name"].startswith(_OURS) and not link["mappings"] and age > _LEFT_AFTER:
                self._remove(link["name"])

    def _remove(self, link: str) -> None:
        try:
            self._session.client.remove_link(link)
        except Problem as problem:
            if problem.kind not in (Kind.NOT_FOUND, Kind.UNREACHABLE, Kind.CONFLICT):
                raise
            # Somebody was quicker, uses it by now, or the daemon is gone: the next run looks again.

    def _open(self, stay: Stay, link: str) -> list[View]:
        opened = [stay.open(self._fields(one, link), self._why)["mappings"][0] for one in self._wanted]
        return [stay.settle(view["id"]) for view in opened]

    def _fields(self, one: Forwarding, link: str) -> dict[str, object]:
        fields: dict[str, object] = {"ports": one.ports, ("at" if one.remote else "via"): link}
        fields |= {"to": _here(one.to) if one.remote else one.to} if one.to else {"socks": True}
        if not one.to and not one.wide:
            # As with ssh, who runs this may go where the far machine goes, its own services included.
            fields["reach"] = _EVERYWHERE
        if one.on:
            fields["on"] = one.on
        if one.remote and one.wide:
            # Who binds more than loopback far away means others to come in, as with ssh.
            fields["from"] = "anyone"
        return {**fields, **self._terms}

    def _tell(self, view: View, one: Forwarding, link: str) -> None:
        session = self._session
        if session.options.json:
            session.answer({"mapping": view}, str)
            return
        if session.options.quiet:
            return
        ports = view["ports"].partition(":")[0] if not view["ports"].startswith("unix:") else view["ports"]
        where = _listening(view, ports)
        far = session.word("tunnel.at", link=link, where=where) if one.remote else where
        target = view["to"] if one.to else session.word("lead.socks")
        if not one.remote:
            target = session.word("lead.via", target=target, link=link)
        sources = who_may({**view, "at": link if one.remote else None}, session.options.language)
        lines = [session.word("tunnel.done", where=far, target=target, sources=sources)]
        if problem := view["status"].get("problem"):
            lines.append(session.word("open.failed", title=str(problem.get("title", ""))))
        session.print(clean("\n".join(lines)))


def _command(host: str, spelled: Mapping[str, str | Sequence[str] | None], keys: Sequence[str]) -> str:
    """This very command, with the host keys to trust."""
    words = ["sekimori", "tunnel"]
    for flag, value in {**spelled, "--host-key": keys}.items():
        for each in [value] if isinstance(value, str) else value or ():
            words += [flag, each] if each else []
    return shlex.join([*words, host])


def _listening(view: View, ports: str) -> str:
    port = ports.partition("/")[2]
    if not view.get("on") or not port or ports.startswith("unix:"):
        return ports if not port or ports.startswith("unix:") else f"*:{port}"
    on = str(view["on"])
    return f"[{on}]:{port}" if ":" in on else f"{on}:{port}"


def _each(key: str, texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        if key == "identity":
            yield _absolute(text)
        else:
            yield from (part.strip() for part in text.split(",") if part.strip())


def _absolute(file: str) -> str:
    return os.path.abspath(os.path.expanduser(file))


def _here(target: str) -> str:
    """`localhost` as this machine's own address: it is dialled here, and names are looked up by DNS."""
    host, colon, port = target.rpartition(":")
    return f"127.0.0.1{colon}{port}" if host == "localhost" else target
