"""The work of `image-audit registry watch`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from auditor.cli import EXIT_CLEAN
from auditor.cli.sweep_setup import SweepSetup, check_report, open_setup, policy, write_report
from auditor.cli.sweeps import notifier, print_sweep
from auditor.core.clock import utc_now
from auditor.core.command_options import SweepOptions, WatchOptions
from auditor.fleet.remediation.open_secrets import overdue_counts
from auditor.fleet.service import http_server, schedule
from auditor.fleet.service.logs import LoggedProgress, json_lines, log_event
from auditor.fleet.service.metrics import Metrics
from auditor.fleet.service.schedule import Schedule
from auditor.fleet.service.watch import Watch, until_sigterm
from auditor.fleet.store import queries
from auditor.fleet.store.rows import SweepRow


def watch(registry: str | None, form: str, load: Callable[[], WatchOptions]) -> int:
    """Sweep on a schedule until SIGTERM; `load` returns the merged options for each sweep."""
    first = load()
    planned = schedule.parse_schedule(first.cron, first.timezone, first.jitter, utc_now())
    address = http_server.parse_address(first.listen)
    check_report(first.report_dir)
    notifier(first, lambda _: None)  # a mistake in a URL shows at once
    with (
        json_lines(verbose=first.verbose),
        until_sigterm(),
        open_setup(registry, first) as setup,  # at once, so that mistakes in the options show at once
        setup.lease(log_event) as lease,
    ):

        def sweep() -> SweepRow:
            lease.check()
            return _watched_sweep(registry, form, load(), watched.metrics)

        watched = _watch(setup, planned, sweep)
        with http_server.serve(address, http_server.by_path(watched.pages())) as own:
            log_event(
                "watching", registry=watched.metrics.registry, cron=first.cron, timezone=first.timezone, listen=own
            )
            watched.run(at_once=first.now)
    return EXIT_CLEAN


def _watched_sweep(registry: str | None, form: str, options: SweepOptions, metrics: Metrics) -> SweepRow:
    notify = notifier(options, lambda line: log_event("not notified", logging.WARNING, reason=line))
    with open_setup(registry, options, wait_for_store=True) as setup:
        row = setup.run(LoggedProgress())
        metrics.show_overdue(overdue_counts(setup.store, row, policy(options)))
        for line in notify(setup.store, row, policy(options)):
            log_event("not notified", logging.WARNING, reason=line)
        if setup.plan.attestor is not None:
            for line in setup.plan.attestor.problems:
                log_event("not attested", logging.WARNING, reason=line)
            log_event("attested", manifests=setup.plan.attestor.attested)
        write_report(setup.store, row, options)
        print_sweep(setup.store, row, form, options)
        return row


def _watch(setup: SweepSetup, schedule: Schedule, sweep: Callable[[], SweepRow]) -> Watch:
    """Return a watch over the registry; its metrics start from the last sweep with the same filters."""
    scope = str(setup.plan.scope)
    watch = Watch(schedule, sweep, Metrics(scope, time.time), utc_now, time.sleep, strict=setup.options.strict)
    alike = [row for row in queries.sweeps(setup.store, scope) if row.filter_text == setup.plan.filter_text]
    if alike:
        watch.load_previous(alike[-1])
        watch.metrics.show_overdue(overdue_counts(setup.store, alike[-1], policy(setup.options)))
    return watch
