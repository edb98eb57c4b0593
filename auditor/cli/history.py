"""`image-audit history`."""

from __future__ import annotations

from contextlib import closing

import click

from auditor.api import components, rulesets
from auditor.cli import EXIT_CLEAN, EXIT_FAILED, completion, options
from auditor.cli.examples import examples
from auditor.cli.messages import warn
from auditor.cli.progress import progress
from auditor.core.options import AuditOptions
from auditor.pipeline import Audit, Failure, Request, audit_each
from auditor.report import image_history
from auditor.scan import Scanner
from auditor.store.records import Records


@examples("image-audit history app", "image-audit history app.tar --base debian:13")
@click.command()
@click.argument("target", shell_complete=completion.targets)
@options.table_or_json_option
@click.option("--base", metavar="IMAGE", help="Base image: its layers are marked as inherited.")
@options.cache_options
@options.cache_size_option
@options.limit_option
@options.platform_option
@options.merged(AuditOptions)
def command(target: str, form: str, options: AuditOptions) -> int:
    """Show the steps of an image as `docker history` does, with masked secrets and the effect of each layer.

    HIDDEN is the content of a layer's files that later layers delete or overwrite: it is still in the image.
    """
    audits, failures = _audited(target, options)
    if not audits and failures:
        raise failures[0].error
    for failure in failures:
        warn(str(failure))
    _print(audits, form)
    return EXIT_FAILED if failures else EXIT_CLEAN


def _audited(target: str, options: AuditOptions) -> tuple[list[Audit], list[Failure]]:
    rules = rulesets.ruleset(AuditOptions(cache_dir=options.cache_dir))  # they mask secrets in the steps
    with (
        progress(quiet=False, verbose=False) as display,
        closing(
            Scanner(rules, options.jobs, display, cache=options.cache_dir, search_content=False, limits=options.limits)
        ) as scanner,
        components.layer_store(options, warn) as store,
    ):
        request = Request(options.platform, options.base, options.insecure)
        results = list(audit_each(target, scanner, request, Records(scanner, store)))
    return (
        [result for result in results if isinstance(result, Audit)],
        [result for result in results if isinstance(result, Failure)],
    )


def _print(audits: list[Audit], form: str) -> None:
    if form == "json":
        click.echo(image_history.render_json(audits), nl=False)
    else:
        options.print_text(image_history.render(audits, width=options.terminal_width(), color=options.color()))
