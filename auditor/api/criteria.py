"""Criteria of an audit, built from its options: rules, accepted findings, findings to show."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from auditor.core.clock import today
from auditor.core.errors import ConfigError
from auditor.core.options import AuditOptions, RuleReference
from auditor.core.text import nearest
from auditor.detect.detect_secrets_plugins import plugin_rules
from auditor.detect.rule_cache import cached_builtin_rules
from auditor.detect.rules import Ruleset, load_path, select
from auditor.dockerfile.problems import DockerfileRule
from auditor.findings.baseline import Baseline, load_baseline
from auditor.findings.selection import Selection


def ruleset(options: AuditOptions) -> Ruleset:
    """Load the built-in rules, the detect-secrets plugins and the user's rules; `only_rules` narrows them.

    Excluded rules stay in the set, so that ignored findings can be counted. Raises RuleError, and ConfigError where the
    config file names an unknown rule.
    """
    untrusted = (replace(rule, verify=None) for path in options.untrusted_rules for rule in load_path(path))
    own = (rule for path in options.rules for rule in load_path(path))
    rules = (*cached_builtin_rules(options.cache_dir), *plugin_rules(), *untrusted, *own)
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


def baseline(options: AuditOptions, written: Path | None = None) -> Baseline | None:
    """Load the baseline. It may be missing only where it is `written` at the end of the run."""
    path = options.baseline
    if path is None:
        return None
    if written is not None and not path.exists() and path.absolute() == written.absolute():
        return Baseline(path)
    return load_baseline(path)


def selection(options: AuditOptions, baseline: Baseline | None) -> Selection:
    """Return the findings to show, without expired entries of config file and baseline."""
    now = today()
    return Selection(
        options.states,
        options.min_confidence,
        options.exclude_paths,
        frozenset(options.exclude_rules),
        options.exclude_images,
        tuple(item for item in options.ignore if not item.has_expired(now)),
        baseline.active_ids(now) if baseline else frozenset(),
    )
