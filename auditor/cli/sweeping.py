"""What `registry scan` and `registry watch` share: their options, and a sweep made of them."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import blake2s
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from auditor.cli import options
from auditor.config import Settings, load_settings

if TYPE_CHECKING:
    from auditor.baseline import Baseline
    from auditor.detect.rules import Ruleset
    from auditor.fleet.dask_engine import DaskEngine
    from auditor.fleet.engine import Engine
    from auditor.fleet.notify import Notifier
    from auditor.fleet.queries import SweepRow
    from auditor.fleet.schedule import Schedule
    from auditor.fleet.store import Store
    from auditor.fleet.sweep import Order
    from auditor.fleet.watch import Watch
    from auditor.model import Severity
    from auditor.progress import Progress
    from auditor.scan import Scanner

_EXTRA = ("sqlalchemy", "alembic", "cachetools", "apprise", "cronsim", "distributed", "prometheus_client")
F = TypeVar("F", bound=Callable[..., Any])


class Age(click.ParamType):  # type: ignore[type-arg]
    """A span of time, as `90d` or `12w`."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime.timedelta:
        """Return the span; fail on anything else."""
        if isinstance(value, datetime.timedelta):
            return value
        found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", str(value).strip().lower())
        if not found:
            self.fail(f"{value!r} is no age; want hours, days or weeks, as 48h, 90d or 12w", param, ctx)
        return int(found[1]) * {"h": datetime.timedelta(hours=1), "d": datetime.timedelta(days=1),
                                "w": datetime.timedelta(weeks=1)}[found[2]]  # fmt: skip


def store_option(command: F) -> F:
    """Add --store."""
    return click.option(
        "--store", "store_url", metavar="URL", envvar="IMAGE_AUDIT_STORE",
        help="Where sweeps are kept: any SQLAlchemy URL.  [default: SQLite in the user's data folder]",
    )(command)  # fmt: skip


def report_option(command: F) -> F:
    """Add --report."""
    return click.option(
        "--report", "report_dir", type=click.Path(path_type=Path), metavar="DIR",
        help="Write the dashboard, a static site.",
    )(command)  # fmt: skip


def check_report(folder: Path | None) -> None:
    """Raise UsageError where the dashboard could not be written: before the sweep, not after hours."""
    from auditor.fleet import dashboard

    if folder is not None:
        dashboard.check(folder)


def write_report(store: Store, sweep: SweepRow, folder: Path | None) -> None:
    """Write the dashboard of a sweep, where one is wanted."""
    from auditor.fleet import dashboard

    if folder is not None:
        dashboard.write(store, sweep, folder, _stamp(datetime.datetime.now(datetime.UTC)))


def sweep_options(command: F) -> F:
    """Add the options of a sweep."""
    for option in (
        click.option("--scheduler", metavar="ADDRESS", help="Of the Dask cluster, as tcp://HOST:8786."),
        click.option(
            "--engine", type=click.Choice(["local", "dask"]), default="local", show_default=True,
            help="Who reads the layers: this machine, or the workers of a Dask cluster.",
        ),
        click.option(
            "--parallel", type=click.IntRange(1, 64), default=8, show_default=True,
            help="Requests at a time, and layers that are read at a time.",
        ),
        click.option("--rate", type=click.FloatRange(0, min_open=True), help="Requests a second at most."),
        click.option("--ca", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="FILE",
                     help="Certificates to trust instead of the system's."),
        click.option(
            "--keep", type=Age(), metavar="AGE", help="Forget sweeps older than that, as 90d.  [default: keep all]"
        ),
        report_option,
        click.option("--notify", multiple=True, metavar="URL", envvar="IMAGE_AUDIT_NOTIFY",
                     help="Tell what is new: an apprise or https URL. Repeatable."),
        click.option(
            "--newest", type=click.IntRange(1), help="Of each repository only the tags whose images were made last."
        ),
        click.option("--tags", multiple=True, metavar="GLOB", help="Only tags that fit. Repeatable."),
        click.option("--repos", multiple=True, metavar="GLOB", help="Only repositories that fit. Repeatable."),
        click.option("--from", "lines", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
                     help="References or repositories, one a line, instead of the catalog."),
        click.option("--no-cache", is_flag=True, help="Use nothing that was kept: read and audit everything again."),
        click.option("--cache-size", type=options.Size(), help="Of layer records in the store.  [default: 8G]"),
        options.cache_dir_option,
        options.audit_options,
        options.rule_options,
        options.platform_option,
        store_option,
    ):  # fmt: skip
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Setup:
    """All that sweeps of one command share. `run` may be called any number of times."""

    order: Order
    rules: Ruleset
    given: Mapping[str, Any]
    store: Store
    fail_on: Severity | None

    def run(self, progress: Progress | None = None) -> SweepRow:
        """Sweep once. Raises AuditError where nothing could be swept."""
        from auditor.fleet import ledger, queries
        from auditor.fleet.sweep import Sweeper
        from auditor.scan import Scanner

        jobs = options.jobs(self.given["jobs"])
        cache = options.cache(self.given["cache_dir"], none=False)
        with (
            closing(Scanner(self.rules, jobs, progress, cache=cache)) as scanner,
            _engine(self.given, self.order, self.store, scanner) as engine,
        ):
            number = Sweeper(self.store, scanner, engine, self.order).run()
        if self.given["keep"] is not None:
            ledger.forget(self.store, _stamp(datetime.datetime.now(datetime.UTC) - self.given["keep"]))
        return next(row for row in queries.sweeps(self.store, str(self.order.scope)) if row.id == number)

    def watch(self, schedule: Schedule, sweep: Callable[[], SweepRow]) -> Watch:
        """Return a watch over the same registry, which shows of earlier sweeps what the store knows."""
        from auditor.fleet import queries
        from auditor.fleet.metrics import Metrics
        from auditor.fleet.watch import Watch

        scope = str(self.order.scope)
        watch = Watch(
            schedule, sweep, Metrics(scope, time.time), lambda: datetime.datetime.now(datetime.UTC), time.sleep,
            strict=self.given["strict"],
        )  # fmt: skip
        if last := queries.last_sweep(self.store, scope):
            watch.remember(last)
        return watch


def notifier(urls: Sequence[str]) -> Notifier:
    """Return what tells the receivers of --notify. Raises UsageError on a URL that nobody knows."""
    require_extra()
    from auditor.fleet.notify import Notifier

    return Notifier(urls)


@contextmanager
def setup(registry: str | None, given: Mapping[str, Any]) -> Iterator[Setup]:
    """Check the options and open the store. Raises UsageError before anything costly is done."""
    scope_and_more = _order(registry, given)
    order, settings, rules = scope_and_more
    with opened_store(given["store_url"]) as store:
        yield Setup(order, rules, given, store, options.severity(given["fail_on"] or settings.fail_on))


@contextmanager
def opened_store(url: str | None) -> Iterator[Store]:
    """Open the store, or say in one line what is missing for it."""
    require_extra()
    from auditor.fleet.store import Store

    with closing(Store(url)) as store:
        yield store


def require_extra() -> None:
    """Raise UsageError where the extra `fleet` is not installed."""
    from importlib.util import find_spec

    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise click.UsageError(
            f"`registry` needs {', '.join(missing)}, of the extra `fleet`: pip install 'image-audit[fleet]'"
        )


def _order(registry: str | None, given: Mapping[str, Any]) -> tuple[Order, Settings, Ruleset]:
    require_extra()
    from auditor.fleet.catalog import Choice, parse_scope
    from auditor.fleet.engine import Source
    from auditor.fleet.records import DEFAULT_BYTES
    from auditor.fleet.sweep import Order

    if (given["engine"] == "dask") != (given["scheduler"] is not None):
        raise click.UsageError("--engine dask and --scheduler ADDRESS go together")
    settings = load_settings(given["config_path"])
    scope = parse_scope(registry, given["lines"])
    rules = options.ruleset(settings, given["extra_rules"], given["only_rules"], given["exclude_rules"])
    baseline: Baseline | None = options.baseline(settings, given["baseline"])
    source = Source(scope.host, given["insecure"], given["ca"], given["rate"])
    order = Order(
        scope=scope,
        choice=Choice(settings.registries, given["repos"], given["tags"], given["newest"]),
        source=source,
        clock=lambda: _stamp(datetime.datetime.now(datetime.UTC)),
        selection=options.selection(settings, given, baseline),
        platform=given["platform"],
        base=given["base"],
        parallel=given["parallel"],
        fresh=given["no_cache"],
        record_bytes=DEFAULT_BYTES if given["cache_size"] is None else given["cache_size"],
    )
    return order, settings, rules


@contextmanager
def _engine(given: Mapping[str, Any], order: Order, store: Store, scanner: Scanner) -> Iterator[Engine]:
    from auditor.fleet.local import LocalEngine

    engine: LocalEngine | DaskEngine
    if given["engine"] == "dask":
        from auditor.fleet.dask_engine import DaskEngine

        engine = DaskEngine(
            given["scheduler"], order.source, scanner.ruleset, store.key,
            name=blake2s(order.scope_digest.encode(), key=store.key, digest_size=8).hexdigest(),
            parallel=order.parallel, progress=scanner.progress,
        )  # fmt: skip
    else:
        engine = LocalEngine(order.source, scanner, store.key, order.parallel)
    with closing(engine):
        yield engine


def _stamp(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
