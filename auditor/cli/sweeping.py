"""What `registry scan` and `registry watch` share: a sweep made of their options."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from hashlib import blake2s
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import options
from auditor.config import resolve
from auditor.config.file import Settings, load_settings

if TYPE_CHECKING:
    from auditor.core.finding import Severity
    from auditor.core.progress import Progress
    from auditor.detect.rules import Ruleset
    from auditor.findings.baseline import Baseline
    from auditor.fleet.execution.engine import Engine
    from auditor.fleet.execution.plan import SweepPlan
    from auditor.fleet.service.notify import Notifier
    from auditor.fleet.service.schedule import Schedule
    from auditor.fleet.service.watch import Watch
    from auditor.fleet.store.database import SweepStore
    from auditor.fleet.store.lease import Lease
    from auditor.fleet.store.rows import SweepRow
    from auditor.registry.client import Client
    from auditor.scan import Scanner

_RESTART_S = 300  # of a database
_EXTRA = ("sqlalchemy", "alembic", "cachetools", "apprise", "cronsim", "distributed", "prometheus_client")


def check_report(folder: Path | None) -> None:
    """Raise UsageError where the dashboard could not be written: before the sweep, not after hours."""
    if folder is not None:
        from auditor.fleet.dashboard.site import check_folder

        check_folder(folder)


def write_report(store: SweepStore, sweep: SweepRow, folder: Path | None) -> None:
    """Write the dashboard of a sweep, where one is wanted."""
    if folder is not None:
        from auditor.fleet.dashboard.publish import write_site

        write_site(store, sweep, folder, _stamp(datetime.datetime.now(datetime.UTC)))


@dataclass(frozen=True, slots=True)
class Setup:
    """All that sweeps of one command share. `run` may be called any number of times."""

    plan: SweepPlan
    rules: Ruleset
    given: Mapping[str, Any]
    store: SweepStore
    fail_on: Severity | None

    def run(self, progress: Progress | None = None) -> SweepRow:
        """Sweep once. Raises AuditError where nothing could be swept."""
        from auditor.fleet.execution.sweep import Sweeper
        from auditor.fleet.store import queries, retention

        cache = resolve.cache(self.given["cache_dir"])
        client = self.plan.endpoint.client()
        client.ping()  # before the rules are compiled, so that an unreachable registry is reported at once
        with (
            resolve.scanner(
                self.rules, self.given["jobs"], progress, cache=cache, limits=self.plan.endpoint.limits
            ) as scanner,
            _engine(self.given, self.plan, self.store, scanner, client) as (engine, own),
        ):
            number = Sweeper(self.store, scanner, engine, self.plan, own).run()
        if self.given["keep"] is not None:
            retention.delete_old_sweeps(self.store, _stamp(datetime.datetime.now(datetime.UTC) - self.given["keep"]))
        return next(row for row in queries.sweeps(self.store, str(self.plan.scope)) if row.id == number)

    def watch(self, schedule: Schedule, sweep: Callable[[], SweepRow]) -> Watch:
        """Return a watch over the same registry, which shows of earlier sweeps like its own what the store knows."""
        from auditor.fleet.service.metrics import Metrics
        from auditor.fleet.service.watch import Watch
        from auditor.fleet.store import queries

        scope = str(self.plan.scope)
        watch = Watch(
            schedule, sweep, Metrics(scope, time.time), lambda: datetime.datetime.now(datetime.UTC), time.sleep,
            strict=self.given["strict"],
        )  # fmt: skip
        alike = [row for row in queries.sweeps(self.store, scope) if row.filter_text == self.plan.filter_text]
        if alike:
            watch.remember(alike[-1])
        return watch

    def alone(self, say: Callable[[str], None]) -> AbstractContextManager[Lease]:
        """Be the one watch of this registry with these options. Raises StoreError where there is another."""
        from auditor.fleet.store.lease import hold_lease, watch_lease_name

        scope = str(self.plan.scope)
        return hold_lease(
            self.store, watch_lease_name(scope, self.plan.filter_text), f"{scope} is being watched", report=say
        )


def notifier(urls: Sequence[str]) -> Notifier:
    """Return what tells the receivers of --notify. Raises UsageError on a URL that nobody knows."""
    require_extra()
    from auditor.fleet.service.notify import Notifier

    return Notifier(urls)


@contextmanager
def setup(registry: str | None, given: Mapping[str, Any], *, patient: bool = False) -> Iterator[Setup]:
    """Check the options and open the store, `patient` with one that is away for a while.

    Raises UsageError before anything costly is done.
    """
    scope_and_more = _plan(registry, given)
    plan, settings, rules = scope_and_more
    with opened_store(given["store_url"], patient=patient) as store:
        yield Setup(plan, rules, given, store, resolve.severity(given["fail_on"] or settings.fail_on))


@contextmanager
def opened_store(url: str | None, *, patient: bool = False) -> Iterator[SweepStore]:
    """Open the store, or say in one line what is missing for it."""
    require_extra()
    from auditor.fleet.store.database import SweepStore

    with closing(SweepStore(url, connect_s=_RESTART_S) if patient else SweepStore(url)) as store:
        yield store


def require_extra() -> None:
    """Raise UsageError where the extra `fleet` is not installed."""
    from importlib.util import find_spec

    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise click.UsageError(
            f"`registry` needs {', '.join(missing)}, of the extra `fleet`: pip install 'image-audit[fleet]'"
        )


def _plan(registry: str | None, given: Mapping[str, Any]) -> tuple[SweepPlan, Settings, Ruleset]:
    require_extra()
    from auditor.fleet.discovery.catalog import TagFilter, parse_scope
    from auditor.fleet.execution.engine import RegistryEndpoint
    from auditor.fleet.execution.plan import SweepPlan
    from auditor.fleet.store.layer_records import DEFAULT_BYTES

    if (given["engine"] == "dask") != (given["scheduler"] is not None):
        raise click.UsageError("--engine dask and --scheduler ADDRESS go together")
    settings = load_settings(given["config_path"])
    scope = parse_scope(registry, given["lines"])
    cache = resolve.cache(given["cache_dir"])
    rules = resolve.ruleset(settings, given["extra_rules"], given["only_rules"], given["exclude_rules"], cache)
    baseline: Baseline | None = resolve.baseline(settings, given["baseline"])
    endpoint = RegistryEndpoint(
        scope.host, given["insecure"], given["ca"], given["rate"], resolve.limits(settings, given["limits"])
    )
    plan = SweepPlan(
        scope=scope,
        tag_filter=TagFilter(settings.registries, given["repos"], given["tags"], given["newest"]),
        endpoint=endpoint,
        clock=lambda: _stamp(datetime.datetime.now(datetime.UTC)),
        selection=options.selection(settings, given, baseline),
        platform=given["platform"],
        base=given["base"],
        parallel=given["parallel"],
        fresh=given["no_cache"],
        record_bytes=DEFAULT_BYTES if given["cache_size"] is None else given["cache_size"],
    )
    return plan, settings, rules


@contextmanager
def _engine(
    given: Mapping[str, Any], plan: SweepPlan, store: SweepStore, scanner: Scanner, client: Client
) -> Iterator[tuple[Engine, Client]]:
    """Give what reads the layers, and the sweep's own client: another one where workers share its rate limit."""
    if given["engine"] == "local":
        from auditor.fleet.execution.local_engine import LocalEngine

        with closing(LocalEngine(client, scanner, store.key, plan.parallel)) as local:
            yield local, client
        return
    from auditor.fleet.execution.dask_engine import DaskEngine

    engine = DaskEngine(
        given["scheduler"], plan.endpoint, scanner.ruleset, store.key,
        name=blake2s(plan.scope_digest.encode(), key=store.key, digest_size=8).hexdigest(),
        parallel=plan.parallel, progress=scanner.progress,
    )  # fmt: skip
    with closing(engine):
        yield engine, plan.endpoint.client(rate=engine.rate) if engine.rate else client


def _stamp(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
