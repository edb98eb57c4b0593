"""Rules with `paths` are selected by the path of a file."""

from __future__ import annotations

import pytest

from auditor.core.limits import DEFAULT
from auditor.detect.engines import matching_engine
from auditor.detect.path_rules import PathRules, path_expressions
from auditor.detect.rules import builtin_rules, select

RULES = select(builtin_rules())


@pytest.fixture(scope="module")
def path_rules() -> PathRules:
    return PathRules(matching_engine().compile(path_expressions(RULES)), DEFAULT)


def test_a_file_is_matched_by_its_own_path_and_not_by_the_one_before(path_rules: PathRules) -> None:
    selected = path_rules.of(["srv/.vault_pass", "srv/app", "home/.htpasswd", "x"])
    assert {at: [RULES.rules[number].id for number in numbers] for at, numbers in selected.items()} == {
        0: ["ansible-vault-password"],
        2: ["htpasswd-hash"],
    }


def test_a_line_break_in_a_path_does_not_begin_another_path(path_rules: PathRules) -> None:
    assert set(path_rules.of(["srv/x\n.vault_pass", "a"])) == set()
