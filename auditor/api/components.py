"""Parts of an audit, built from its options: scanner, cache of layers. Rules and selection are in criteria.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from auditor.core.finding import Confidence
from auditor.core.options import AuditOptions
from auditor.core.progress import Progress
from auditor.detect.rules import Ruleset
from auditor.scan import Scanner
from auditor.scan.scanner import workers_within
from auditor.store.layer_store import DEFAULT_BYTES, LayerStore

Notify = Callable[[str], None]
"""Takes a message for the user, one line."""


@contextmanager
def scanner(options: AuditOptions, rules: Ruleset, progress: Progress | None = None) -> Iterator[Scanner]:
    """Open a scanner. Raises MissingLibrary without a matching engine."""
    jobs = workers_within(options.memory, options.jobs)
    with closing(
        Scanner(
            rules,
            jobs,
            progress,
            cache=options.cache_dir,
            limits=options.limits,
            extract_published=options.min_confidence is Confidence.LOW,
        )
    ) as opened:
        yield opened


@contextmanager
def layer_store(options: AuditOptions, notify: Notify) -> Iterator[LayerStore | None]:
    """Open the cache of layer records; None where the options disable it."""
    if not options.cache:
        yield None
        return
    size = DEFAULT_BYTES if options.cache_size is None else options.cache_size
    with closing(LayerStore(options.cache_dir, notify, size)) as store:
        yield store
