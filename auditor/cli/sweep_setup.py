"""Sweeps built from merged options: scope, plan, engine, store, watch, dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import cache
from hashlib import blake2s
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.api import criteria
from auditor.api.sweep_rules import SweepRules
from auditor.cli.attest import require_extra
from auditor.core.clock import timestamp, today, utc_now
from auditor.core.command_options import SweepOptions
from auditor.core.dataclass import dataclass
from auditor.core.errors import UsageError
from auditor.core.finding import State
from auditor.core.progress import Progress, Silent
from auditor.fleet.dashboard import site
from auditor.fleet.discovery.catalog import TagFilter, parse_scope
from auditor.fleet.discovery.concurrency import ConcurrencyLimit
from auditor.fleet.execution.attestor import Attestor
from auditor.fleet.execution.engine import RegistryEndpoint
from auditor.fleet.execution.plan import SweepPlan
from auditor.fleet.execution.sweep import Sweeper, sweep_lease
from auditor.fleet.remediation.owners import Owners
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import queries, retention
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.lease import Lease, hold_lease, watch_lease_name
from auditor.fleet.store.presence import Sweep
from auditor.fleet.store.rows import SweepRow
from auditor.registry.client import Client

if TYPE_CHECKING:
    from auditor.cli.image_auditing import OpenAudits
    from auditor.fleet.execution.dask_engine import DaskEngine
    from auditor.fleet.execution.image_audits import ImageAudits

_RESTART_S = 300
"""Time that a database may take to restart between sweeps of a watch."""


def check_report(folder: Path | None) -> None:
    """Raise UsageError if the dashboard can't be written, before the sweep starts."""
    if folder is not None:
        site.check_folder(folder)


def write_report(store: SweepStore, sweep: SweepRow, options: SweepOptions) -> None:
    """Write the dashboard of a sweep to the folder of --report, if one is given."""
    if options.report_dir is not None:
        # jinja2 and the templates take a tenth of a second.
        from auditor.fleet.dashboard.publish import write_site

        write_site(store, sweep, options.report_dir, timestamp(utc_now()), policy(options), options.cache_dir)


def policy(options: SweepOptions) -> Policy:
    """Return owners and due dates of the options, as of today."""
    return Policy(today(), Owners(options.owners), options.due)


def failing_counts(store: SweepStore, sweep: SweepRow, options: SweepOptions) -> Mapping[str, int]:
    """Return the findings of a sweep by severity, without acknowledged secrets."""
    acknowledged = [secret for secret, one in policy(options).statuses(store).items() if one.holds]
    return queries.severities(store, sweep.id, without=acknowledged) if acknowledged else sweep.counts


@dataclass(frozen=True, slots=True)
class SweepSetup:
    """Options, plan, rules and open store of the sweeps of one command."""

    options: SweepOptions
    plan: SweepPlan
    rules: SweepRules
    store: SweepStore

    def run(self, progress: Progress | None = None) -> SweepRow:
        """Sweep once. Raises AuditError if the registry or the store fails as a whole."""
        client = self.plan.endpoint.client()
        client.ping()  # before the rules are compiled, so that an unreachable registry is reported at once
        display = progress or Silent()
        with self._auditing(client, display) as (open_audits, own, held):
            number = Sweeper(self.store, self.plan, own, self.rules.digest, display, open_audits).run(held)
        if self.options.keep is not None:
            retention.delete_old_sweeps(self.store, timestamp(utc_now() - self.options.keep))
        return next(row for row in queries.sweeps(self.store, str(self.plan.scope)) if row.id == number)

    def lease(self, say: Callable[[str], None]) -> AbstractContextManager[Lease]:
        """Hold the lease of this watch. Raises StoreError if another process watches with the same filters."""
        scope = str(self.plan.scope)
        name = watch_lease_name(scope, self.plan.filter_text)
        return hold_lease(self.store, name, f"{scope} is being watched", report=say)

    @contextmanager
    def _auditing(self, client: Client, progress: Progress) -> Iterator[tuple[OpenAudits, Client, Lease | None]]:
        """Yield a function that opens the audits of new images, the sweep's client, and its lease if it is held.

        The client shares the rate limit of Dask's workers. A sweep of unchanged tags does not call the function.
        """
        with ExitStack() as stack:
            engine = held = None
            if self.options.engine == "dask":
                # On the workers, a second process with the same sweep would replace the plugin of the first one.
                held = stack.enter_context(sweep_lease(self.store, self.plan, progress))
                engine = stack.enter_context(closing(self._dask_engine(progress)))
                if engine.rate:
                    client = self.plan.endpoint.client(rate=engine.rate)
            has_swept = queries.has_sweep(self.store, str(self.plan.scope), self.rules.digest)

            @cache
            def opened() -> OpenAudits:
                # Scanner, image formats and package databases take 0.2 s, which a sweep of unchanged tags need not pay.
                from auditor.cli.image_auditing import image_auditing

                return stack.enter_context(
                    image_auditing(
                        self.options,
                        self.rules.ruleset,
                        self.plan,
                        self.store,
                        client,
                        engine,
                        progress,
                        prepare=not has_swept,
                    )
                )

            def open_audits(sweep: Sweep, limit: ConcurrencyLimit) -> ImageAudits:
                return opened()(sweep, limit)

            if not has_swept:
                opened()  # every image will be audited
            yield open_audits, client, held

    def _dask_engine(self, progress: Progress) -> DaskEngine:
        # distributed takes a second to import.
        from auditor.fleet.execution.dask_engine import DaskEngine

        assert self.options.scheduler is not None  # noqa: S101 - `open_setup` has checked it
        return DaskEngine(
            self.options.scheduler, self.plan.endpoint, self.rules.ruleset, self.store.key,
            name=blake2s(self.plan.scope_digest.encode(), key=self.store.key, digest_size=8).hexdigest(),
            parallel=self.plan.parallel, progress=progress,
        )  # fmt: skip


@contextmanager
def open_setup(registry: str | None, options: SweepOptions, *, wait_for_store: bool = False) -> Iterator[SweepSetup]:
    """Check the options and open the store. Raises UsageError before anything costly is done."""
    if (options.engine == "dask") != (options.scheduler is not None):
        raise click.UsageError("use --engine dask and --scheduler ADDRESS together")
    plan, rules = _plan(registry, options), SweepRules(options)
    with open_store(options.store, wait=wait_for_store) as store:
        yield SweepSetup(options, plan, rules, store)


@contextmanager
def open_store(url: str | None, *, wait: bool = False) -> Iterator[SweepStore]:
    """Open the store; with `wait`, retry while the database restarts."""
    with closing(SweepStore(url, connect_s=_RESTART_S) if wait else SweepStore(url)) as store:
        yield store


def _plan(registry: str | None, options: SweepOptions) -> SweepPlan:
    scope = parse_scope(registry, options.references)
    return SweepPlan(
        scope=scope,
        tag_filter=TagFilter(options.registries, options.repos, options.tags, options.newest),
        endpoint=RegistryEndpoint(scope.host, options.insecure, options.ca, options.rate, options.limits, scope.prefix),
        clock=lambda: timestamp(utc_now()),
        selection=criteria.selection(options, criteria.baseline(options)),
        platform=options.platform,
        base=options.base,
        parallel=options.parallel,
        fresh=not options.cache,
        record_bytes=options.cache_size,
        attestor=_attestor(options),
    )


def _attestor(options: SweepOptions) -> Attestor | None:
    """Return the attestor of --attest. Raises UsageError where its statements would not be of whole audits."""
    if options.attest != (options.key is not None):
        raise click.UsageError("use --attest and --key FILE together")
    if options.key is None:
        return None
    require_extra("--attest")
    if options.fail_on is None:
        raise UsageError("--attest with --fail-on never: every image would be clean. Name a severity")
    if options.only_rules or options.states != frozenset(State):
        raise UsageError("--attest states the result of whole audits: remove --rule and --state")
    # The extra is optional.
    from auditor.attest.sweep_attestor import SweepAttestor

    return SweepAttestor.with_key(
        options.key, options.fail_on, options.min_confidence, lambda: timestamp(utc_now()), options.parallel
    )
