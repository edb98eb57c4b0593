"""The built-in rules, ready to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.detect.rules import builtin_rules
from auditor.rulebook.example_check import Prover


@pytest.fixture(scope="session")
def prover(cache: Path) -> Prover:
    return Prover(builtin_rules(), cache=cache)
