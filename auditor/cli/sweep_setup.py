"""Sweeps built from merged options: scope, plan, engine, store, watch, dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from hashlib import blake2s
from pathlib import Path

import click

from auditor.api import components
from auditor.cli.attest import require_extra
from auditor.core.clock import timestamp, today, utc_now
from auditor.core.command_options import SweepOptions
from auditor.core.finding import State
from auditor.core.progress import Progress
from auditor.detect.rules import Ruleset
from auditor.fleet.dashboard import site
from auditor.fleet.discovery.catalog import TagFilter, parse_scope
from auditor.fleet.execution.attestor import Attestor
from auditor.fleet.execution.engine import Engine, RegistryEndpoint
from auditor.fleet.execution.local_engine import LocalEngine
from auditor.fleet.execution.plan import SweepPlan
from auditor.fleet.execution.sweep import Sweeper
from auditor.fleet.remediation.owners import Owners
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import queries, retention
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.layer_records import DEFAULT_BYTES
from auditor.fleet.store.lease import Lease, hold_lease, watch_lease_name
from auditor.fleet.store.rows import SweepRow
from auditor.registry.client import Client
from auditor.scan import Scanner

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

        write_site(store, sweep, options.report_dir, timestamp(utc_now()), policy(options))


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
    rules: Ruleset
    store: SweepStore

    def run(self, progress: Progress | None = None) -> SweepRow:
        """Sweep once. Raises AuditError if the registry or the store fails as a whole."""
        client = self.plan.endpoint.client()
        client.ping()  # before the rules are compiled, so that an unreachable registry is reported at once
        with (
            components.scanner(self.options, self.rules, progress) as scanner,
            self._engine(scanner, client) as (engine, own),
        ):
            number = Sweeper(self.store, scanner, engine, self.plan, own).run()
        if self.options.keep is not None:
            retention.delete_old_sweeps(self.store, timestamp(utc_now() - self.options.keep))
        return next(row for row in queries.sweeps(self.store, str(self.plan.scope)) if row.id == number)

    def lease(self, say: Callable[[str], None]) -> AbstractContextManager[Lease]:
        """Hold the lease of this watch. Raises StoreError if another process watches with the same filters."""
        scope = str(self.plan.scope)
        name = watch_lease_name(scope, self.plan.filter_text)
        return hold_lease(self.store, name, f"{scope} is being watched", report=say)

    @contextmanager
    def _engine(self, scanner: Scanner, client: Client) -> Iterator[tuple[Engine, Client]]:
        """Open the engine that reads layers, and the sweep's client, which shares the rate limit of the workers."""
        plan, store = self.plan, self.store
        if self.options.engine == "local":
            if not queries.sweeps(store, str(plan.scope)):
                scanner.prepare()  # a first sweep reads layers, and processes start faster before there are threads
            with closing(LocalEngine(client, scanner, store.key, plan.parallel)) as local:
                yield local, client
            return
        # distributed takes a second to import.
        from auditor.fleet.execution.dask_engine import DaskEngine

        assert self.options.scheduler is not None  # noqa: S101 - `open_setup` has checked it
        engine = DaskEngine(
            self.options.scheduler, plan.endpoint, scanner.ruleset, store.key,
            name=blake2s(plan.scope_digest.encode(), key=store.key, digest_size=8).hexdigest(),
            parallel=plan.parallel, progress=scanner.progress,
        )  # fmt: skip
        with closing(engine):
            yield engine, plan.endpoint.client(rate=engine.rate) if engine.rate else client


@contextmanager
def open_setup(registry: str | None, options: SweepOptions, *, wait_for_store: bool = False) -> Iterator[SweepSetup]:
    """Check the options and open the store. Raises UsageError before anything costly is done."""
    if (options.engine == "dask") != (options.scheduler is not None):
        raise click.UsageError("use --engine dask and --scheduler ADDRESS together")
    plan, rules = _plan(registry, options), components.ruleset(options)
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
        selection=components.selection(options, components.baseline(options)),
        platform=options.platform,
        base=options.base,
        parallel=options.parallel,
        fresh=not options.cache,
        record_bytes=DEFAULT_BYTES if options.cache_size is None else options.cache_size,
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
        raise click.UsageError("--attest with --fail-on never: every image would be clean. Name a severity")
    if options.only_rules or options.states != frozenset(State):
        raise click.UsageError("--attest states the result of whole audits: remove --rule and --state")
    # The extra is optional.
    from auditor.attest.keys import load_signer
    from auditor.attest.sweep_attestor import SweepAttestor

    signer = load_signer(options.key)
    return SweepAttestor(
        signer, options.fail_on, options.min_confidence, lambda: timestamp(utc_now()), options.parallel
    )
