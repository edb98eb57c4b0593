"""Which rules look at a file because of its path."""

from __future__ import annotations

import pytest

from auditor.core.limits import DEFAULT
from auditor.detect.engines import Pass
from auditor.detect.path_rules import PathRules, path_rows
from auditor.detect.rules import builtin_rules, select

RULES = select(builtin_rules())


@pytest.fixture(scope="module")
def path_rules() -> PathRules:
    return PathRules(Pass.compiled(path_rows(RULES)), DEFAULT)


def test_a_file_is_called_by_its_own_path_and_not_by_that_of_the_one_before(path_rules: PathRules) -> None:
    called = path_rules.of(["srv/.vault_pass", "srv/app", "home/.htpasswd", "x"])
    assert {at: [RULES.rules[number].id for number in numbers] for at, numbers in called.items()} == {
        0: ["ansible-vault-password"],
        2: ["htpasswd-hash"],
    }


def test_a_line_break_in_a_path_is_no_border(path_rules: PathRules) -> None:
    assert set(path_rules.of(["srv/x\n.vault_pass", "a"])) == set()
