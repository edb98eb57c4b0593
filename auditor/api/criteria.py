"""Criteria of an audit, built from its options: accepted findings, findings to show."""

from __future__ import annotations

from pathlib import Path

from auditor.core.clock import today
from auditor.core.options import AuditOptions
from auditor.findings.baseline import Baseline, load_baseline
from auditor.findings.selection import Selection


def baseline(options: AuditOptions, written: Path | None = None) -> Baseline | None:
    """Load the baseline. It may be missing only where it is `written` at the end of the run."""
    path = options.baseline
    if path is None:
        return None
    if written is not None and not path.exists() and path.absolute() == written.absolute():
        return Baseline(path)
    return load_baseline(path)


def selection(options: AuditOptions, baseline: Baseline | None) -> Selection:
    """Return the findings to show, without expired entries of config file and baseline."""
    now = today()
    return Selection(
        options.states,
        options.min_confidence,
        options.exclude_paths,
        frozenset(options.exclude_rules),
        options.exclude_images,
        tuple(item for item in options.ignore if not item.has_expired(now)),
        baseline.active_ids(now) if baseline else frozenset(),
    )
