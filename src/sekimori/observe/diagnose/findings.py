"""What the doctor says: findings with stable codes, evidence, and the way out."""

from __future__ import annotations

from collections.abc import Iterable

from sekimori.model.causes import in_language
from sekimori.model.finding import Confidence, Evidence, Finding, Severity
from sekimori.model.remedy import Remedy
from sekimori.observe.diagnose.findings_words import WORDS
from sekimori.observe.diagnose.owners import recognise
from sekimori.observe.diagnose.passage import Doubt, Kind, Passage, Place, Step, Verdict
from sekimori.observe.diagnose.probe import Way
from sekimori.observe.diagnose.remedies import find_remedy
from sekimori.observe.diagnose.ruleset import Ruleset

__all__ = ["Confidence", "Evidence", "Finding", "Severity", "finding", "judge"]


def finding(
    code: str,
    severity: Severity,
    confidence: Confidence,
    subject: str,
    *,
    words: str | None = None,
    evidence: Evidence | None = None,
    remedy: Remedy | None = None,
    **facts: object,
) -> Finding:
    """A finding with its words (those of `code` unless `words` names others), facts filled in."""
    facts |= {"subject": subject, "evidence": evidence}
    by_language = {
        language: [
            text.format_map({name: in_language(fact, language) for name, fact in facts.items()})
            for text in sentences
        ]
        for language, sentences in WORDS[words or code].items()
    }
    title, fix = ({language: texts[i] for language, texts in by_language.items()} for i in (0, 1))
    return Finding(code, severity, confidence, subject, title, fix, evidence, remedy)


def judge(passage: Passage, ruleset: Ruleset, subject: str) -> list[Finding]:
    """What a packet's passage gives to say."""
    return [
        *_decisive(passage, ruleset, subject),
        *_shadowed(passage, ruleset, subject),
        *_too_open(passage, ruleset, subject),
    ]


def _decisive(passage: Passage, ruleset: Ruleset, subject: str) -> Iterable[Finding]:
    step = passage.decided
    if step is None:
        return
    certain = passage.verdict is not Verdict.MAY_DROP
    code, words = _code(step, certain=certain, back=passage.probe.reply)
    blocks = step.kind in (Kind.DROP, Kind.REJECT, Kind.UNREAD)
    evidence = _evidence(ruleset, step.place)
    remedy = None
    if blocks and code != "fw-unknown":
        remedy = find_remedy(recognise(ruleset, step.place), step.place, passage.probe, ruleset)
    yield finding(
        code,
        Severity.ERROR if certain else Severity.WARNING,
        _confidence(step, certain=certain),
        subject,
        words=words,
        evidence=evidence,
        remedy=remedy,
        owner=evidence.owner,
        where=step.place.chain,
        leads=_leads(step),
        lan=passage.probe.oif or passage.probe.iif,
    )


def _code(step: Step, *, certain: bool, back: bool) -> tuple[str, str]:
    """The code, and under what words it is told."""
    if step.kind in (Kind.DNAT, Kind.REDIRECT, Kind.TAKE):
        return "nat-shadowed", "nat-shadowed"
    if step.kind is Kind.UNTRACK:
        return "fw-notrack", "fw-notrack"
    if not certain and (step.kind is Kind.UNREAD or step.own is Doubt.UNREAD):
        return "fw-unknown", "fw-unknown"
    if step.policy:
        return "policy-drop", "policy-drop-back" if back else "policy-drop"
    code = "fw-rejects" if step.kind is Kind.REJECT else "fw-drops"
    if not certain:
        return code, "fw-may-drop"
    return code, f"{code}-back" if back else code


def _confidence(step: Step, *, certain: bool) -> Confidence:
    if certain:
        return Confidence.CERTAIN
    return Confidence.LIKELY if step.own is Doubt.NONE else Confidence.POSSIBLE


def _leads(step: Step) -> str:
    if step.address is None:
        return f"port {step.port}" if step.port else "elsewhere"
    if step.port is None:
        return str(step.address)
    host = f"[{step.address}]" if step.address.version == 6 else str(step.address)
    return f"{host}:{step.port}"


def _shadowed(passage: Passage, ruleset: Ruleset, subject: str) -> Iterable[Finding]:
    for step in passage.shadowed:
        evidence = _evidence(ruleset, step.place)
        yield finding(
            "nat-takes-over",
            Severity.WARNING,
            Confidence.CERTAIN if step.doubt is Doubt.NONE else Confidence.POSSIBLE,
            subject,
            evidence=evidence,
            owner=evidence.owner,
            where=step.place.chain,
            leads=_leads(step),
        )


def _too_open(passage: Passage, ruleset: Ruleset, subject: str) -> Iterable[Finding]:
    """A rule of others that lets everything in from the WAN, this mapping or not."""
    if passage.probe.reply or passage.probe.way is not Way.FORWARD:
        return
    for step in passage.steps:
        broad = step.kind is Kind.ACCEPT and not step.policy and not step.narrow
        if broad and step.doubt is Doubt.NONE and step.place.hook == "forward":
            evidence = _evidence(ruleset, step.place)
            yield finding(
                "fw-accepts-all",
                Severity.NOTICE,
                Confidence.CERTAIN,
                subject,
                evidence=evidence,
                owner=evidence.owner,
                where=step.place.chain,
                wan=passage.probe.iif,
                lan=passage.probe.oif,
            )


def _evidence(ruleset: Ruleset, place: Place) -> Evidence:
    owner = recognise(ruleset, place)
    return Evidence(place.family, place.table, place.chain, place.handle, place.text, place.hook, owner)
