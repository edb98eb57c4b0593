"""Metrics of a watch for Prometheus: docs/schedule.md lists the names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0

from auditor.core.finding import Severity
from auditor.fleet.store.rows import SweepRow

CONTENT_TYPE = CONTENT_TYPE_PLAIN_1_0_0


class Metrics:
    """Metrics of one registry. `clock` returns seconds since 1970; `last_good` is the end of the last good sweep."""

    def __init__(self, registry: str, clock: Callable[[], float]) -> None:
        self.registry = registry
        self.last_good: float | None = None
        self._clock = clock
        self._collectors = CollectorRegistry()
        self._sweeps = self._counter("sweeps", "Sweeps by result: good or failed.", "result")
        for result in ("good", "failed"):
            self._sweeps.labels(registry, result)
        self._layers = self._counter("layers_read", "Layers downloaded and scanned.")
        self._bytes = self._counter("read_bytes", "Stored bytes of downloaded layers.")
        self._new = self._counter("new_findings", "Findings new in their repository.")
        self._images = self._gauge("images", "Images of the last sweep, one per platform.")
        self._unique = self._gauge("layers", "Distinct layers of those images.")
        self._findings = self._gauge("findings", "Findings of the last sweep, including withdrawn images.", "severity")
        self._overdue = self._gauge(
            "overdue_secrets", "Open secrets of the last sweep past their due date.", "owner", "severity"
        )
        self._withdrawn = self._gauge("withdrawn_images", "Images without a tag that are not deleted.")
        self._failures = self._gauge("failures", "References that the last sweep could not audit.")
        self._partial = self._gauge("partial_images", "Images that the last sweep did not read in full.")
        self._duration = self._gauge("sweep_duration_seconds", "Duration of the last sweep.")
        self._sweeping = self._gauge("sweeping", "1 during a sweep.")
        self._gauge(
            "last_good_sweep_age_seconds", "Time since the end of the last good sweep; NaN before the first."
        ).labels(registry).set_function(self._age)

    def began(self) -> None:
        """Record the start of a sweep."""
        self._sweeping.labels(self.registry).set(1)

    def ended(self, duration_s: float, *, good: bool) -> None:
        """Record the end of a sweep."""
        self._sweeping.labels(self.registry).set(0)
        self._sweeps.labels(self.registry, "good" if good else "failed").inc()
        self._duration.labels(self.registry).set(duration_s)
        if good:
            self.last_good = self._clock()

    def count(self, sweep: SweepRow) -> None:
        """Add the counts of a sweep, and show its totals."""
        self.show(sweep)
        for counter, key in ((self._layers, "layers_read"), (self._bytes, "bytes_read"), (self._new, "new")):
            counter.labels(self.registry).inc(sweep.counts[key])

    def show(self, sweep: SweepRow) -> None:
        """Show the totals of a sweep of this or an earlier process."""
        for gauge, key in (
            (self._images, "images"),
            (self._withdrawn, "withdrawn"),
            (self._unique, "layers_unique"),
            (self._failures, "failed"),
            (self._partial, "partial"),
        ):
            gauge.labels(self.registry).set(sweep.counts[key])
        for severity in Severity:
            self._findings.labels(self.registry, severity.value).set(sweep.counts[severity])

    def show_overdue(self, counts: Mapping[tuple[str, Severity], int]) -> None:
        """Show the overdue secrets by owner and severity, instead of those of an earlier sweep."""
        self._overdue.clear()
        for (owner, severity), count in counts.items():
            self._overdue.labels(self.registry, owner, severity.value).set(count)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._collectors)

    def _age(self) -> float:
        return math.nan if self.last_good is None else max(0.0, self._clock() - self.last_good)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        counter = Counter(f"image_audit_{name}", help_text, ("registry", *labels), registry=self._collectors)
        if not labels:
            counter.labels(self.registry)  # export 0 from the start
        return counter

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(f"image_audit_{name}", help_text, ("registry", *labels), registry=self._collectors)
