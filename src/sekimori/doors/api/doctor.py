"""Routes of the doctor: what would keep packets from the mappings, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from sekimori.doors.api.answers import Instant, ProblemBody
from sekimori.doors.api.call import AdminCall, ViewerCall, json_response
from sekimori.doors.api.render import Json
from sekimori.doors.api.shapes import Asked, Text, Written
from sekimori.model.finding import Applied, Evidence, Examination, Found, Treated, Treatment
from sekimori.model.lifetime import format_instant
from sekimori.model.remedy import Remedy

__all__ = ["router"]

router = APIRouter(prefix="/v1/doctor", tags=["doctor"])

_MOST = 1000
Names = Annotated[list[Text], Field(max_length=_MOST)]
ByLanguage = Annotated[dict[str, str], Field(examples=[{"en": "…", "ja": "…"}])]


class DoctorQuery(Asked):
    """What to look at."""

    mapping: Text | None = Field(
        None, description="A name, an id or an outside port; without it all that are not paused."
    )


class FixBody(Written):
    """Which remedies to carry out: all that are found, or some of them."""

    mapping: Text | None = Field(None, description="Only those for this mapping.", examples=["web"])
    codes: Names | None = Field(None, description="Only those for findings with these codes.")
    remedies: Names | None = Field(
        None, description="Exactly these, by id: refused when they are no longer what would be done."
    )


class UndoFixBody(Written):
    """Which remedies to take back: all that stand, or some of them."""

    mapping: Text | None = Field(None, description="Only those that were for this mapping.")
    remedies: Names | None = Field(None, description="Exactly these, by id.")


class EvidenceView(BaseModel):
    """A rule, or the policy of a chain."""

    family: str = Field(examples=["ip"])
    table: str = Field(examples=["filter"])
    chain: str = Field(examples=["FORWARD"])
    handle: int = Field(description="nft's number of the rule; 0 of a policy.")
    rule: str = Field(examples=["policy drop"])
    hook: str = Field(examples=["forward"])
    owner: str = Field(description="The program whose rule it is.", examples=["Docker"])


class FileView(BaseModel):
    """Lines that are added to a file."""

    path: str
    text: str


class RemedyView(BaseModel):
    """What would be done to another firewall, in its supported way."""

    id: str = Field(description="The same for exactly the same steps only.")
    owner: str = Field(examples=["Docker"])
    explains: ByLanguage
    files: list[FileView] = Field(description="Written first.")
    commands: list[list[str]] = Field(description="Run after that, in order.")
    undo: list[list[str]] = Field(description="What takes them back, in order.")


class FindingView(BaseModel):
    """One thing found."""

    code: str = Field(description="Stable.", examples=["policy-drop"])
    severity: Literal["error", "warning", "notice"] = Field(
        description="error keeps packets from a mapping; warning does under conditions."
    )
    confidence: Literal["certain", "likely", "possible"]
    mapping: str | None = Field(description="The mapping's name; null is of the machine.")
    subject: str = Field(examples=["tcp/8080"])
    title: ByLanguage
    fix: ByLanguage
    evidence: EvidenceView | None
    remedy: RemedyView | None


class AppliedView(RemedyView):
    """A remedy that stands."""

    codes: list[str]
    mappings: list[str]
    at: Instant
    by: str


class DoctorBody(BaseModel):
    """What was found, the worst first."""

    findings: list[FindingView]
    examined: int = Field(description="Mappings that were looked at.")
    mappings: int = Field(description="Mappings that there are to look at.")
    remedies: list[AppliedView] = Field(description="Those that were carried out and stand.")


class TreatedView(RemedyView):
    """A remedy that was carried out or taken back, or why that failed."""

    problem: ProblemBody | None


class TreatmentBody(DoctorBody):
    """What was done, or under `plan` would be; and what is found after."""

    planned: bool
    treated: list[TreatedView]


@router.get("", response_model=DoctorBody, summary="What keeps packets from the mappings")
async def examine_mappings(query: Annotated[DoctorQuery, Query()], call: ViewerCall) -> Response:
    """Look at the rules and settings of this machine as packets of the mappings meet them."""
    examination = await call.views.doctor.examine(query.mapping)
    return json_response(_render(examination, await call.views.doctor.applied()))


@router.post("/fix", response_model=TreatmentBody, summary="Put right what keeps packets from the mappings")
async def carry_out_remedies(body: FixBody, call: AdminCall) -> Response:
    """Carry out the remedies of what is found, and look again. With `plan`, only tell them."""
    treatment = await call.views.doctor.treat(
        body.mapping,
        body.codes,
        body.remedies,
        plan=body.plan,
        by=str(call.visitor.owner),
        why=body.why.strip(),
    )
    return _answer(treatment, await call.views.doctor.applied(), call.language)


@router.post("/undo", response_model=TreatmentBody, summary="Take remedies back")
async def undo_remedies(body: UndoFixBody, call: AdminCall) -> Response:
    """Take back what was done to other firewalls, and look again. With `plan`, only tell it."""
    treatment = await call.views.doctor.take_back(
        body.mapping, body.remedies, plan=body.plan, by=str(call.visitor.owner), why=body.why.strip()
    )
    return _answer(treatment, await call.views.doctor.applied(), call.language)


def _answer(treatment: Treatment, applied: Sequence[Applied], language: str) -> Response:
    treated = [_render_treated(each, language) for each in treatment.treated]
    return json_response(
        {"planned": treatment.planned, "treated": treated, **_render(treatment.after, applied)}
    )


def _render(examination: Examination, applied: Sequence[Applied]) -> Json:
    return {
        "findings": [_render_found(each) for each in examination.found],
        "examined": examination.examined,
        "mappings": examination.total,
        "remedies": [_render_applied(each) for each in applied],
    }


def _render_found(found: Found) -> Json:
    finding = found.finding
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "confidence": str(finding.confidence),
        "mapping": found.mapping,
        "subject": finding.subject,
        "title": dict(finding.title),
        "fix": dict(finding.fix),
        "evidence": None if finding.evidence is None else _render_evidence(finding.evidence),
        "remedy": None if finding.remedy is None else _render_remedy(finding.remedy),
    }


def _render_evidence(evidence: Evidence) -> Json:
    return {
        "family": evidence.family,
        "table": evidence.table,
        "chain": evidence.chain,
        "handle": evidence.handle,
        "rule": evidence.text,
        "hook": evidence.hook,
        "owner": str(evidence.owner),
    }


def _render_remedy(remedy: Remedy) -> Json:
    return {
        "id": remedy.id,
        "owner": str(remedy.owner),
        "explains": dict(remedy.explains),
        "files": [{"path": path, "text": text} for path, text in remedy.files],
        "commands": [list(command) for command in remedy.commands],
        "undo": [list(command) for command in remedy.undo],
    }


def _render_applied(applied: Applied) -> Json:
    return _render_remedy(applied.remedy) | {
        "codes": list(applied.codes),
        "mappings": list(applied.mappings),
        "at": format_instant(applied.at),
        "by": applied.by,
    }


def _render_treated(treated: Treated, language: str) -> Json:
    problem = None if treated.problem is None else treated.problem.body(language)
    return _render_remedy(treated.remedy) | {"problem": problem}
