"""Plugins of detect-secrets take whole tokens of their shape, and no parts of longer texts."""

from __future__ import annotations

import pytest

from auditor.detect.detect_secrets_plugins import load_plugins, secrets_in_line
from auditor.rulebook.examples import fill

load_plugins()


@pytest.mark.parametrize(
    ("plugin", "line"),
    [
        ("aws", "key {aws_key_id:AKIA}"),
        ("telegram", "{digits:9}:AA{base64url:32}x"),
        ("stripe", "'sk_live_{base62:24}'"),
    ],
)
def test_a_whole_token_is_taken(plugin: str, line: str) -> None:
    assert secrets_in_line(f"detect-secrets-{plugin}", fill(line, 3), "/srv/a.txt")


@pytest.mark.parametrize(
    ("plugin", "line"),
    [
        ("aws", "{base64:20}{aws_key_id:ASIA}{base64:20}"),
        ("aws", "EUR{aws_key_id:ASIA}"),
        ("telegram", "{digits:9}:{base62:33}xy"),
        ("stripe", "task_sk_live_{base62:24}"),
    ],
)
def test_a_part_of_a_longer_text_and_another_shape_are_not(plugin: str, line: str) -> None:
    assert secrets_in_line(f"detect-secrets-{plugin}", fill(line, 3), "/srv/a.txt") == []
