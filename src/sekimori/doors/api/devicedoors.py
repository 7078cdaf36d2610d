"""Routes of the doors at which others ask: which are open and where, and what was leased by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from sekimori.doors.api.answers import Instant, OutcomeBody, ProblemBody
from sekimori.doors.api.call import AdminCall, Call, ViewerCall, json_response
from sekimori.doors.api.gateway import PlanQuery
from sekimori.doors.api.permissions import PermissionsView, render_permissions
from sekimori.doors.api.render import Json
from sekimori.doors.api.shapes import Asked, Text, Written
from sekimori.doors.api.users import (
    GrantTerms,
    GrantView,
    SessionView,
    read_grant,
    render_grant,
    render_session,
)
from sekimori.gate.refusals import Refusal
from sekimori.model.address import Interface, parse_on
from sekimori.model.causes import cause
from sekimori.model.door import DisableDoor, Door, DoorName, EnableDoor, ListenAt
from sekimori.model.errors import Problem
from sekimori.model.lease import Adopt, LeaseProtocol, NonceRule
from sekimori.model.lifetime import format_instant
from sekimori.model.mapping import OwnerKind
from sekimori.model.request import UNSAID
from sekimori.model.snapshot import Snapshot
from sekimori.model.user import Grant
from sekimori.model.words import read_lifetime
from sekimori.policy.doors import is_met_from_outside

__all__ = ["DoorShort", "render_doors_short", "router"]

router = APIRouter(prefix="/v1", tags=["doors for devices"])

_SERVED_BY: Final = {
    LeaseProtocol.IGD: DoorName.IGD,
    LeaseProtocol.PCP: DoorName.PORTMAP,
    LeaseProtocol.NATPMP: DoorName.PORTMAP,
    LeaseProtocol.SSH: DoorName.SSH,
}
_WORDS: Final = {
    "interfaces": (DoorName.IGD, DoorName.PORTMAP),
    "version": (DoorName.IGD,),
    "nonce": (DoorName.PORTMAP,),
    "listen": (DoorName.SSH,),
    "authorized_keys": (DoorName.SSH,),
    "grant": (DoorName.SSH,),
}
"""The words of a door's terms, and the doors that have them."""

DoorWord = Literal["igd", "portmap", "ssh"]

Which = Annotated[
    DoorWord, Path(description="igd is UPnP; portmap is NAT-PMP and PCP; ssh forwards.", examples=["igd"])
]
Ref = Annotated[
    str, Path(description="A name, an id, or the outside port it alone holds.", examples=["tcp-8080"])
]


class DoorTerms(Asked):
    """How a door is to answer. null is as it stands; of a new one, the default."""

    interfaces: list[Text] | None = Field(
        None, description="Interfaces of LANs; needed for a door that is shut.", examples=[["lan0"]]
    )
    version: Literal[1, 2] | None = Field(None, description="Which IGD the door igd says it is. New: 1.")
    nonce: Literal["same-source", "strict"] | None = Field(
        None,
        description="What portmap does with PCP requests whose nonce is another than the lease's. "
        "New: same-source, which lets the device that has the lease change it.",
    )
    listen: list[Text] | None = Field(
        None,
        description="Where ssh answers; needed for a door that is shut.",
        examples=[["192.168.1.1:2222", "*:2222"]],
    )
    authorized_keys: Text | None = Field(
        None, description="A file of keys that ssh lets in beside those of users; an empty text is none."
    )
    grant: GrantTerms | None = Field(
        None, description="What the keys of that file may do, unless their options say less."
    )


class DoorBody(Written, DoorTerms):
    """How one door is to answer."""


class DoorsBody(Written):
    """Several doors at once, in one revision."""

    model_config = ConfigDict(extra="forbid")

    doors: dict[DoorWord, DoorTerms | None] = Field(
        description="By name, how it is to answer; null shuts it. What is not named stays as it is.",
        examples=[{"igd": {"interfaces": ["lan0"]}, "portmap": None}],
    )


class AdoptBody(Written):
    """How long the mapping is to stand, from now; the usual time unless said."""

    for_: Text | None = Field(None, alias="for", description="A duration.", examples=["30d"])
    until: Text | None = Field(None, examples=["2026-12-01 18:00"])
    permanent: Text | None = Field(None, examples=["the console of the living room"])

    def words(self) -> dict[str, object]:
        """The words of its lifetime that were said."""
        return self.model_dump(by_alias=True, exclude_none=True, include={"for_", "until", "permanent"})


class PlaceView(BaseModel):
    """An interface, or of ssh an address and port, on which a door is to answer."""

    interface: str
    problem: ProblemBody | None = Field(description="Why it does not answer there now.")


class KeyFileView(BaseModel):
    """What is wrong with the file of keys, or with a line of it."""

    place: str = Field(description="The file, and after a colon the line.", examples=["/etc/tunnel_keys:3"])
    problem: ProblemBody


class DoorView(BaseModel):
    """A door, open or shut."""

    name: DoorWord
    enabled: bool
    interfaces: list[PlaceView]
    version: int | None = Field(description="Which IGD it says it is; null of other doors.")
    nonce: str | None = Field(description="What it does with another nonce; null of other doors.")
    owner: str | None = Field(examples=["person:alice"])
    managed_by: str | None = Field(description="The config file that owns it.")
    created_at: Instant | None
    leases: int = Field(description="How many mappings stand that were asked for by its protocols.")
    authorized_keys: str | None = Field(description="A file of keys; null of other doors than ssh.")
    grant: GrantView | None = Field(description="What the keys of that file may do; null of other doors.")
    keys_refused: list[KeyFileView] = Field(description="What of that file lets nobody in, and why.")
    host_keys: list[str] = Field(description="Fingerprints of ssh's own keys, each after its algorithm.")
    sessions: list[SessionView] = Field(description="Who is connected to ssh now.")


class DoorShort(BaseModel):
    """A door that is open, in the daemon's status."""

    name: DoorWord
    interfaces: list[PlaceView]
    outside: bool = Field(description="Whether it may be reached from the internet; of ssh alone.")
    leases: int
    users: list[str] = Field(description="Whose keys may come in by ssh now.")
    authorized_keys: str | None
    keys_refused: int = Field(description="Faults of that file of keys.")
    sessions: list[SessionView]


class RefusalView(BaseModel):
    """What a device asked for in vain."""

    at: Instant
    device: str = Field(description="Its MAC address.", examples=["aa:bb:cc:dd:ee:ff"])
    address: str = Field(description="From which it asked.", examples=["192.168.1.5"])
    door: Literal["igd", "portmap"]
    ports: str = Field(description="Outside and inside, as it asked.", examples=["udp/3074"])
    to: str = Field(description="The host they were to lead to.", examples=["192.168.1.5"])
    description: str = Field(description="The device's own words.")
    times: int = Field(description="How often it asked for the same.")
    problem: ProblemBody


class DoorsView(BaseModel):
    """The doors, and the rules that every request of a device has to pass."""

    doors: list[DoorView]
    permissions: PermissionsView
    refusals: list[RefusalView] = Field(
        description="The newest first: the last 8 of each device, 256 altogether, since the daemon started."
    )


@router.get("/doors", response_model=DoorsView, summary="The doors, and the rules for devices")
async def list_doors(call: ViewerCall) -> Response:
    """Which doors are open, where, and what keeps them from answering."""
    snapshot, problems = call.views.snapshot(), call.views.door_problems()
    leases = _count_leases(snapshot)
    shown = [
        _render_door(name, snapshot.doors.get(name), problems.get(name, {}), call.language)
        | {"leases": leases[name]}
        | _render_ssh(snapshot.doors.get(name), name, problems.get(name, {}), call)
        for name in DoorName
    ]
    refusals = [_render_refusal(each, call.language) for each in call.views.refusals()]
    permissions = render_permissions(snapshot.permissions)
    return json_response({"doors": shown, "permissions": permissions, "refusals": refusals})


@router.patch("/doors", response_model=OutcomeBody, summary="Open and shut several doors at once")
async def change_doors(body: DoorsBody, call: AdminCall) -> Response:
    """All of it in one revision, or nothing."""
    asks = [
        DisableDoor(DoorName(name)) if terms is None else EnableDoor(_read_door(DoorName(name), terms, call))
        for name, terms in body.doors.items()
    ]
    return await call.enact(asks, body.plan, body.why)


@router.put("/doors/{name}", response_model=OutcomeBody, summary="Open a door, or change how it answers")
async def enable_door(name: Which, body: DoorBody, call: AdminCall) -> Response:
    """Let devices ask there, by the permission rules."""
    ask = EnableDoor(_read_door(DoorName(name), body, call))
    return await call.enact([ask], body.plan, body.why)


@router.delete("/doors/{name}", response_model=OutcomeBody, summary="Shut a door")
async def disable_door(name: Which, query: Annotated[PlanQuery, Query()], call: AdminCall) -> Response:
    """Let devices ask no more. What they leased stands until its end."""
    return await call.enact([DisableDoor(DoorName(name))], query.plan, query.why)


@router.post("/mappings/{ref:path}/adopt", response_model=OutcomeBody, summary="Make a lease your own")
async def adopt_mapping(ref: Ref, body: AdoptBody, call: AdminCall) -> Response:
    """Keep what a device opened: it can no longer change or end it."""
    lifetime = read_lifetime(body.words(), call.views.reading())
    ask = Adopt(ref, None if lifetime is UNSAID else lifetime)
    return await call.enact([ask], body.plan, body.why)


def render_doors_short(call: Call) -> list[Json]:
    """Every door that is open, as `DoorShort`."""
    snapshot, problems = call.views.snapshot(), call.views.door_problems()
    leases, now = _count_leases(snapshot), call.views.reading().now
    standing = (each for each in snapshot.users.values() if each.expires_at is None or each.expires_at > now)
    users = sorted(each.name for each in standing)
    shown = []
    for name, door in sorted(snapshot.doors.items()):
        wrong, is_ssh = problems.get(name, {}), name is DoorName.SSH
        ssh = _render_ssh(door, name, wrong, call)
        places = [ListenAt.parse(text).address for text in door.listen]
        network = call.views.machine.network()
        shown.append(
            {
                "name": str(name),
                "interfaces": _render_door(name, door, wrong, call.language)["interfaces"],
                "outside": any(is_met_from_outside(address, network) for address in places),
                "leases": leases[name],
                "users": users if is_ssh else [],
                "authorized_keys": ssh["authorized_keys"],
                "keys_refused": len(ssh["keys_refused"]),
                "sessions": ssh["sessions"],
            }
        )
    return shown


def _read_door(name: DoorName, terms: DoorTerms, call: Call) -> Door:
    """The door that is wanted, with what was not said as it stands.

    Raises:
        Problem: `bad-value`.
    """
    said = terms.model_fields_set & set(_WORDS)
    for key in sorted(said):
        if getattr(terms, key) is not None and name not in _WORDS[key]:
            only = ", ".join(_WORDS[key])
            raise Problem("bad-value", key=key, text=_text(terms, key), why=cause("only-of-door", door=only))
    stands = call.views.snapshot().doors.get(name)
    usual = stands or Door(door=name, owner=call.visitor.owner, interfaces=())
    said_on, listen = terms.interfaces, terms.listen
    return Door(
        door=name,
        owner=usual.owner,
        interfaces=usual.interfaces if said_on is None else tuple(dict.fromkeys(map(_interface, said_on))),
        version=usual.version if terms.version is None else terms.version,
        nonce=usual.nonce if terms.nonce is None else NonceRule(terms.nonce),
        listen=usual.listen if listen is None else tuple(dict.fromkeys(map(_place, listen))),
        authorized_keys=usual.authorized_keys if terms.authorized_keys is None else terms.authorized_keys,
        grant=usual.grant if terms.grant is None else read_grant(terms.grant, usual.grant or Grant()),
    )


def _text(terms: DoorTerms, key: str) -> str:
    value = getattr(terms, key)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _place(text: str) -> str:
    return str(ListenAt.parse(text))


def _interface(text: str) -> str:
    name = text.strip()
    try:
        known = isinstance(parse_on(name), Interface)
    except Problem:
        known = False
    if not known:
        raise Problem("bad-value", key="interfaces", text=text, why=cause("not-an-interface", text=text))
    return name


def _count_leases(snapshot: Snapshot) -> Counter[DoorName]:
    return Counter(
        _SERVED_BY[mapping.lease.protocol]
        for owner in snapshot.leaseholders()
        for mapping in snapshot.leases_of(owner)
        if mapping.lease is not None
    )


def _render_refusal(refusal: Refusal, language: str) -> Json:
    ask = refusal.ask
    return {
        "at": format_instant(refusal.at),
        "device": refusal.device.id,
        "address": str(ask.asker.address),
        "door": refusal.door,
        "ports": ask.wish,
        "to": str(ask.inside),
        "description": ask.terms.description,
        "times": refusal.times,
        "problem": refusal.problem.body(language),
    }


def _render_door(
    name: DoorName, door: Door | None, problems: Mapping[str, Problem], language: str
) -> dict[str, Any]:
    shut: Json = {"name": str(name), "enabled": False, "interfaces": []}
    if door is None:
        return shut | dict.fromkeys(("version", "nonce", "owner", "managed_by", "created_at"))
    where = door.listen if name is DoorName.SSH else door.interfaces
    places = [(place, problems.get(place)) for place in where]
    return {
        "name": str(name),
        "enabled": True,
        "interfaces": [
            {"interface": interface, "problem": None if problem is None else problem.body(language)}
            for interface, problem in places
        ],
        "version": door.version if name is DoorName.IGD else None,
        "nonce": str(door.nonce) if name is DoorName.PORTMAP else None,
        "owner": str(door.owner),
        "managed_by": door.owner.id if door.owner.kind is OwnerKind.FILE else None,
        "created_at": format_instant(door.created_at),
    }


def _render_ssh(door: Door | None, name: DoorName, problems: Mapping[str, Problem], call: Call) -> Json:
    """What only the SSH door has."""
    if door is None or name is not DoorName.SSH:
        none = dict.fromkeys(("authorized_keys", "grant"))
        return none | {"keys_refused": [], "host_keys": [], "sessions": []}
    facts = call.views.ssh_door()
    return {
        "authorized_keys": door.authorized_keys,
        "grant": None if door.grant is None else render_grant(door.grant),
        "keys_refused": [
            {"place": place, "problem": problem.body(call.language)}
            for place, problem in problems.items()
            if place not in door.listen
        ],
        "host_keys": list(facts.host_keys),
        "sessions": [render_session(each, call) for each in facts.sessions],
    }
