"""Which secrets still work, by asking their providers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from auditor.core.finding import Finding
from auditor.core.secret import Secret
from auditor.detect.probe import Liveness, Probe
from auditor.detect.rules import Rule
from auditor.registry.retry import RETRIED, asked_to_wait
from auditor.verify.client import Answer, send
from auditor.verify.message import message

_AT_ONCE = 4
"""Requests under way at a time."""

_MAX_PAUSE_S = 5.0


class Verifier:
    """Asks once about each secret, however often it is found and in how many images, and remembers the verdict.

    `timeout_s` bounds a request as a whole, from the connection to the last byte; `pause_s` is waited before the one
    second try that an overloaded provider gets, if it names no time itself. Where it names a longer one than
    _MAX_PAUSE_S there is no second try.
    """

    def __init__(self, *, timeout_s: float = 10.0, pause_s: float = 1.0) -> None:
        self._timeout_s, self._pause_s = timeout_s, pause_s
        self._known: dict[tuple[Probe, Secret], Liveness] = {}

    def verify(self, findings: Sequence[Finding], rules: Mapping[str, Rule]) -> dict[Secret, str]:
        """Return active, inactive or unknown for each secret that some finding's rule can ask about."""
        questions = list(dict.fromkeys(_questions(findings, rules)))
        new = [question for question in questions if question not in self._known]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            self._known.update(zip(new, pool.map(self._ask, new), strict=True))
        verdicts: dict[Secret, str] = {}
        for probe, secret in questions:
            before = Liveness(verdicts.get(secret, Liveness.UNKNOWN))
            verdicts[secret] = max(self._known[probe, secret], before, key=lambda verdict: verdict.rank).value
        return verdicts

    def _ask(self, question: tuple[Probe, Secret]) -> Liveness:
        probe, secret = question
        filled = message(probe, secret)
        if filled is None:
            return Liveness.UNKNOWN
        answer = send(filled, timeout_s=self._timeout_s, reads=probe.reads_document)
        verdict = _judged(probe, answer)
        if answer and verdict is Liveness.UNKNOWN and answer.status in RETRIED:
            pause_s = asked_to_wait(answer.retry_after, time.time()) or self._pause_s
            if pause_s > _MAX_PAUSE_S:
                return verdict
            time.sleep(pause_s)
            verdict = _judged(probe, send(filled, timeout_s=self._timeout_s, reads=probe.reads_document))
        return verdict


def verified(findings: Iterable[Finding], rules: Mapping[str, Rule], verifier: Verifier) -> tuple[Finding, ...]:
    """Return the findings with `verified` set; unknown where their rule has no request to send."""
    findings = tuple(findings)
    verdicts = verifier.verify(findings, rules)
    return tuple(replace(item, verified=verdicts.get(item.secret, Liveness.UNKNOWN.value)) for item in findings)


def _questions(findings: Iterable[Finding], rules: Mapping[str, Rule]) -> Iterable[tuple[Probe, Secret]]:
    for finding in findings:
        rule = rules.get(finding.rule)
        if rule is not None and rule.verify is not None:
            yield rule.verify, finding.secret


def _judged(probe: Probe, answer: Answer | None) -> Liveness:
    return probe.judge(answer.status, _document(answer.content)) if answer else Liveness.UNKNOWN


def _document(content: bytes | None) -> Any:
    try:
        return json.loads(content) if content else None
    except (ValueError, RecursionError):
        return None
