"""The command line in this process, with the scanner of all tests: it starts in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from auditor.api import components
from auditor.cli import EXIT_FAILED, group
from auditor.core.errors import AuditError
from auditor.scan import Scanner
from tests.conftest import Result

Command = Callable[..., Result]


@pytest.fixture
def attest(
    tmp_path: Path, scanner: Scanner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """`image-audit attest ARGUMENTS` in an empty folder, without the cache of layers."""

    @contextmanager
    def shared(*_: object) -> Iterator[Scanner]:
        yield scanner

    monkeypatch.setattr(components, "scanner", shared)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(*arguments: object, **environment: str) -> Result:
        with monkeypatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            try:
                words = [str(word) for word in ("attest", *arguments, "--no-cache")]
                status, error = group.main(words, standalone_mode=False), ""
            except (click.ClickException, AuditError) as exc:
                status, error = EXIT_FAILED, str(exc) or exc.__class__.__name__
        shown = capsys.readouterr()
        return Result(status, shown.out, shown.err + error, shown.out.encode())

    return run
