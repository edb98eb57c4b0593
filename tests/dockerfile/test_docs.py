"""docs/dockerfile.md shows a bad and a good example of every rule: they are held to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from auditor.dockerfile.problems import DockerfileRule
from tests.dockerfile.conftest import Check, env_file

PAGE = (Path(__file__).parents[2] / "docs" / "dockerfile.md").read_text()


@pytest.mark.parametrize("rule", DockerfileRule)
def test_the_bad_example_has_the_problem_and_the_good_one_none(check: Check, rule: DockerfileRule) -> None:
    section = PAGE.partition(f"### {rule}\n")[2].partition("\n#")[0]
    bad, good = re.findall(r"```dockerfile\n(.*?)```", section, re.DOTALL)
    files = {".dockerignore": ".env\n", "src/main.js": ""}
    assert rule in [problem.rule for problem in check(f"FROM debian\n{bad}", {".env": env_file()})]
    assert check(f"FROM debian\n{good}", files) == ()
