"""`image-audit recover`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import click

from auditor.cli import completion, options
from auditor.cli.examples import examples
from auditor.cli.option_types import Integer
from auditor.core.errors import UsageError
from auditor.core.options import AuditOptions
from auditor.core.output_file import open_output
from auditor.images.resolve import open_target
from auditor.images.source import Image
from auditor.rebuild.recover import PathVersions, choose, member_of, split_member


@examples(
    "image-audit recover app /root/.netrc",
    "image-audit recover app /app/.env --layer 3 -o old.env",
    'image-audit recover app.tar "/srv/site.zip!config/.env"',
)
@click.command()
@click.argument("target", shell_complete=completion.targets)
@click.argument("path")
@click.option("--layer", type=Integer(0), metavar="N", help="Layer of the file version, from 0.")
@click.option("--nth", type=Integer(1), metavar="N", help="Which of several entries of the path in that layer, from 1.")
@click.option(
    "-o", "output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write to FILE, not stdout."
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@options.limit_option
@options.platform_option
@options.merged(AuditOptions)
def command(
    target: str,
    path: str,
    layer: int | None,
    nth: int | None,
    output: Path | None,
    *,
    force: bool,
    options: AuditOptions,
) -> None:
    """Recover a deleted or overwritten file: its content to standard output, or with its mode to FILE.

    If several versions exist, they are listed, and --layer chooses one. PATH!MEMBER recovers a member of an archive.
    """
    if output is not None and os.path.lexists(output) and not force:
        raise UsageError(f"{output}: exists already. Use --force to overwrite it")
    outer, member = split_member(path)
    versions = PathVersions(_only_image(target, options), outer, options.limits)
    chosen = choose(versions.versions(), layer, nth, outer)
    content: Iterable[bytes] = versions.read(chosen)
    if member is not None:
        content = [member_of(outer, iter(content), member, options.limits)]
    if output is None:
        _copy(content, sys.stdout.buffer)
        return
    with open_output(output, chosen.mode & 0o777) as out:  # without set-user-ID, set-group-ID and sticky bits
        _copy(content, out)


def _only_image(target: str, options: AuditOptions) -> Image:
    images = open_target(target, options.limits, platform=options.platform, insecure=options.insecure)
    if len(images) > 1:
        known = ", ".join(str(image.config.platform) if image.config.platform else str(image.id) for image in images)
        raise UsageError(f"{target}: contains several images ({known}). Choose one with --platform or a tag")
    return images[0]


def _copy(chunks: Iterable[bytes], out: IO[bytes]) -> None:
    for chunk in chunks:
        out.write(chunk)
    out.flush()
