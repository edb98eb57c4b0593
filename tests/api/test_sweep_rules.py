"""The digest of the rules of a sweep, with and without the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.api import rulesets
from auditor.api.sweep_rules import SweepRules
from auditor.core.errors import RuleError
from auditor.core.options import AuditOptions


def test_the_digest_is_that_of_the_rules_and_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = AuditOptions(cache_dir=tmp_path)
    digest = SweepRules(options).digest
    assert digest == rulesets.ruleset(options).digest
    with monkeypatch.context() as patched:
        patched.setattr(rulesets, "ruleset", None)
        assert SweepRules(options).digest == digest
    (kept,) = tmp_path.glob("*.digest")
    kept.write_bytes(kept.read_bytes()[:-1] + b"0")
    assert SweepRules(options).digest == digest, "a damaged file is not used"


def test_options_that_choose_rules_load_them(tmp_path: Path) -> None:
    default = SweepRules(AuditOptions(cache_dir=tmp_path))
    chosen = SweepRules(AuditOptions(cache_dir=tmp_path, only_rules=("github-pat",)))
    assert chosen.digest == chosen.ruleset.digest != default.digest
    for options in (
        AuditOptions(cache_dir=tmp_path, only_rules=("no-such-rule",)),
        AuditOptions(cache_dir=tmp_path, exclude_rules=("no-such-rule",)),
        AuditOptions(cache_dir=tmp_path, rules=(tmp_path / "missing.yaml",)),
    ):
        with pytest.raises((RuleError, OSError)):
            SweepRules(options)
