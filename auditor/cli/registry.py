"""`image-audit registry`."""

from __future__ import annotations

import datetime
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import EXIT_CLEAN, EXIT_FAILED, EXIT_FOUND, options, sweep_options, sweeping
from auditor.cli.examples import examples
from auditor.core.errors import UsageError

if TYPE_CHECKING:
    from auditor.core.finding import Severity
    from auditor.fleet.service.notify import Notifier
    from auditor.fleet.store.database import SweepStore
    from auditor.fleet.store.rows import SweepRow


@examples("image-audit registry scan registry.example.com --report site")
@click.group()
def command() -> None:
    """Audit a whole registry, once or on a schedule: what is new in it, what is gone, which images share a secret."""


@examples(
    "image-audit registry scan registry.example.com",
    "image-audit registry scan registry.example.com/team --newest 5 --report site",
)
@command.command()
@click.argument("registry", required=False, metavar="HOST[/PREFIX]")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@sweep_options.sweep_options
def scan(registry: str | None, form: str, **given: Any) -> int:
    """Audit every image of a registry, each layer once, and tell what is new since the last time.

    HOST[/PREFIX] is a registry, or the part of it below a prefix; with --from FILE, where the registry shows no
    catalog, it may be left out. A second sweep asks for tags and manifests alone.
    """
    from auditor.cli.progress import progress

    notifier = sweeping.notifier(given["notify"])
    with sweeping.setup(registry, given) as setup:
        sweeping.check_report(given["report_dir"])
        with progress(quiet=given["quiet"], verbose=given["verbose"]) as bar:
            sweep = setup.run(bar)
        for line in notifier.tell(setup.store, sweep):
            options.warn(line)
        sweeping.write_report(setup.store, sweep, given["report_dir"])
        _show(setup.store, sweep, form, paged=given["report_dir"] is not None, quiet=given["quiet"])
        return _status(sweep, setup.fail_on, strict=given["strict"])


@examples('image-audit registry watch registry.example.com --cron "0 */6 * * *"')
@command.command()
@click.argument("registry", required=False, metavar="HOST[/PREFIX]")
@click.option("--cron", required=True, metavar="EXPRESSION", help="When: '0 */6 * * *' is every six hours.")
@click.option("--timezone", default="UTC", metavar="ZONE", show_default=True, help="Of --cron, as Europe/Berlin.")
@click.option(
    "--jitter",
    type=click.IntRange(0, 86400),
    default=0,
    metavar="SECONDS",
    help="Put each sweep off by a random time up to that.",
)
@click.option("--now", "at_once", is_flag=True, help="Begin with a sweep.")
@click.option(
    "--listen",
    default="127.0.0.1:9464",
    metavar="HOST:PORT",
    show_default=True,
    help="Where /healthz and /metrics answer.",
)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@sweep_options.sweep_options
def watch(
    registry: str | None, form: str, cron: str, timezone: str, jitter: int, listen: str, *, at_once: bool, **given: Any
) -> int:
    """Audit a registry whenever it is time, until SIGTERM: docs/schedule.md says how to run it.

    Standard output has what `registry scan` prints, standard error logs as lines of JSON. The config file, the rules
    and the baseline are read anew for each sweep.
    """
    sweeping.require_extra()
    from auditor.fleet.service import health, schedule
    from auditor.fleet.service.logs import json_lines, log_event
    from auditor.fleet.service.watch import until_sigterm

    planned = schedule.parse_schedule(cron, timezone, jitter, datetime.datetime.now(datetime.UTC))
    address = health.parse_address(listen)
    sweeping.check_report(given["report_dir"])
    notifier = sweeping.notifier(given["notify"])
    with (
        json_lines(verbose=given["verbose"]),
        until_sigterm(),
        sweeping.setup(registry, given) as setup,  # so that what is wrong shows at once
        setup.alone(log_event) as lease,
    ):

        def sweep() -> SweepRow:
            lease.check()
            return _watched_sweep(registry, form, given, notifier)

        watched = setup.watch(planned, sweep)
        with health.serve(address, watched.pages()) as own:
            log_event("watching", registry=watched.metrics.registry, cron=cron, timezone=timezone, listen=own)
            watched.run(at_once=at_once)
    return EXIT_CLEAN


@examples("image-audit registry report registry.example.com --report site")
@command.command()
@click.argument("registry", required=False, metavar="HOST[/PREFIX]")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="No table.")
@sweep_options.report_option
@sweep_options.store_option
def report(registry: str | None, form: str, report_dir: Path | None, store_url: str | None, *, quiet: bool) -> int:
    """Show the last sweep again, and write the dashboard anew, from the store alone: the registry is not asked.

    Sweeps that left out a part (--repos, --tags, --newest, --platform, --from) count where there is none of all of it.
    HOST[/PREFIX] is named as it was for the sweep; where the store knows one registry it may be left out.
    """
    with sweeping.opened_store(store_url) as store:
        sweep = _last_sweep(store, registry)
        sweeping.write_report(store, sweep, report_dir)
        _show(store, sweep, form, paged=report_dir is not None, quiet=quiet)
        return _told_nothing(sweep)


def _watched_sweep(registry: str | None, form: str, given: Mapping[str, Any], notifier: Notifier) -> SweepRow:
    """Sweep once for a watch, with all that follows; what the options name is read anew."""
    from auditor.fleet.service.logs import LoggedProgress, log_event

    with sweeping.setup(registry, given, patient=True) as setup:
        row = setup.run(LoggedProgress())
        for line in notifier.tell(setup.store, row):
            log_event("not notified", logging.WARNING, reason=line)
        sweeping.write_report(setup.store, row, given["report_dir"])
        _show(setup.store, row, form, paged=given["report_dir"] is not None, quiet=given["quiet"])
        return row


def _show(store: SweepStore, sweep: SweepRow, form: str, *, paged: bool, quiet: bool) -> None:
    """Print a sweep; `paged` is whether its images have pages in a dashboard."""
    from auditor.fleet.dashboard import output
    from auditor.fleet.dashboard.site_paths import image_page

    if form == "json":
        document = output.document(store, sweep, image_page if paged else lambda _: None)
        click.echo(json.dumps(document, indent=2, ensure_ascii=True))
    elif not quiet:
        width = shutil.get_terminal_size((80, 24)).columns
        click.echo(output.render(store, sweep, width=width, color=options.color()), nl=False)


def _last_sweep(store: SweepStore, registry: str | None) -> SweepRow:
    """Return the newest sweep of a registry, of all of it if there is one.

    Raises UsageError where there is none, or several registries fit.
    """
    from auditor.fleet.store import queries

    known = {row.registry for row in queries.sweeps(store)}
    name = None if registry is None else registry.removeprefix("docker://").rstrip("/")
    if name is None and len(known) == 1:
        (name,) = known
    if name in known and (found := queries.last_sweep(store, name)):
        return found
    if not known:
        raise UsageError(f"store {store}: holds no finished sweep; run `image-audit registry scan` first")
    wanted = "name one of them" if name is None else f"no finished sweep of {name}"
    raise UsageError(f"store {store}: {wanted}; it knows {', '.join(sorted(known))}")


def _status(sweep: SweepRow, fail_on: Severity | None, *, strict: bool) -> int:
    from auditor.core.finding import Severity

    counts = sweep.counts
    bad = fail_on is not None and any(counts[one] for one in Severity if one.rank >= fail_on.rank)
    if sweep.nothing_audited and (counts["failed"] or not bad):  # else withdrawn images alone hold something
        return _told_nothing(sweep)
    if failed := counts["failed"]:
        options.warn(f"{failed} of the registry's references were not audited, see `failed`")
        if strict:
            return EXIT_FAILED
    return EXIT_FOUND if bad else EXIT_CLEAN


def _told_nothing(sweep: SweepRow) -> int:
    """Say why nothing was audited, and return the exit code; EXIT_CLEAN where something was."""
    if sweep.nothing_audited is None:
        return EXIT_CLEAN
    options.warn(sweep.nothing_audited)
    return EXIT_FAILED
