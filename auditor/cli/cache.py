"""`image-audit cache`."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli import options
from auditor.cli.examples import examples
from auditor.config import resolve


@examples("image-audit cache info")
@click.group()
def command() -> None:
    """Show or clear what is kept of layers that were read: a layer whose bytes are known is not read again."""


@examples("image-audit cache info")
@command.command()
@options.cache_dir_option
def info(cache_dir: Path | None) -> None:
    """Say where the cache lies, how many layers it knows and how large it is."""
    with resolve.layer_store(resolve.cache(cache_dir), options.warn) as store:
        assert store is not None  # noqa: S101 - a folder was given
        usage = store.usage()
        click.echo(f"{store.path}: {usage.records} layers, {usage.bytes} bytes of at most {store.max_bytes}")


@examples("image-audit cache clear")
@command.command()
@options.cache_dir_option
def clear(cache_dir: Path | None) -> None:
    """Forget all layers. Compiled rules stay."""
    with resolve.layer_store(resolve.cache(cache_dir), options.warn) as store:
        assert store is not None  # noqa: S101 - a folder was given
        usage = store.usage()
        store.clear()
        click.echo(f"{store.path}: {usage.records} layers forgotten")
