"""`image-audit recover`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from auditor.cli import completion, options
from auditor.cli.examples import examples
from auditor.config import resolve
from auditor.core.errors import UsageError
from auditor.core.limits import Limits


@examples(
    "image-audit recover app /root/.netrc",
    "image-audit recover app /app/.env --layer 3 -o old.env",
    'image-audit recover app.tar "/srv/site.zip!config/.env"',
)
@click.command()
@click.argument("target", shell_complete=completion.files)
@click.argument("path")
@click.option("--layer", type=click.IntRange(0), help="The layer that holds the version wanted, from 0.")
@click.option("--nth", type=click.IntRange(1), help="Which of several entries of the path in that layer, from 1.")
@click.option(
    "-o", "output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Instead of stdout."
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@options.limit_option
@options.platform_option
def command(
    target: str, path: str, output: Path | None, force: bool, limits: tuple[tuple[str, int], ...], **given: Any
) -> None:  # fmt: skip
    """Bring a deleted or overwritten file back: its bytes to standard output, or with its mode to FILE.

    Where several versions exist, they are listed, and --layer chooses one. PATH!MEMBER brings back what lies in an
    archive.
    """
    from auditor.config.file import load_settings

    if output is not None and os.path.lexists(output) and not force:
        raise UsageError(f"{output}: exists; --force overwrites it")
    _recover(target, path, output, resolve.limits(load_settings(None), limits), **given)


def _recover(
    target: str,
    path: str,
    output: Path | None,
    limits: Limits,
    *,
    layer: int | None,
    nth: int | None,
    platform: str | None,
    insecure: bool,
) -> None:
    from auditor.core.output_file import open_output
    from auditor.images.resolve import open_target
    from auditor.rebuild.recover import PathVersions, choose, member_of, split_member

    images = open_target(target, limits, platform=platform, insecure=insecure)
    if len(images) > 1:
        have = ", ".join(str(image.config.platform) if image.config.platform else str(image.id) for image in images)
        raise UsageError(f"{target}: several images; choose with --platform or a tag: {have}")
    outer, member = split_member(path)
    history = PathVersions(images[0], outer, limits)
    chosen = choose(history.versions(), layer, nth, outer)
    content: Iterable[bytes] = history.read(chosen)
    if member is not None:
        content = [member_of(outer, iter(content), member, limits)]
    if output is None:
        _copy(content, sys.stdout.buffer)
        return
    with open_output(output, chosen.mode & 0o777) as out:  # set-user-ID and the like are not given to what is dug out
        _copy(content, out)


def _copy(chunks: Iterable[bytes], out: object) -> None:
    for chunk in chunks:
        out.write(chunk)  # type: ignore[attr-defined]
    out.flush()  # type: ignore[attr-defined]
