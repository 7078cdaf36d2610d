"""From a wish to the terms of a mapping: what was said, and the safe default for the rest."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from sekimori.model.address import On, PortPair, PortSpec, Span, UnixPath
from sekimori.model.causes import cause
from sekimori.model.decision import Notice
from sekimori.model.defaults import HOLD, LONGEST_HOLD, WHOEVER_TRIGGERS, usual_lifetime
from sekimori.model.destination import ANYWHERE
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Lifetime, format_duration
from sekimori.model.limits import Limits, Rate
from sekimori.model.mapping import Mapping, MappingKind, Owner, Trigger
from sekimori.model.preset import Preset
from sekimori.model.request import UNSAID, Unsaid, Wish
from sekimori.model.snapshot import Snapshot
from sekimori.model.socks import SocksTerms
from sekimori.model.source import LAN, Sources
from sekimori.model.target import Target, TargetKind, pair_ports
from sekimori.policy.allocate import choose_name
from sekimori.policy.kinds import check_kind
from sekimori.policy.rules import Rules

__all__ = [
    "changed_mapping",
    "defaults_notice",
    "new_mapping",
    "permit_notice",
    "preset_notice",
    "socks_notice",
]

_T = TypeVar("_T")


def new_mapping(
    wish: Wish, owner: Owner, mapping_id: str, snapshot: Snapshot, rules: Rules, now: float
) -> Mapping:
    """The mapping a wish describes, defaults filled in from its preset and the rules.

    Raises:
        Problem: `missing`, or what joining its ports raises, or words that do not fit each other.
    """
    if isinstance(wish.specs, Unsaid):
        raise Problem("missing", key=cause("the-port"), example="sekimori open 8080 --to 192.168.1.5:80")
    preset = _said(wish.preset, None)
    trigger = _trigger(wish, None)
    target = _target(wish, trigger, None)
    lifetime = usual_lifetime(wish.specs, preset, rules.lifetime)
    mapping = Mapping(
        id=mapping_id,
        name="",
        owner=owner,
        ports=pair_ports(wish.specs, wish.inside, str(target)),
        target=target,
        sources=_said(wish.sources, _default_sources(preset)),
        lifetime=_said(wish.lifetime, Lifetime.lasting(lifetime, now)),
        schedule=_said(wish.schedule, None),
        on=_said(wish.on, None),
        via=_said(wish.via, "auto"),
        at=_said(wish.at, None),
        limits=_limits(wish, Limits(per_source=_preset_limit(preset))),
        proxy_protocol=_said(wish.proxy_protocol, 0),
        idle=_said(wish.idle, None),
        trigger=trigger,
        excepted=_excepted(wish, ()),
        socks=_socks(wish, target, None),
        log=_said(wish.log, False),
        accepted_risks=wish.accepted_risks,
        preset=preset.name if preset else None,
        created_at=int(now),
    )
    check_kind(mapping)
    return replace(mapping, name=_said(wish.name, "") or choose_name(mapping, snapshot))


def changed_mapping(before: Mapping, wish: Wish, paused: bool | None) -> Mapping:
    """The mapping with what was said put in place of what stood, and the rest as it was.

    Raises:
        Problem: what joining its ports raises, or words that do not fit each other.
    """
    trigger = _trigger(wish, before.trigger)
    target = _target(wish, trigger, before.target)
    preset = before.preset
    if not isinstance(wish.specs, Unsaid):
        chosen = _said(wish.preset, None)
        preset = chosen.name if chosen else None
    after = replace(
        before,
        name=_said(wish.name, before.name),
        ports=_changed_ports(before, wish, target),
        target=target,
        sources=_said(wish.sources, before.sources),
        lifetime=_said(wish.lifetime, before.lifetime),
        schedule=_said(wish.schedule, before.schedule),
        on=_changed_on(before, wish),
        via=_said(wish.via, before.via),
        at=_said(wish.at, before.at),
        limits=_limits(wish, before.limits),
        proxy_protocol=_said(wish.proxy_protocol, before.proxy_protocol),
        idle=_said(wish.idle, before.idle),
        trigger=trigger,
        excepted=_excepted(wish, before.excepted),
        socks=_socks(wish, target, before.socks),
        log=_said(wish.log, before.log),
        accepted_risks=tuple(sorted({*before.accepted_risks, *wish.accepted_risks})),
        preset=preset,
        paused=before.paused if paused is None else paused,
    )
    check_kind(after)
    return after


def defaults_notice(wish: Wish, mapping: Mapping) -> Notice | None:
    """Word that the sources were left to us, and how to let others in."""
    if not isinstance(wish.sources, Unsaid) or mapping.sources.anyone:
        return None
    if isinstance(mapping.on, UnixPath):  # there the file's mode says who may
        return None
    if isinstance(mapping.on, IPv4Address | IPv6Address) and mapping.on.is_loopback:
        return None  # nobody else can come there
    if mapping.at is not None:
        return Notice(
            "sources-defaulted",
            f"'{mapping.name}' admits the machine at the far end of '{mapping.at}' and private networks "
            "there only; for others say --from PREFIX, or --from anyone for the internet.",
            f"「{mapping.name}」に入れるのは、リンク「{mapping.at}」の先のマシン自身と、そこの LAN からだけ"
            "です。ほかを入れるには --from アドレス/プレフィックス、インターネット全体なら --from anyone を"
            "指定してください。",
        )
    return Notice(
        "sources-defaulted",
        f"'{mapping.name}' admits the local network only; for others say --from PREFIX or --from anyone.",
        f"「{mapping.name}」は LAN からだけ入れます。ほかを入れるには --from アドレス/プレフィックス か "
        "--from anyone を指定してください。",
    )


def preset_notice(wish: Wish) -> Notice | None:
    """What its preset says should be known of a service that is opened."""
    preset = _said(wish.preset, None)
    if preset is None or not preset.note:
        return None
    return Notice("preset-note", *(f"{preset.title[each]}: {preset.note[each]}" for each in ("en", "ja")))


def permit_notice(before: Mapping | None, after: Mapping, snapshot: Snapshot) -> Notice | None:
    """Word that what has become a permit closes nothing when it ends, where no firewall is there to."""
    walled = snapshot.gateway is not None and snapshot.gateway.firewall
    if walled or not _is_kernels_permit(after) or (before is not None and _is_kernels_permit(before)):
        return None
    return Notice(
        "permit-without-firewall",
        f"Without the gateway's firewall '{after.name}' only narrows who may come in while it stands; "
        "closing it lets everybody in again. 'sekimori gateway enable --firewall' closes the rest.",
        f"ゲートウェイのファイアウォールがないため、「{after.name}」は開いている間だけ接続元を絞ります。閉じると、"
        "だれでも入れる状態に戻ります。ほかを閉じるには: sekimori gateway enable --firewall",
    )


def socks_notice(before: Mapping | None, after: Mapping) -> Notice | None:
    """Word that the passwords of a SOCKS port can be read on their way, where that is beyond the LAN."""
    if not _tells_passwords(after) or (before is not None and _tells_passwords(before)):
        return None
    return Notice(
        "cleartext-passwords",
        f"SOCKS encrypts nothing: whoever is on the way to '{after.name}' reads the passwords and what goes "
        "through it. From beyond networks that you trust, come by SSH or a VPN.",
        f"SOCKS は暗号化されません。「{after.name}」までの経路では、パスワードも通信の中身も読まれます。"
        "信頼できるネットワークの外からは、SSH か VPN 経由で使ってください。",
    )


def _tells_passwords(mapping: Mapping) -> bool:
    return mapping.socks is not None and bool(mapping.socks.users) and not mapping.sources.is_lan


def _is_kernels_permit(mapping: Mapping) -> bool:
    return mapping.plane == "kernel" and mapping.kind is MappingKind.PERMIT


def _trigger(wish: Wish, before: Trigger | None) -> Trigger | None:
    """What sets the mapping off: as said, else as it stood."""
    ports = _said(wish.trigger, before.ports if before else None)
    usual = before.hold if before else HOLD
    hold = usual if isinstance(wish.hold, Unsaid) else wish.hold or HOLD
    if not ports:
        if _said(wish.hold, None) is not None:
            raise Problem("not-a-trigger", key="--hold")
        return None
    if hold > LONGEST_HOLD:
        why = cause("longer-than", most=format_duration(LONGEST_HOLD))
        raise Problem("bad-value", key="hold", text=format_duration(hold), why=why)
    return Trigger(ports, hold)


def _target(wish: Wish, trigger: Trigger | None, before: Target | None) -> Target:
    """Where it leads: as said, else as it stood; with a trigger, to whoever sets it off."""
    said = _said(wish.target, None)
    if trigger is not None:
        if said is not None and said != WHOEVER_TRIGGERS:
            raise Problem("exclusive", first="--to", second="--trigger")
        return WHOEVER_TRIGGERS
    target = before if said is None else said
    if said is not None and said.kind is TargetKind.TRIGGER:
        raise Problem("not-a-trigger", key="--to trigger")
    if target is None or target.kind is TargetKind.TRIGGER:
        raise Problem("missing", key="--to", example="--to 192.168.1.5:80")
    return target


def _socks(wish: Wish, target: Target, before: SocksTerms | None) -> SocksTerms | None:
    """Who may use a SOCKS port and where to: as said, else as it stood; of other ports nothing."""
    if target.kind is not TargetKind.SOCKS:
        for key, value in (("--socks-user", wish.socks_users), ("--reach", wish.reach)):
            if value not in (UNSAID, None, ()):
                raise Problem("not-socks", key=key, target=str(target))
        return None
    stood = before or SocksTerms()
    users = stood.users if isinstance(wish.socks_users, Unsaid) else wish.socks_users or ()
    reach = stood.reach if isinstance(wish.reach, Unsaid) else wish.reach
    return SocksTerms(users, ANYWHERE if reach is None else reach)


def _changed_on(before: Mapping, wish: Wish) -> On | None:
    if isinstance(wish.on, Unsaid) and isinstance(before.on, UnixPath) and not isinstance(wish.specs, Unsaid):
        return None  # ports take the place of its path
    return _said(wish.on, before.on)


def _excepted(wish: Wish, before: tuple[Span, ...]) -> tuple[Span, ...]:
    return before if isinstance(wish.excepted, Unsaid) else wish.excepted or ()


def _changed_ports(before: Mapping, wish: Wish, target: Target) -> tuple[PortPair, ...]:
    if isinstance(wish.specs, Unsaid):
        if wish.inside is None and (target.kind.has_ports or before.is_straight):
            return before.ports
        specs = tuple(PortSpec((pair.protocol,), pair.outside, None) for pair in before.ports)
        return pair_ports(specs, wish.inside, str(target))
    # New outside ports alone leave the service where it is, when the old inside still fits.
    insides = {pair.inside for pair in before.ports}
    kept = insides.pop() if len(insides) == 1 else None
    bare = len(wish.specs) == 1 and wish.specs[0].inside is None and _said(wish.preset, None) is None
    bare = bare and all(pair.protocol.has_ports for pair in before.ports)
    bare = bare and all(protocol.has_ports for spec in wish.specs for protocol in spec.protocols)
    if wish.inside is None and bare and kept is not None and kept.size == wish.specs[0].outside.size:
        return pair_ports(wish.specs, kept, str(target))
    return pair_ports(wish.specs, wish.inside, str(target))


def _default_sources(preset: Preset | None) -> Sources:
    return Sources.parse(preset.sources if preset else LAN)


def _preset_limit(preset: Preset | None) -> Rate | None:
    return Rate.parse(preset.limit) if preset and preset.limit else None


def _limits(wish: Wish, default: Limits) -> Limits:
    return Limits(
        per_source=_said(wish.per_source, default.per_source),
        total=_said(wish.total, default.total),
        connections=_said(wish.connections, default.connections),
    )


def _said(value: _T | Unsaid, default: _T) -> _T:
    return default if value is UNSAID or isinstance(value, Unsaid) else value
