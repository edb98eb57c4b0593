"""`image-audit history`."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import Any

import click

from auditor.cli import completion, options


@click.command()
@click.argument("target", shell_complete=completion.files)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--base", metavar="IMAGE", help="The base image: its layers are marked as inherited.")
@options.cache_options
@options.cache_size_option
@options.platform_option
def command(target: str, form: str, **given: Any) -> None:
    """Show every step of an image as `docker history` does, secrets masked, and what each layer adds and wastes.

    HIDDEN is the content of a layer's files that later layers delete or overwrite: it is still in the image.
    """
    from auditor.audit import Request, audit
    from auditor.cli.progress import progress
    from auditor.config import Settings
    from auditor.records import Records
    from auditor.report import history
    from auditor.scan import Scanner

    with progress(quiet=False, verbose=False) as shown:
        cache = options.cache(given["cache_dir"], given["no_cache"])
        rules = options.ruleset(Settings(), cache=cache)
        with (
            closing(Scanner(rules, options.jobs(None), shown, cache=cache, content=False)) as scanner,
            options.layer_store(cache, given["cache_size"]) as store,
        ):
            request = Request(given["platform"], given["base"], given["insecure"])
            audits = audit(target, scanner, request, Records(scanner, store))
    width = shutil.get_terminal_size((80, 24)).columns
    text = history.render_json(audits) if form == "json" else history.render(audits, width=width, color=options.color())
    click.echo(text, nl=False)
