"""`image-audit explore`. The view needs the extra `explore`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import click

from auditor.api.audit import run
from auditor.cli import EXIT_CLEAN, completion, options
from auditor.cli.examples import examples
from auditor.cli.messages import warn
from auditor.cli.progress import progress
from auditor.core.errors import UsageError
from auditor.core.options import AuditOptions
from auditor.core.version import install_hint


@examples("image-audit explore app", "image-audit explore app.tar --min-confidence low")
@click.command()
@click.argument("target", shell_complete=completion.targets)
@options.min_confidence_option
@options.base_option
@options.exclude_path_option
@options.config_option
@options.baseline_option
@options.jobs_option
@options.memory_option
@options.limit_option
@options.cache_options
@options.cache_size_option
@options.rule_options
@options.platform_option
@options.merged(AuditOptions)
def command(target: str, options: AuditOptions) -> int:
    """Explore the layers, files and secrets of an image in the terminal, and recover files from them.

    The image is audited first; layers in the cache are not read again. ? lists the keys, q quits.
    """
    if find_spec("textual") is None:
        raise click.UsageError(f"`explore` needs textual of the extra `explore`. {install_hint('explore')}")
    if target == "-" or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("`explore` needs a terminal, and a target other than standard input. Use `image-audit scan`")
    with progress(quiet=False, verbose=False) as display:
        report = run([target], options, display, warn)
    if len(report.images) + len(report.failures) > 1:
        known = ", ".join(str(image.image.config.platform or image.image.id) for image in report.images)
        raise UsageError(f"{target}: contains several images ({known}). Choose one with --platform or a tag")
    # The extra is optional.
    from auditor.explore.app import ExploreApp
    from auditor.explore.file_contents import FileContents

    (audit,) = report.images
    app = ExploreApp(audit, FileContents(target, audit, options))
    app.run()
    if app.failure:
        raise app.failure
    return app.return_code or EXIT_CLEAN
