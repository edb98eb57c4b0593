"""`image-audit explore` without what it needs."""

from __future__ import annotations

import importlib.util

import click
import pytest
from click.testing import CliRunner

from auditor.cli.explore import command
from tests.conftest import Cli


def test_without_a_terminal_it_ends_with_one_line(cli: Cli) -> None:
    done = cli("explore", "image.tar")
    assert done.status == 2 and done.out == ""
    assert done.err.count("\n") == 1 and "needs a terminal" in done.err


def test_without_the_extra_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.cli.explore.find_spec", lambda name: None if name == "textual" else importlib.util)
    done = CliRunner().invoke(command, ["image.tar"], standalone_mode=False)
    assert isinstance(done.exception, click.UsageError)
    assert "image-audit[explore]" in done.exception.message
