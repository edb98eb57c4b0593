"""`image-audit cache`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click

from auditor.cli import options
from auditor.cli.examples import examples
from auditor.cli.messages import warn
from auditor.core.cache_folder import cache_folder
from auditor.store.layer_store import DEFAULT_BYTES, LayerStore


@examples("image-audit cache info")
@click.group()
def command() -> None:
    """Show or clear the cache of layers: a layer in the cache is not read again."""


@examples("image-audit cache info")
@command.command()
@options.cache_dir_option
def info(cache_dir: Path | None) -> None:
    """Show the path of the cache, the number of its layers, and its size."""
    with _opened(cache_dir) as store:
        usage = store.usage()
        click.echo(f"{store.path}: {usage.records} layers, {usage.bytes} bytes of at most {store.max_bytes}")


@examples("image-audit cache clear")
@command.command()
@options.cache_dir_option
def clear(cache_dir: Path | None) -> None:
    """Remove all layers from the cache. Compiled rules stay."""
    with _opened(cache_dir) as store:
        usage = store.usage()
        store.clear()
        click.echo(f"{store.path}: {usage.records} layers removed")


@contextmanager
def _opened(cache_dir: Path | None) -> Iterator[LayerStore]:
    with closing(LayerStore(cache_dir or cache_folder(), warn, DEFAULT_BYTES)) as store:
        yield store
