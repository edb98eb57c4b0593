"""`image-audit explore` without what it needs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from auditor.cli import group
from auditor.core.errors import UsageError
from auditor.explore.app import ExploreApp
from tests.images import image, layer, token

TERMINAL = SimpleNamespace(isatty=lambda: True)


def test_without_a_terminal_it_says_what_to_use_instead() -> None:
    done = CliRunner().invoke(group, ["explore", "image.tar"], standalone_mode=False)
    assert isinstance(done.exception, UsageError)
    assert "needs a terminal" in str(done.exception) and "\n" not in str(done.exception)


def test_it_opens_the_audit_of_the_target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> None:
    opened: list[ExploreApp] = []
    monkeypatch.setattr("auditor.cli.explore.sys", SimpleNamespace(stdin=TERMINAL, stdout=TERMINAL))
    monkeypatch.setattr(ExploreApp, "run", lambda app: opened.append(app))  # noqa: PLW0108 - a method
    archive = image(layer({"a": token()})).docker_archive(tmp_path / "image.tar")
    done = CliRunner().invoke(
        group, ["explore", str(archive), "--cache-dir", str(cache), "--no-cache"], standalone_mode=False
    )
    assert done.exception is None and done.return_value == 0
    assert len(opened[0].audit.findings) == 1


def test_without_the_extra_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.cli.explore.find_spec", lambda name: None if name == "textual" else importlib.util)
    done = CliRunner().invoke(group, ["explore", "image.tar"], standalone_mode=False)
    assert isinstance(done.exception, click.UsageError)
    assert "pip install '.[explore]'" in done.exception.message
