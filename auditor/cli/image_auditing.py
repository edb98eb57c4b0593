"""Scanner and engine of a sweep that audits images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial

from auditor.api import components
from auditor.core.command_options import SweepOptions
from auditor.core.progress import Progress
from auditor.detect.rules import Ruleset
from auditor.fleet.discovery.concurrency import ConcurrencyLimit
from auditor.fleet.execution.engine import Engine
from auditor.fleet.execution.image_audits import ImageAudits
from auditor.fleet.execution.local_engine import LocalEngine
from auditor.fleet.execution.plan import SweepPlan
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.presence import Sweep
from auditor.registry.client import Client

OpenAudits = Callable[[Sweep, ConcurrencyLimit], ImageAudits]


@contextmanager
def image_auditing(
    options: SweepOptions,
    rules: Ruleset,
    plan: SweepPlan,
    store: SweepStore,
    client: Client,
    engine: Engine | None,
    progress: Progress,
    *,
    prepare: bool,
) -> Iterator[OpenAudits]:
    """Open a scanner, and an engine of this machine if there is no other; yield a function that opens the audits.

    With `prepare`, worker processes are started at once, which is faster before there are threads.
    Raises RuleError if the rules can't be compiled, and MissingLibrary without a matching engine.
    """
    with components.scanner(options, rules, progress) as scanner:
        if engine is not None:
            yield partial(ImageAudits, store, scanner, engine, plan)
            return
        if prepare:
            scanner.prepare()
        with closing(LocalEngine(client, scanner, store.key, plan.parallel)) as local:
            yield partial(ImageAudits, store, scanner, local, plan)
