"""The work of `image-audit registry scan`, `watch` and `report`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import click

from auditor.cli import EXIT_CLEAN, EXIT_FAILED, EXIT_FOUND
from auditor.cli import options as output
from auditor.cli.messages import warn
from auditor.cli.progress import progress
from auditor.cli.sweep_setup import check_report, failing_counts, open_setup, open_store, policy, write_report
from auditor.core.clock import utc_now
from auditor.core.command_options import SweepOptions, WatchOptions
from auditor.core.errors import UsageError
from auditor.core.finding import Severity
from auditor.core.text import plural
from auditor.fleet.dashboard import sweep_json, sweep_table
from auditor.fleet.dashboard.site_paths import image_page
from auditor.fleet.execution.attestor import Attestor
from auditor.fleet.remediation.open_secrets import overdue_counts
from auditor.fleet.service import http_server, schedule
from auditor.fleet.service.logs import LoggedProgress, json_lines, log_event
from auditor.fleet.service.metrics import Metrics
from auditor.fleet.service.notify import Notifier
from auditor.fleet.service.watch import until_sigterm
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import SweepRow


def scan(registry: str | None, form: str, options: SweepOptions) -> int:
    """Sweep once, notify, write the dashboard, print the result; return the exit code."""
    notifier = _notifier(options, warn)
    with open_setup(registry, options) as setup:
        check_report(options.report_dir)
        with progress(quiet=options.quiet, verbose=options.verbose) as display:
            sweep = setup.run(display)
        for line in notifier.notify(setup.store, sweep, policy(options)):
            warn(line)
        write_report(setup.store, sweep, options)
        _print(setup.store, sweep, form, options)
        counts = failing_counts(setup.store, sweep, options)
        status = _exit_code(sweep, counts, options.fail_on, strict=options.strict)
        return status if _attested(setup.plan.attestor, quiet=options.quiet) else status or EXIT_FAILED


def watch(registry: str | None, form: str, load: Callable[[], WatchOptions]) -> int:
    """Sweep on a schedule until SIGTERM; `load` returns the merged options for each sweep."""
    first = load()
    planned = schedule.parse_schedule(first.cron, first.timezone, first.jitter, utc_now())
    address = http_server.parse_address(first.listen)
    check_report(first.report_dir)
    _notifier(first, lambda _: None)  # a mistake in a URL shows at once
    with (
        json_lines(verbose=first.verbose),
        until_sigterm(),
        open_setup(registry, first) as setup,  # at once, so that mistakes in the options show at once
        setup.lease(log_event) as lease,
    ):

        def sweep() -> SweepRow:
            lease.check()
            return _watched_sweep(registry, form, load(), watched.metrics)

        watched = setup.watch(planned, sweep)
        with http_server.serve(address, http_server.by_path(watched.pages())) as own:
            log_event(
                "watching", registry=watched.metrics.registry, cron=first.cron, timezone=first.timezone, listen=own
            )
            watched.run(at_once=first.now)
    return EXIT_CLEAN


def _watched_sweep(registry: str | None, form: str, options: SweepOptions, metrics: Metrics) -> SweepRow:
    notifier = _notifier(options, lambda line: log_event("not notified", logging.WARNING, reason=line))
    with open_setup(registry, options, wait_for_store=True) as setup:
        row = setup.run(LoggedProgress())
        metrics.show_overdue(overdue_counts(setup.store, row, policy(options)))
        for line in notifier.notify(setup.store, row, policy(options)):
            log_event("not notified", logging.WARNING, reason=line)
        if setup.plan.attestor is not None:
            for line in setup.plan.attestor.problems:
                log_event("not attested", logging.WARNING, reason=line)
            log_event("attested", manifests=setup.plan.attestor.attested)
        write_report(setup.store, row, options)
        _print(setup.store, row, form, options)
        return row


def _attested(attestor: Attestor | None, *, quiet: bool) -> bool:
    """Print the number of attestations of a sweep and those that failed; return whether none failed."""
    if attestor is None:
        return True
    for line in attestor.problems:
        warn(line)
    if not quiet:
        warn(f"attested: {plural(attestor.attested, 'clean manifest')}")
    return not attestor.problems


def report(registry: str | None, form: str, options: SweepOptions) -> int:
    """Print the last sweep in the store, and write its dashboard; return the exit code."""
    with open_store(options.store) as store:
        sweep = last_sweep(store, registry)
        write_report(store, sweep, options)
        _print(store, sweep, form, options)
        return check_audited(sweep)


def _notifier(options: SweepOptions, say: Callable[[str], None]) -> Notifier:
    """Return the receivers of --notify and of the owners, which are ignored in a config file that was found."""
    if options.untrusted_receivers is None:
        return Notifier(options.notify, options.owners)
    say(f"{options.untrusted_receivers}: sends no alerts. Name the file with --config to use its notify and ticket")
    return Notifier(options.notify)


def _print(store: SweepStore, sweep: SweepRow, form: str, options: SweepOptions) -> None:
    """Print a sweep; images have pages where a dashboard was written."""
    own = policy(options)
    if form == "json":
        page = image_page if options.report_dir is not None else lambda _: None
        for text in sweep_json.sweep_text(store, sweep, page, own):
            click.echo(text, nl=False)
    elif not options.quiet:
        width, color = output.terminal_width(), output.color()
        output.print_text(sweep_table.render(store, sweep, own, width=width, color=color))


def last_sweep(store: SweepStore, registry: str | None) -> SweepRow:
    """Return the last sweep of a registry, preferably of the whole. Raises UsageError without a single match."""
    known = {row.registry for row in queries.sweeps(store)}
    name = None if registry is None else registry.removeprefix("docker://").rstrip("/")
    if name is None and len(known) == 1:
        (name,) = known
    if name in known and (found := queries.last_sweep(store, name)):
        return found
    if not known:
        raise UsageError(f"store {store}: no finished sweep. Run `image-audit registry scan` first")
    names = ", ".join(sorted(known))
    if name is None:
        raise UsageError(f"store {store}: has several registries. Name one of {names}")
    raise UsageError(f"store {store}: no finished sweep of {name}; it has sweeps of {names}")


def _exit_code(sweep: SweepRow, counts: Mapping[str, int], fail_on: Severity | None, *, strict: bool) -> int:
    """Return the exit code; `counts` are findings by severity, without acknowledged secrets."""
    bad = fail_on is not None and any(counts.get(one, 0) for one in Severity if one.rank >= fail_on.rank)
    if sweep.nothing_audited and (sweep.counts["failed"] or not bad):  # else only withdrawn images have findings
        return check_audited(sweep)
    if failed := sweep.counts["failed"]:
        what = "reference of the registry was" if failed == 1 else "references of the registry were"
        warn(f"{failed} {what} not audited; `failed` in the output lists them")
        if strict:
            return EXIT_FAILED
    return EXIT_FOUND if bad else EXIT_CLEAN


def check_audited(sweep: SweepRow) -> int:
    """Return EXIT_CLEAN if the sweep audited any image; else print the reason and return EXIT_FAILED."""
    if sweep.nothing_audited is None:
        return EXIT_CLEAN
    warn(sweep.nothing_audited)
    return EXIT_FAILED
