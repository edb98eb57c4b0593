"""The ruleset of an audit, built from its options."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from auditor.core.errors import ConfigError
from auditor.core.options import AuditOptions, RuleReference
from auditor.core.text import nearest
from auditor.detect.rule_cache import default_rules
from auditor.detect.rules import Ruleset, load_path, select
from auditor.dockerfile.problems import DockerfileRule


def ruleset(options: AuditOptions) -> Ruleset:
    """Load the built-in rules, the detect-secrets plugins and the user's rules; `only_rules` narrows them.

    Excluded rules stay in the set, so that ignored findings can be counted. Raises RuleError, and ConfigError where the
    config file names an unknown rule.
    """
    untrusted = (replace(rule, verify=None) for path in options.untrusted_rules for rule in load_path(path))
    own = (rule for path in options.rules for rule in load_path(path))
    rules = (*default_rules(options.cache_dir), *untrusted, *own)
    _check_references(options.rule_references, dict.fromkeys((*(rule.id for rule in rules), *DockerfileRule)))
    checked = {reference.rule for reference in options.rule_references}
    return select(rules, options.only_rules, [rule for rule in options.exclude_rules if rule not in checked])


def _check_references(references: Iterable[RuleReference], known: Collection[str]) -> None:
    for reference in references:
        if reference.rule not in known:
            near = nearest(reference.rule, known) or ";"
            raise ConfigError(
                f"{reference.place}: unknown rule {reference.rule!r}{near} `image-audit rules list` shows all"
            )
