"""A scheduler or worker of Dask, run in a child of a fork server that has imported both already."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import dask
from distributed.config import initialize_logging

import auditor.fleet.execution.dask_worker  # noqa: F401 - the plugin of sweeps, which workers would import later


def run(
    program: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path, prelude: str
) -> None:
    """Run a program of `distributed.cli` after some Python statements; all its output goes to a log."""
    with log.open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    dask.config.refresh()
    initialize_logging(dask.config.config)
    exec(prelude, {})
    sys.argv = [program, *arguments]
    importlib.import_module(f"distributed.cli.{program}").main()
