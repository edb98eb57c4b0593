"""Writes a Dockerfile with its context, and checks it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from auditor.dockerfile.check import check_file
from auditor.dockerfile.problems import DockerfileProblem
from auditor.scan import Scanner
from tests.images import token


class Check:
    """`check(text, files)` returns the problems of a Dockerfile in a folder with these files."""

    def __init__(self, folder: Path, scanner: Scanner) -> None:
        self.folder, self._scanner = folder, scanner

    def __call__(self, text: str, files: Mapping[str, str] | None = None) -> tuple[DockerfileProblem, ...]:
        write(self.folder, {"Dockerfile": text, **(files or {})})
        return check_file(self.folder / "Dockerfile", self._scanner)

    def rules(self, text: str, files: Mapping[str, str] | None = None) -> list[tuple[int, str]]:
        return [(problem.line, problem.rule.value) for problem in self(text, files)]


def write(folder: Path, files: Mapping[str, str]) -> None:
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


@pytest.fixture
def check(tmp_path: Path, scanner: Scanner) -> Check:
    return Check(tmp_path, scanner)


PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE " + "KEY-----\nb3BlbnNzaC1rZXktdjEA\n"


def env_file(seed: int = 1) -> str:
    return f"GITHUB_TOKEN={token(seed)}\n"
