"""Fixes a Dockerfile in a folder, and checks what it claims."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from auditor.dockerfile.build_context import open_context
from auditor.dockerfile.check import check_file
from auditor.dockerfile.dockerignore import find_dockerignore
from auditor.dockerfile.fix.fixes import FixedFiles, fix_file
from auditor.dockerfile.fix.source_text import SourceText
from auditor.scan import Scanner
from tests.dockerfile.conftest import write


class Fixer:
    """`fix(text, files)` returns the result, after a check of the written files found just what the result says."""

    def __init__(self, folder: Path, scanner: Scanner) -> None:
        self.folder, self._scanner = folder, scanner

    def __call__(self, text: str, files: Mapping[str, str] | None = None) -> FixedFiles:
        path = self.folder / "Dockerfile"
        write(self.folder, {"Dockerfile": text, **(files or {})})
        context = open_context(path, None)
        ignored = find_dockerignore(path, self.folder)
        lines = ignored.read_text().splitlines() if ignored else []
        before = check_file(path, self._scanner)
        result = fix_file("Dockerfile", SourceText.of(text, "Dockerfile"), lines, context, self._scanner, lambda p: p)
        path.write_bytes(result.source.text.encode())
        if result.ignore_lines is not None:
            (ignored or self.folder / ".dockerignore").write_text("".join(f"{line}\n" for line in result.ignore_lines))
        assert check_file(path, self._scanner) == result.remaining
        assert len(before) == len(result.fixed) + len(result.unfixed)
        assert len(result.unfixed) == len(result.remaining) and all(reason for _, reason in result.unfixed)
        return result

    def text(self, text: str, files: Mapping[str, str] | None = None) -> str:
        """The fixed text of a Dockerfile with no problem left."""
        result = self(text, files)
        assert result.unfixed == ()
        return result.source.text

    def reason(self, text: str, files: Mapping[str, str] | None = None) -> str:
        """The only reason for which nothing is changed."""
        result = self(text, files)
        assert result.source.text == text and result.ignore_lines is None
        (reason,) = {reason for _, reason in result.unfixed}
        return reason


@pytest.fixture
def fix(tmp_path: Path, scanner: Scanner) -> Fixer:
    return Fixer(tmp_path, scanner)
