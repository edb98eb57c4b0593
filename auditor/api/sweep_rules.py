"""Rules of a sweep. A sweep of unchanged tags needs their digest alone, which is in the cache folder."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.core.cache_folder import read_cache_file, write_cache_file
from auditor.core.options import AuditOptions
from auditor.detect.rule_files import builtin_rules_key

if TYPE_CHECKING:
    from auditor.detect.rules import Ruleset


class SweepRules:
    """The ruleset of some options, and its digest. Raises RuleError and ConfigError as `rulesets.ruleset`."""

    def __init__(self, options: AuditOptions) -> None:
        self._options = options
        kept = _digest_file(options)
        data = read_cache_file(kept) if kept else None
        self.digest = self.ruleset.digest if data is None else data.decode("ascii", "replace")
        if kept and data is None:
            write_cache_file(kept, self.digest.encode())

    @functools.cached_property
    def ruleset(self) -> Ruleset:
        """The rules, loaded at the first use."""
        # Rules, and the checks of values that they name, take 0.06 s, which a sweep of unchanged tags need not pay.
        from auditor.api.rulesets import ruleset

        return ruleset(self._options)


def _digest_file(options: AuditOptions) -> Path | None:
    """Return the cache file of the digest, None where options add, choose or name rules.

    The digest then depends on the built-in rules alone, and no option can name an unknown rule.
    """
    chosen = (
        options.rules,
        options.untrusted_rules,
        options.only_rules,
        options.exclude_rules,
        options.rule_references,
    )
    return None if any(chosen) else options.cache_dir / f"rules-{builtin_rules_key()[:32]}.digest"
