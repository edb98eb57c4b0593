"""The pages about rules say what the rules say, and the documents are not stale."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from auditor.core.package_data import data_path
from auditor.detect.detect_secrets_plugins import plugin_rules
from auditor.detect.rule_files import rule_files
from auditor.detect.rules import CHECKS, builtin_rules
from auditor.rulebook.examples import ALPHABETS, MAKERS, fill, outline
from auditor.rulebook.rule_page import rule_page
from tests.detect.mutations import alphabet, secret_part
from tools import rules_page

DOCS = Path(__file__).parents[2] / "docs"
RULES = builtin_rules()


def test_the_list_of_rules_is_not_stale() -> None:
    assert (DOCS / "rules.md").read_text() == rules_page.page(rule_files(data_path("rules"))), "run `make docs`"


def test_the_guide_names_every_template_and_every_check() -> None:
    guide = (DOCS / "writing-rules.md").read_text()
    assert {name for name in (*ALPHABETS, *MAKERS, "crc32") if not re.search(rf"`{{{name}[:}}]", guide)} == set()
    assert {name for name in CHECKS if f"`{name}`" not in guide} == set()


@pytest.mark.parametrize("rule", [*RULES[::100], *plugin_rules()[:1]], ids=lambda rule: rule.id)
def test_a_page_has_all_its_parts(rule: object) -> None:
    text = rule_page(rule)  # type: ignore[arg-type]
    assert re.findall(r"^##? (.*)$", text, re.MULTILINE)[1:] == [
        "What it is",
        "Why it matters",
        "Example",
        "How to revoke it",
    ]


def test_no_page_shows_what_a_rule_would_find() -> None:
    # What takes any byte takes a mask too.
    tokens = [rule for rule in RULES if rule.is_token and len(alphabet(secret_part(rule.pattern))) < 256]
    assert len(tokens) > 200
    assert [rule.id for rule in tokens if re.search(rule.pattern, rule_page(rule))] == []


def test_an_outline_keeps_the_text_and_hides_what_would_be_drawn() -> None:
    template = "T=ghp_{base62:30}{crc32} {not_a_field} {base62}"
    assert outline(template) == "T=ghp_**** {not_a_field} {base62}"
    assert fill(template).endswith(" {not_a_field} {base62}")
