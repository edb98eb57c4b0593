"""`image-audit scan`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import EXIT_CLEAN, EXIT_FAILED, EXIT_FOUND, completion, options
from auditor.cli.examples import examples
from auditor.config import resolve
from auditor.report.formats import REPORT_FORMATS, format_of_file

if TYPE_CHECKING:
    from auditor.api.audit import Options, Report


@examples(
    "image-audit scan app                          # of the engine, or a registry",
    "image-audit scan app.tar -o report.html -o report.json",
    "image-audit scan docker://registry.example.com/team/app:1.2",
    "docker save app | image-audit scan -",
)
@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=completion.files)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(REPORT_FORMATS)),
    default=None,
    help="Of standard output.  [default: table]",
)
@click.option(
    "-o", "outputs", multiple=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write a report; the ending tells the format: .html .json .sarif .md .xml (JUnit), "
    "gl-secret-detection-report.json. Repeatable.",
)  # fmt: skip
@options.audit_options
@click.option(
    "--dockerfile", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="The Dockerfile of the image: findings tell the line that brought them in.",
)  # fmt: skip
@click.option("--write-baseline", type=click.Path(path_type=Path), help="Write what is shown to a baseline.")
@click.option("--show-secrets", is_flag=True, help="Show secrets whole, in the report only.")
@click.option("--verify", is_flag=True, help="Ask the providers whether the secrets still work: one request a secret.")
@options.cache_options
@options.cache_size_option
@options.rule_options
@options.platform_option
def command(targets: tuple[str, ...], outputs: tuple[Path, ...], **given: Any) -> int:
    """Audit images: which secrets can still be dug out, who added them, who hid them, how to get rid of them.

    TARGET is an image name or ID, docker-daemon:NAME, docker-archive:FILE, oci:DIR, oci-archive:FILE,
    docker://HOST/REPO:TAG, container:NAME, a path, or - for an archive on standard input.
    """
    from auditor.api.audit import run
    from auditor.cli.progress import progress
    from auditor.core.output_file import write_output

    files = [(path, format_of_file(path)) for path in outputs]
    with progress(quiet=given["quiet"], verbose=given["verbose"]) as bar:
        report = run(targets, _options(given), bar, options.warn, given["write_baseline"])
    for failure in report.failures:
        options.warn(str(failure))
    for path, form in files:
        write_output(path, report.render(form.name), private=given["show_secrets"])
    shown = REPORT_FORMATS[given["form"] or "table"]
    if not (given["quiet"] and shown.for_terminal):
        width = shutil.get_terminal_size((80, 24)).columns
        click.echo(report.render(shown.name, width=width, color=options.color()), nl=False)
    if report.failures:
        return EXIT_FAILED
    if given["strict"] and report.skipped:
        click.echo("image-audit: not everything was read, see `skipped` in the report", err=True)
        return EXIT_FAILED
    if given["write_baseline"]:
        _write_baseline(given["write_baseline"], report, quiet=given["quiet"])
    return EXIT_FOUND if report.failed else EXIT_CLEAN


def _options(given: Mapping[str, Any]) -> Options:
    """Return what the Python API calls these options."""
    return {
        "platform": given["platform"],
        "base": given["base"],
        "insecure": given["insecure"],
        "states": options.states(given["state"]),
        "min_confidence": given["min_confidence"],
        "fail_on": given["fail_on"],
        "config": given["config_path"],
        "baseline": given["baseline"],
        "dockerfile": given["dockerfile"],
        "rules": given["extra_rules"],
        "only_rules": given["only_rules"],
        "exclude_rules": given["exclude_rules"],
        "exclude_paths": given["exclude_paths"],
        "limits": dict(given["limits"]),
        "jobs": given["jobs"],
        "cache": not given["no_cache"],
        "cache_dir": given["cache_dir"],
        "cache_size": given["cache_size"],
        "verify": given["verify"],
        "show_secrets": given["show_secrets"],
    }


def _write_baseline(path: Path, report: Report, *, quiet: bool) -> None:
    from auditor.findings.baseline import Baseline, load_baseline

    before = load_baseline(path) if path.exists() else Baseline(path)
    update = before.updated(report.images, report.baseline.entries if report.baseline else (), resolve.today())
    update.baseline.save()
    if not quiet:
        options.warn(f"{path}: {update.new} new, {update.kept} kept, {update.dropped} dropped")
