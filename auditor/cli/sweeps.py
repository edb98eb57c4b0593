"""The work of `image-audit registry scan` and `report`.

A sweep of unchanged tags takes little more than the start of the program: libraries that few sweeps need are imported
where they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click

from auditor.cli import EXIT_CLEAN, EXIT_FAILED, EXIT_FOUND
from auditor.cli import options as output
from auditor.cli.messages import warn
from auditor.cli.progress import progress
from auditor.cli.sweep_setup import check_report, failing_counts, open_setup, open_store, policy, write_report
from auditor.core.command_options import SweepOptions
from auditor.core.errors import UsageError
from auditor.core.finding import Severity
from auditor.core.text import plural
from auditor.fleet.dashboard import sweep_json
from auditor.fleet.dashboard.site_paths import image_page
from auditor.fleet.execution.attestor import Attestor
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import SweepRow

Notify = Callable[[SweepStore, SweepRow, Policy], list[str]]


def scan(registry: str | None, form: str, options: SweepOptions) -> int:
    """Sweep once, notify, write the dashboard, print the result; return the exit code."""
    notify = notifier(options, warn)
    with open_setup(registry, options) as setup:
        check_report(options.report_dir)
        with progress(quiet=options.quiet, verbose=options.verbose) as display:
            sweep = setup.run(display)
        for line in notify(setup.store, sweep, policy(options)):
            warn(line)
        write_report(setup.store, sweep, options)
        print_sweep(setup.store, sweep, form, options)
        counts = failing_counts(setup.store, sweep, options)
        status = _exit_code(sweep, counts, options.fail_on, strict=options.strict)
        return status if _attested(setup.plan.attestor, quiet=options.quiet) else status or EXIT_FAILED


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
        print_sweep(store, sweep, form, options)
        return check_audited(sweep)


def notifier(options: SweepOptions, say: Callable[[str], None]) -> Notify:
    """Return a function that sends the alerts of a sweep, and returns a line for each receiver that failed.

    The receivers are those of --notify and of the owners, which are ignored in a config file that was found.
    """
    owners = options.owners if options.untrusted_receivers is None else {}
    if options.untrusted_receivers is not None:
        say(f"{options.untrusted_receivers}: sends no alerts. Name the file with --config to use its notify and ticket")
    if not options.notify and not any(one.notify or one.ticket for one in owners.values()):
        return lambda *_: []
    # apprise and jinja2 take a tenth of a second.
    from auditor.fleet.service.notify import Notifier

    return Notifier(options.notify, owners).notify


def print_sweep(store: SweepStore, sweep: SweepRow, form: str, options: SweepOptions) -> None:
    """Print a sweep; images have pages where a dashboard was written."""
    own = policy(options)
    if form == "json":
        page = image_page if options.report_dir is not None else lambda _: None
        for text in sweep_json.sweep_text(store, sweep, page, own):
            click.echo(text, nl=False)
    elif not options.quiet:
        # rich takes a moment.
        from auditor.fleet.dashboard import sweep_table

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
    if partial := sweep.counts["partial"]:
        were = "image was" if partial == 1 else "images were"
        warn(f"{partial} {were} not read in full; `skipped` in the output counts the items that were not read")
    if strict and (failed or partial):
        return EXIT_FAILED
    return EXIT_FOUND if bad else EXIT_CLEAN


def check_audited(sweep: SweepRow) -> int:
    """Return EXIT_CLEAN if the sweep audited any image; else print the reason and return EXIT_FAILED."""
    if sweep.nothing_audited is None:
        return EXIT_CLEAN
    warn(sweep.nothing_audited)
    return EXIT_FAILED
