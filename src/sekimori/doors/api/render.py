"""Values as the API shows them: plain JSON in the words of the CLI, instants in ISO 8601 UTC."""

from __future__ import annotations

import math
from collections.abc import Mapping as MappingABC
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sekimori.doors.api.waiting import render_wait
from sekimori.model.actual import Counters, Flow, HopStatus, SourceUse, State, Status
from sekimori.model.address import UnixPath
from sekimori.model.decision import Made, Notice, kind_of
from sekimori.model.events import Armed, Committed, Confirmed, Event, Reverted
from sekimori.model.lease import LeaseTerms
from sekimori.model.lifetime import Asked, format_duration, format_instant
from sekimori.model.mapping import Mapping, MappingKind, OwnerKind
from sekimori.model.preset import Preset, RiskClass
from sekimori.model.socks import SocksTerms
from sekimori.model.target import TargetKind
from sekimori.presets.load import Presets

if TYPE_CHECKING:
    from sekimori.ledger.journal import JournalRow, Revision

__all__ = [
    "Edges",
    "Json",
    "find_edges",
    "render_change",
    "render_event",
    "render_flow",
    "render_notice",
    "render_now",
    "render_preset",
    "render_revision",
    "render_source",
    "render_terms",
]

Json = dict[str, Any]

_INSTANTS = ("expires_at", "created_at")
_BOOKKEEPING = frozenset({"id", "owner", "revision", "created_at"})
"""Fields of a document that nobody asks for: they are no part of what changed."""
_NO_COUNTERS = Counters()


def render_terms(mapping: Mapping, presets: Presets) -> Json:
    """What was granted: the part of a mapping's view that only a commit changes."""
    document = mapping.to_document()
    lifetime = mapping.lifetime
    preset = presets.get(mapping.preset) if mapping.preset else None
    return {
        "id": mapping.id,
        "name": mapping.name,
        "kind": str(mapping.kind),
        "owner": document["owner"],
        "managed_by": mapping.owner.id if mapping.owner.kind is OwnerKind.FILE else None,
        "lease": None if mapping.lease is None else _render_lease(mapping.lease),
        "ports": mapping.ports_text,
        "to": mapping.target_text,
        "host": document["to"],
        "from": document["from"],
        "expires_at": _instant(lifetime.expires_at),
        "permanent": lifetime.value if lifetime.asked is Asked.PERMANENT else None,
        "asked": {"how": document["asked"], "value": lifetime.value},
        **{key: document[key] for key in ("hours", "zone", "via", "path", "limit", "limit_total")},
        "on": None if isinstance(mapping.on, UnixPath) else document["on"],
        "at": mapping.at,
        "socks_users": None if mapping.socks is None else [user.name for user in mapping.socks.users],
        "reach": None if mapping.socks is None else str(mapping.socks.reach),
        **{key: document[key] for key in ("max_connections", "proxy_protocol", "idle", "accept_risk")},
        **{key: document[key] for key in ("trigger", "hold", "except", "log")},
        "preset": mapping.preset,
        "title": dict(preset.title) if preset else None,
        "risk": str(_risk_of(mapping, preset, presets)),
        "paused": mapping.paused,
        "created_at": _instant(mapping.created_at or None),
        "revision": mapping.revision,
    }


@dataclass(frozen=True, slots=True)
class Edges:
    """When a schedule opens or closes a mapping next. It holds from `since` until `until`."""

    opens_at: str | None
    closes_at: str | None
    since: float
    until: float


def find_edges(mapping: Mapping, now: float) -> Edges:
    """The next edge of a mapping's schedule; a paused one has none."""
    if mapping.schedule is None or mapping.paused:
        return Edges(None, None, -math.inf, math.inf)
    edge = mapping.schedule.next_change(now)
    until = math.inf if edge is None else edge
    if mapping.schedule.is_open(now):
        return Edges(None, _instant(edge), now, until)
    return Edges(_instant(edge), None, now, until)


def render_now(
    mapping: Mapping,
    now: float,
    edges: Edges,
    status: Status | None,
    counters: Counters | None,
    language: str,
) -> Json:
    """What of a mapping's view changes by itself; `status` None is one that was only planned."""
    expires_at = mapping.lifetime.expires_at
    return {
        "expires_in": None if expires_at is None else max(0, math.ceil(expires_at - now)),
        "opens_at": edges.opens_at,
        "closes_at": edges.closes_at,
        "status": _render_status(status, language),
        "counters": _render_counters(counters or _NO_COUNTERS),
    }


def render_change(change: Made) -> Json:
    """One change: what it was, what it is, and the words that differ where it was and is."""
    subject = change.subject
    return _render_row(
        str(change.verb),
        kind_of(subject),
        subject.name,
        None if change.before is None else change.before.to_document(),
        None if change.after is None else change.after.to_document(),
    )


def render_revision(revision: Revision) -> Json:
    """One revision of the journal with its rows."""
    return {
        "number": revision.number,
        "at": _instant(revision.at),
        "actor": str(revision.actor),
        "door": revision.door,
        "why": revision.why,
        "rows": [_render_journal_row(row) for row in revision.rows],
    }


def render_notice(notice: Notice, language: str) -> Json:
    """A notice in a language."""
    return {"code": notice.code, "text": notice.text(language)}


def render_flow(flow: Flow) -> Json:
    """One live flow."""
    return asdict(flow)


def render_source(source: SourceUse) -> Json:
    """What one source did."""
    return {
        **asdict(source),
        "first_seen": _instant(source.first_seen),
        "last_seen": _instant(source.last_seen),
    }


def render_preset(preset: Preset) -> Json:
    """One known service, in the words a mapping is written in."""
    return {
        "name": preset.name,
        "title": dict(preset.title),
        "aliases": list(preset.aliases),
        "ports": list(preset.ports),
        "risk": str(preset.risk),
        "from": preset.sources,
        "for": format_duration(preset.lifetime),
        "limit": preset.limit,
        "danger": preset.danger,
        "note": dict(preset.note),
    }


def render_event(event: Event, language: str) -> tuple[str, Json]:
    """The name and the data of an event."""
    if isinstance(event, Armed | Confirmed | Reverted):
        return render_wait(event)
    if isinstance(event, Committed):
        return "committed", {
            "revision": event.revision,
            "at": _instant(event.at),
            "actor": str(event.context.actor),
            "door": event.context.door,
            "why": event.context.why,
            "changes": [render_change(change) for change in event.changes],
        }
    return "status", {
        "at": _instant(event.at),
        "id": event.mapping_id,
        "name": event.name,
        "status": _render_status(event.status, language),
    }


def _render_journal_row(row: JournalRow) -> Json:
    shown = _render_row(str(row.verb), row.subject, row.name, row.before, row.after)
    return {**shown, "id": row.subject_id}


def _render_row(verb: str, subject: str, name: str, before: Json | None, after: Json | None) -> Json:
    changed = []
    if before is not None and after is not None:
        keys = [key for key in {**after, **before} if key not in _BOOKKEEPING]
        changed = [key for key in keys if before.get(key) != after.get(key)]
    return {
        "verb": verb,
        "subject": subject,
        "name": name,
        "before": _render_document(before),
        "after": _render_document(after),
        "changed": changed,
    }


def _render_document(document: MappingABC[str, Any] | None) -> Json | None:
    if document is None:
        return None
    shown: Json = {key: _instant(value) if key in _INSTANTS else value for key, value in document.items()}
    if "socks" in document:
        shown["socks"] = _render_socks(SocksTerms.from_document(document["socks"]))
    if "lease" in document:
        shown["lease"] = _render_lease(LeaseTerms.from_document(document["lease"]))
    return shown


def _render_socks(terms: SocksTerms) -> Json:
    """Who may and where to. Not the verifiers: whoever has one can try passwords in peace."""
    return {"users": [user.name for user in terms.users], "reach": str(terms.reach)}


def _render_lease(lease: LeaseTerms) -> Json:
    """How its device asked. Not the nonce: who knows it may change the lease where the rule is strict."""
    return {
        "protocol": str(lease.protocol),
        "description": lease.description,
        "lasting": lease.lasting,
        "outbound": lease.outbound,
    }


def _render_status(status: Status | None, language: str) -> Json:
    if status is None:
        return {
            "state": str(State.STARTING),
            "since": None,
            "checked_at": None,
            "problem": None,
            "targets": [],
            "hops": [],
        }
    return {
        "state": str(status.state),
        "since": _instant(status.since),
        "checked_at": _instant(status.checked_at),
        "problem": None if status.problem is None else status.problem.body(language),
        "targets": list(status.targets),
        "hops": [_render_hop(hop, language) for hop in status.hops],
    }


def _render_hop(hop: HopStatus, language: str) -> Json:
    return {"plane": hop.plane, "problem": None if hop.problem is None else hop.problem.body(language)}


def _render_counters(counters: Counters) -> Json:
    return {
        "flows_active": counters.flows_active,
        "flows_total": counters.flows_total,
        "bytes_in": counters.bytes_in,
        "bytes_out": counters.bytes_out,
        "packets_in": counters.packets_in,
        "packets_out": counters.packets_out,
        "refused": dict(counters.refused),
        "failed": dict(counters.failed),
        "dropped": dict(counters.dropped),
        "last_flow_at": _instant(counters.last_flow_at),
    }


def _risk_of(mapping: Mapping, preset: Preset | None, presets: Presets) -> RiskClass:
    """The preset's class, else that of the dangerous service its ports belong to; a DMZ host has them all."""
    if preset is not None:
        return preset.risk
    if mapping.kind is MappingKind.DMZ:
        return RiskClass.ADMIN
    if mapping.target.kind is TargetKind.SOCKS:
        return RiskClass.INFRA
    for pair in (pair for pair in mapping.ports if pair.protocol.has_ports):
        for ports in dict.fromkeys((pair.inside, pair.outside)):
            for port in ports:
                danger = presets.danger_for(str(pair.protocol), port)
                if danger is not None:
                    return danger.risk
    return RiskClass.OTHER


def _instant(at: float | None) -> str | None:
    return None if at is None else format_instant(at)
