"""Liveness of secrets, as their providers report it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from auditor.core.errors import Temporary
from auditor.core.finding import Finding
from auditor.core.secret import Secret
from auditor.detect.probe import Liveness, Probe
from auditor.detect.rules import Rule
from auditor.registry.retry import RETRIED, Clock, RetryBudget, RetryPolicy, retry_after_s
from auditor.verify.filled_request import FilledRequest, fill_request
from auditor.verify.provider_request import send

_CONCURRENT_REQUESTS = 4
_MAX_PAUSE_S = 5.0


class Verifier:
    """Asks providers about secrets, once about each secret, and remembers the results.

    `timeout_s` bounds a request as a whole, from the connection to the last byte. An overloaded provider gets one
    retry, after the pause it asks for or `pause_s`; if it asks for more than _MAX_PAUSE_S, it gets none.
    """

    def __init__(self, *, timeout_s: float = 10.0, pause_s: float = 1.0) -> None:
        self._timeout_s = timeout_s
        self._policy = RetryPolicy(tries=2, wait_s=_MAX_PAUSE_S, total_s=2 * timeout_s, first_pause_s=pause_s)
        self._known: dict[tuple[Probe, Secret], Liveness] = {}

    def verify(self, findings: Sequence[Finding], rules: Mapping[str, Rule]) -> dict[Secret, str]:
        """Return active, inactive or unknown for each secret of a rule with a probe."""
        questions = list(dict.fromkeys(_questions(findings, rules)))
        new = [question for question in questions if question not in self._known]
        with ThreadPoolExecutor(_CONCURRENT_REQUESTS) as pool:
            self._known.update(zip(new, pool.map(self._ask, new), strict=True))
        results: dict[Secret, str] = {}
        for probe, secret in questions:
            before = Liveness(results.get(secret, Liveness.UNKNOWN))
            results[secret] = max(self._known[probe, secret], before, key=lambda liveness: liveness.rank).value
        return results

    def _ask(self, question: tuple[Probe, Secret]) -> Liveness:
        probe, secret = question
        request = fill_request(probe, secret)
        if request is None:
            return Liveness.UNKNOWN
        budget = RetryBudget(self._policy, Clock(), threading.Event())
        try:
            return budget.run(lambda: self._send(probe, request))
        except Temporary:
            return Liveness.UNKNOWN

    def _send(self, probe: Probe, request: FilledRequest) -> Liveness:
        """Send a request once. Raises Temporary if the provider is overloaded."""
        response = send(request, timeout_s=self._timeout_s, reads_body=probe.reads_document)
        if response is None:
            return Liveness.UNKNOWN
        liveness = probe.judge(response.status, _document(response.body))
        if liveness is Liveness.UNKNOWN and response.status in RETRIED:
            raise Temporary(f"HTTP {response.status}", retry_after_s(response.retry_after, time.time()))
        return liveness


def verified(findings: Iterable[Finding], rules: Mapping[str, Rule], verifier: Verifier) -> tuple[Finding, ...]:
    """Return the findings with `verified` set; unknown for rules without a probe."""
    findings = tuple(findings)
    results = verifier.verify(findings, rules)
    return tuple(replace(item, verified=results.get(item.secret, Liveness.UNKNOWN.value)) for item in findings)


def _questions(findings: Iterable[Finding], rules: Mapping[str, Rule]) -> Iterable[tuple[Probe, Secret]]:
    for finding in findings:
        rule = rules.get(finding.rule)
        if rule is not None and rule.verify is not None:
            yield rule.verify, finding.secret


def _document(body: bytes | None) -> Any:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None
