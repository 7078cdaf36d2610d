"""Decisions about doors: where devices may ask, and by which rules."""

from __future__ import annotations

from collections.abc import Iterator

from sekimori.model.address import IPAddress, IpProtocol, PortPair, PortRange
from sekimori.model.addresskind import kind_of
from sekimori.model.causes import cause
from sekimori.model.claim import Claim
from sekimori.model.decision import Made, Notice, Verb
from sekimori.model.door import DisableDoor, Door, DoorName, EnableDoor, ListenAt
from sekimori.model.errors import Problem
from sekimori.model.mapping import MappingKind, OwnerKind
from sekimori.model.network import Network
from sekimori.model.permission import Permissions, SetPermissions
from sekimori.model.user import Grant
from sekimori.policy.case import Case, in_place_of, refuse_foreign, refuse_own_only
from sekimori.policy.users import check_grant, strangers_rejudged

__all__ = [
    "decide_disable_door",
    "decide_enable_door",
    "decide_set_permissions",
    "is_met_from_outside",
    "why_not_on",
]


def why_not_on(interface: str, door: DoorName, network: Network) -> Problem | None:
    """Why a door cannot answer on an interface, as far as the network says: it leads out, or to no LAN."""
    lans = sorted(lan.interface for lan in network.lans)
    told = ", ".join(lans) or cause("no-lan-found")
    if interface in network.outside:
        return Problem("door-on-wan", door=str(door), interface=interface, lans=told)
    if interface not in lans:
        return Problem("door-no-lan", door=str(door), interface=interface, lans=told)
    return None


def decide_enable_door(ask: EnableDoor, case: Case, notices: list[Notice]) -> Iterator[Made]:
    """Let devices ask at a door, or clients at that of SSH; ports of the door's keys follow another grant.

    Raises:
        Problem: `not-permitted`, `managed-by-file`, `door-on-wan`, `missing`, `bad-listen`, `bad-value`,
            `port-taken` or `no-such-list`.
    """
    wanted = ask.door
    refuse_own_only(cause("do-door", name=wanted.name), case)
    before = case.draft.doors.get(wanted.door)
    if before is not None:
        refuse_foreign(before, "do-edit", case)
    told: list[Notice] = []
    if wanted.door is DoorName.SSH:
        _check_ssh(wanted, case, told)
    else:
        _check_interfaces(wanted, case, told)
    after = in_place_of(before, wanted, case)
    if after == before:
        return
    if before is None or (before.listen, before.interfaces) != (after.listen, after.interfaces):
        notices += told  # they are about where it answers
    yield Made(Verb.DOOR, before, after)
    if before is not None and before.grant != after.grant:
        yield from strangers_rejudged(before.grant or Grant(), after.grant or Grant(), case)


def _check_interfaces(wanted: Door, case: Case, notices: list[Notice]) -> None:
    if not wanted.interfaces:
        example = f"sekimori door enable {wanted.door} --on lan0"
        raise Problem("missing", key="--on", example=example)
    network = case.rules.machine.network()
    for name in wanted.interfaces:
        problem = why_not_on(name, wanted.door, network)
        if problem is not None and problem.code == "door-on-wan":
            raise problem
        if problem is not None:  # a LAN may come: a bridge that is made later, an adapter that is plugged in
            notices.append(_absent(problem))


def _check_ssh(wanted: Door, case: Case, notices: list[Notice]) -> None:
    if not wanted.listen:
        raise Problem("missing", key="--on", example="sekimori door enable ssh --on 192.168.1.1:2222")
    places = [ListenAt.parse(text) for text in wanted.listen]
    for place in places:
        _refuse_taken(place, case)
    file = wanted.authorized_keys
    if file and (not file.startswith("/") or "\0" in file):
        why = cause("path-not-absolute", path=file)
        raise Problem("bad-value", key="authorized_keys", text=file, why=why)
    if wanted.grant is not None:
        check_grant(wanted.grant, case)
    network = case.rules.machine.network()
    outside = [place for place in places if is_met_from_outside(place.address, network)]
    if outside:
        notices.append(_outside_notice(outside))
    absent = [place for place in places if _is_elsewhere(place.address, network)]
    if absent:
        notices.append(_elsewhere_notice(absent))


def _refuse_taken(place: ListenAt, case: Case) -> None:
    """Refuse a port that a mapping has. One that only lets packets in to it is welcome."""
    ports = PortRange(place.port, place.port)
    ours = Claim(PortPair(IpProtocol.TCP, ports, ports), place.address)
    for other in case.draft.claiming(IpProtocol.TCP, place.port):
        theirs = next((each for each in other.claims if ours.overlaps(each)), None)
        if theirs is not None and other.kind is not MappingKind.PERMIT:
            name, owner = other.name, other.owner.label
            raise Problem("port-taken", claim=str(ours), name=name, owner=owner, theirs=str(theirs))


def is_met_from_outside(address: IPAddress | None, network: Network) -> bool:
    """Whether who comes from the internet may meet a door at an address; None is every address."""
    if address is None or address.is_unspecified:
        return True
    return network.is_wan_address(address) or kind_of(address).is_public


def _is_elsewhere(address: IPAddress | None, network: Network) -> bool:
    """Whether an address is known not to be this machine's; it may become that: a VPN's, a second line's."""
    return (
        address is not None and bool(network.own) and not (address.is_unspecified or network.is_own(address))
    )


def _elsewhere_notice(places: list[ListenAt]) -> Notice:
    where = ", ".join(map(str, places))
    return Notice(
        "ssh-door-elsewhere",
        f"{where} is no address of this machine now. The SSH door answers there once it is.",
        f"{where} は今このマシンのアドレスではありません。そうなるまで SSH の窓口は応答しません。",
    )


def _outside_notice(places: list[ListenAt]) -> Notice:
    where = ", ".join(map(str, places))
    return Notice(
        "ssh-door-outside",
        f"On {where} the SSH door may be reached from the internet. It takes no passwords: whoever has a key "
        "of one of its users comes in, and nobody else.",
        f"SSH の窓口（{where}）にはインターネットからも接続できることがあります。パスワードは使えず、"
        "入れるのは登録したユーザーの鍵を持つ人だけです。",
    )


def decide_disable_door(ask: DisableDoor, case: Case) -> Made | None:
    """Shut a door; None where it is shut.

    Raises:
        Problem: `not-permitted` or `managed-by-file`.
    """
    before = case.draft.doors.get(ask.door)
    refuse_own_only(cause("do-door", name=f"door {ask.door}"), case)
    if before is None:
        return None
    refuse_foreign(before, "do-edit", case)
    return Made(Verb.DOOR, before, None)


def decide_set_permissions(ask: SetPermissions, case: Case) -> Made | None:
    """Put other rules in the place of those that stand. Leases that were granted stand until their end.

    Raises:
        Problem: `not-permitted` or `managed-by-file`.
    """
    refuse_own_only(cause("do-permissions"), case)
    before = case.draft.permissions
    if before is not None:
        refuse_foreign(before, "do-edit", case)
    if ask.rules is None:
        return None if before is None else Made(Verb.PERMIT, before, None)
    actor = case.context.actor
    owner = actor if before is None or actor.kind is OwnerKind.FILE else before.owner
    created_at = int(case.now) if before is None else before.created_at
    after = Permissions(owner=owner, rules=ask.rules, created_at=created_at)
    return None if after == before else Made(Verb.PERMIT, before, after)


def _absent(problem: Problem) -> Notice:
    en, ja = f"{problem.title()}. {problem.fix()}", f"{problem.title('ja')}。{problem.fix('ja')}"
    return Notice("no-such-lan", en, ja)
