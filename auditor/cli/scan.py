"""`image-audit scan`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from auditor.api.audit import Report, run
from auditor.cli import EXIT_CLEAN, EXIT_FAILED, EXIT_FOUND, completion, options
from auditor.cli.examples import examples
from auditor.cli.messages import warn
from auditor.cli.option_types import Word
from auditor.cli.progress import progress
from auditor.core.clock import today
from auditor.core.options import AuditOptions
from auditor.core.output_file import require_writable, write_output
from auditor.findings.baseline import Baseline, load_baseline
from auditor.report.formats import REPORT_FORMATS, ReportFormat, format_of_file
from auditor.report.render_options import RenderOptions


@examples(
    "image-audit scan app                          # the engine or a registry",
    "image-audit scan app.tar -o report.html -o report.json",
    "image-audit scan docker://registry.example.com/team/app:1.2",
    "docker save app | image-audit scan -",
)
@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=completion.targets)
@click.option("--format", "form", type=Word(list(REPORT_FORMATS)), help="Format of standard output.  [default: table]")
@click.option(
    "-o", "outputs", multiple=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write a report in the format of its ending: .html .json .sarif .md .xml (JUnit), "
    "gl-secret-detection-report.json. Repeatable.",
)  # fmt: skip
@options.audit_options
@click.option(
    "--dockerfile", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Dockerfile of the image: findings get the line of the instruction that added them.",
)  # fmt: skip
@click.option(
    "--template", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="FILE",
    help="Jinja2 template of --format template.",
)  # fmt: skip
@click.option("--all", "full", is_flag=True, help="Print every place and remedy, not only the first screen.")
@click.option("--write-baseline", type=click.Path(path_type=Path), help="Write the findings shown to a baseline.")
@click.option("--show-secrets", is_flag=True, help="Show whole secrets, in the report only.")
@click.option("--verify", is_flag=True, help="Ask providers whether secrets are valid: one request per secret.")
@options.cache_options
@options.cache_size_option
@options.rule_options
@options.platform_option
@options.merged(AuditOptions)
def command(
    targets: tuple[str, ...],
    form: str | None,
    outputs: tuple[Path, ...],
    write_baseline: Path | None,
    options: AuditOptions,
    template: Path | None,
    *,
    full: bool,
) -> int:
    """Audit images: find secrets in every layer, who added them, who hid them, and how to remove them.

    TARGET is an image name or ID, docker-daemon:NAME, docker-archive:FILE, oci:DIR, oci-archive:FILE,
    docker://HOST/REPO:TAG, container:NAME, a path, or - for an archive on standard input.
    """
    if template and form not in (None, "template"):
        raise click.UsageError(f"--template needs --format template, not --format {form}")
    files = [(path, format_of_file(path)) for path in outputs]
    for path in outputs:
        require_writable(path, "-o")
    with progress(quiet=options.quiet, verbose=options.verbose) as display:
        report = run(targets, options, display, warn, write_baseline)
    for failure in report.failures:
        warn(str(failure))
    for path, ending in files:
        write_output(path, ending.render(report.images, report.render_options), private=options.show_secrets)
        if options.verbose:
            warn(f"{path}: written")
    # The log of a build server can't be asked for the rest of a screen.
    one_screen = sys.stdout.isatty() and not full
    shown = replace(report.render_options, template=template, one_screen=one_screen, unfold=full)
    _print(report, REPORT_FORMATS["template" if template else form or "table"], shown, quiet=options.quiet)
    if report.failures:
        return EXIT_FAILED
    if options.strict and report.skipped:
        warn("not everything was read, and --strict is set: `skipped` in the report lists the parts and reasons")
        return EXIT_FAILED
    if write_baseline:
        _write_baseline(write_baseline, report, quiet=options.quiet)
    return EXIT_FOUND if report.failed else EXIT_CLEAN


def _print(report: Report, form: ReportFormat, shown: RenderOptions, *, quiet: bool) -> None:
    if not (quiet and form.for_terminal):
        shown = replace(shown, width=options.terminal_width(), color=options.color())
        options.print_text(form.render(report.images, shown))


def _write_baseline(path: Path, report: Report, *, quiet: bool) -> None:
    before = load_baseline(path) if path.exists() else Baseline(path)
    known = report.baseline.entries if report.baseline else ()
    update = before.updated([audit.for_baseline() for audit in report.images], known, today())
    update.baseline.save()
    if not quiet:
        warn(f"{path}: {update.new} new, {update.kept} kept, {update.dropped} dropped")
