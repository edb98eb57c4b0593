"""`image-audit history`."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import Any

import click

from auditor.cli import EXIT_CLEAN, EXIT_FAILED, completion, options
from auditor.cli.examples import examples
from auditor.config import resolve


@examples("image-audit history app", "image-audit history app.tar --base debian:13")
@click.command()
@click.argument("target", shell_complete=completion.files)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--base", metavar="IMAGE", help="The base image: its layers are marked as inherited.")
@options.cache_options
@options.cache_size_option
@options.limit_option
@options.platform_option
def command(target: str, form: str, **given: Any) -> int:
    """Show every step of an image as `docker history` does, secrets masked, and what each layer adds and wastes.

    HIDDEN is the content of a layer's files that later layers delete or overwrite: it is still in the image.
    """
    from auditor.cli.progress import progress
    from auditor.config.file import Settings, load_settings
    from auditor.pipeline import Audit, Failure, Request, audit_each
    from auditor.report import image_history
    from auditor.scan import Scanner
    from auditor.store.records import Records

    limits = resolve.limits(load_settings(None), given["limits"])
    with progress(quiet=False, verbose=False) as shown:
        cache = resolve.cache(given["cache_dir"])
        rules = resolve.ruleset(Settings(), cache=cache)
        with (
            closing(
                Scanner(rules, resolve.jobs(None), shown, cache=cache, search_content=False, limits=limits)
            ) as scanner,
            resolve.layer_store(None if given["no_cache"] else cache, options.warn, given["cache_size"]) as store,
        ):
            request = Request(given["platform"], given["base"], given["insecure"])
            results = list(audit_each(target, scanner, request, Records(scanner, store)))
    audits = [result for result in results if isinstance(result, Audit)]
    failures = [result for result in results if isinstance(result, Failure)]
    if not audits and failures:
        raise failures[0].error
    for failure in failures:
        options.warn(str(failure))
    width = shutil.get_terminal_size((80, 24)).columns
    table = image_history.render(audits, width=width, color=options.color())
    text = image_history.render_json(audits) if form == "json" else table
    click.echo(text, nl=False)
    return EXIT_FAILED if failures else EXIT_CLEAN
