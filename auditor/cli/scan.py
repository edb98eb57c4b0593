"""`image-audit scan`."""

from __future__ import annotations

import datetime
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import EXIT_CLEAN, EXIT_FAILED, EXIT_FOUND, completion, options
from auditor.config import load_settings
from auditor.report.output import FORMATS, format_of

if TYPE_CHECKING:
    from auditor.audit import Audit
    from auditor.baseline import Baseline


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=completion.files)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default=None, help="Of standard output.  [default: table]"
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
    from auditor.audit import Request, audit
    from auditor.cli.progress import progress
    from auditor.records import Records
    from auditor.report.output import Shown, render, write_file
    from auditor.scan import Scanner
    from auditor.selection import fails

    settings = load_settings(given["config_path"])
    files = [(path, format_of(path)) for path in outputs]
    fail_on = options.severity(given["fail_on"] or settings.fail_on)
    dockerfile = options.dockerfile(given["dockerfile"])
    cache = options.cache(given["cache_dir"], given["no_cache"])
    rules = options.ruleset(settings, given["extra_rules"], given["only_rules"], given["exclude_rules"], cache)
    baseline = options.baseline(settings, given["baseline"], given["write_baseline"])
    selection = options.selection(settings, given, baseline)
    request = Request(given["platform"], given["base"], given["insecure"], selection)
    with (
        progress(quiet=given["quiet"], verbose=given["verbose"]) as bar,
        closing(Scanner(rules, options.jobs(given["jobs"]), bar, cache=cache)) as scanner,
        options.layer_store(cache, given["cache_size"]) as store,
    ):
        records = Records(scanner, store, whole=given["show_secrets"] or given["verify"])
        audits = [result for target in targets for result in audit(target, scanner, request, records)]
    audits = options.sourced(dockerfile, options.held_against(baseline, settings, audits))
    if given["verify"]:
        if settings.rules and not settings.named:
            options.warn(f"{settings.path}: its rules ask no provider unless --config names it")
        audits = _verified(audits)

    created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    shown = Shown(fail_on=fail_on, show_secrets=given["show_secrets"])
    for path, form in files:
        write_file(path, render(form, audits, created, shown), private=given["show_secrets"])
    form = given["form"] or "table"
    if not (given["quiet"] and form == "table"):
        width = shutil.get_terminal_size((80, 24)).columns
        click.echo(render(form, audits, created, replace(shown, width=width, color=options.color())), nl=False)
    if given["strict"] and any(result.skipped for result in audits):
        click.echo("image-audit: not everything was read, see `skipped` in the report", err=True)
        return EXIT_FAILED
    if given["write_baseline"]:
        _write_baseline(given["write_baseline"], baseline, audits, quiet=given["quiet"])
    return EXIT_FOUND if any(fails(result.findings, fail_on) for result in audits) else EXIT_CLEAN


def _verified(audits: list[Audit]) -> list[Audit]:
    from auditor.verify import Verifier, verified

    verifier = Verifier()
    return [replace(one, findings=verified(one.findings, one.ruleset.by_id, verifier)) for one in audits]


def _write_baseline(path: Path, used: Baseline | None, audits: list[Audit], *, quiet: bool) -> None:
    from auditor.baseline import Baseline, load_baseline

    before = load_baseline(path) if path.exists() else Baseline(path)
    update = before.updated(audits, used.entries if used else (), options.today())
    update.baseline.save()
    if not quiet:
        options.warn(f"{path}: {update.new} new, {update.kept} kept, {update.dropped} dropped")
