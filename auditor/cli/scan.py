"""`image-audit scan`."""

from __future__ import annotations

import datetime
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import EXIT_CLEAN, EXIT_FAILED, EXIT_FOUND, options
from auditor.config import load_settings
from auditor.report.output import FORMATS, format_of

if TYPE_CHECKING:
    from auditor.audit import Audit


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default=None, help="Of standard output.  [default: table]"
)
@click.option(
    "-o", "outputs", multiple=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write a report; the ending tells the format (.html .json). Repeatable.",
)  # fmt: skip
@click.option(
    "--fail-on", type=click.Choice(["critical", "high", "medium", "low", options.NEVER]), default=None,
    help="Exit with 1 on a finding at least that severe.  [default: high]",
)  # fmt: skip
@click.option("--state", metavar="STATE,...", help="Only deleted, overwritten, present, metadata.  [default: all]")
@click.option(
    "--min-confidence", type=click.Choice(["high", "medium", "low"]), default=None,
    help="Leave out what is less sure.  [default: medium]",
)  # fmt: skip
@click.option("--base", metavar="IMAGE", help="The base image: findings of its layers are marked as inherited.")
@click.option("--exclude-path", "exclude_paths", multiple=True, metavar="GLOB", help="Leave out files. Repeatable.")
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Instead of the .image-audit.yaml found."
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Threads that match.  [default: one a core]")
@click.option("--show-secrets", is_flag=True, help="Show secrets whole, in the report only.")
@click.option("--verify", is_flag=True, help="Ask the providers whether the secrets still work: one request a secret.")
@click.option("--strict", is_flag=True, help="Exit with 2 if anything was not read.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no table.")
@click.option("-v", "--verbose", is_flag=True, help="Say on standard error what is done.")
@options.cache_options
@options.rule_options
@options.platform_option
def command(targets: tuple[str, ...], outputs: tuple[Path, ...], **given: Any) -> int:
    """Audit images: which secrets can still be dug out, who added them, who hid them, how to get rid of them.

    TARGET is an image name or ID, docker-daemon:NAME, docker-archive:FILE, oci:DIR, oci-archive:FILE,
    docker://HOST/REPO:TAG, container:NAME, a path, or - for an archive on standard input.
    """
    from auditor.audit import Request, audit
    from auditor.cli.progress import progress
    from auditor.report.output import render, write_file
    from auditor.scan import Scanner
    from auditor.selection import Selection, fails

    settings = load_settings(given["config_path"])
    files = [(path, format_of(path)) for path in outputs]
    fail_on = options.severity(given["fail_on"] or settings.fail_on)
    selection = Selection(
        options.states(given["state"]),
        options.confidence(given["min_confidence"] or settings.min_confidence),
        (*settings.exclude_paths, *given["exclude_paths"]),
    )
    request = Request(given["platform"], given["base"], given["insecure"], selection)
    rules = options.ruleset(settings, given["extra_rules"], given["only_rules"], given["exclude_rules"])
    with progress(quiet=given["quiet"], verbose=given["verbose"]) as shown:
        cache = options.cache(given["cache_dir"], given["no_cache"])
        scanner = Scanner(rules, options.jobs(given["jobs"]), shown, cache=cache)
        audits = [result for target in targets for result in audit(target, scanner, request)]
        scanner.close()
    if given["verify"]:
        audits = _verified(audits)

    created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    color = sys.stdout.isatty()
    width = shutil.get_terminal_size((80, 24)).columns
    for path, form in files:
        text = render(form, audits, created, width=100, color=False, show_secrets=given["show_secrets"])
        write_file(path, text)
    form = given["form"] or "table"
    if not (given["quiet"] and form == "table"):
        click.echo(
            render(form, audits, created, width=width, color=color, show_secrets=given["show_secrets"]), nl=False
        )
    if given["strict"] and any(result.skipped for result in audits):
        click.echo("image-audit: not everything was read, see `skipped` in the report", err=True)
        return EXIT_FAILED
    return EXIT_FOUND if any(fails(result.findings, fail_on) for result in audits) else EXIT_CLEAN


def _verified(audits: list[Audit]) -> list[Audit]:
    from auditor.verify import Verifier, verified

    verifier = Verifier()
    return [replace(one, findings=verified(one.findings, one.ruleset.by_id, verifier)) for one in audits]
