"""Check of rule files: every problem with its line, as `image-audit rules check` prints it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from auditor.core.dataclass import dataclass
from auditor.core.errors import RuleError
from auditor.core.yaml_file import YamlValue
from auditor.detect.rule_files import rule_files
from auditor.detect.rules import Rule, builtin_rules, read_file
from auditor.rulebook.example_check import Prover, RuleProblem, refused


@dataclass(frozen=True, slots=True)
class Checked:
    """Number of checked rules, and their problems as `file:line: rule.key: problem` in the order of the files."""

    rules: int
    problems: tuple[str, ...]


def check_path(root: Path, cache: Path | None = None) -> Checked:
    """Check a rule file, or the rule files of a folder. Raises RuleError where one is no list of rules."""
    files = rule_files(root)
    if not files:
        raise RuleError(f"{root}: no rule files found. Give a YAML file of rules, or a folder with such files")
    read = [entry for path in files for entry in read_file(path)]
    rules = [rule for _, rule in read if isinstance(rule, Rule)]
    found = _problems(rules, cache)
    problems: list[str] = []
    for node, item in read:
        if isinstance(item, RuleError):
            problems.append(str(item))
        else:
            problems += [_located(node, problem) for problem in found.get(item.id, ())]
    return Checked(len(rules), tuple(problems))


def _problems(rules: Sequence[Rule], cache: Path | None) -> dict[str, list[RuleProblem]]:
    """Return the problems of rules by their ids. The rules run together with the built-in ones, as in a scan."""
    problems: dict[str, list[RuleProblem]] = {}
    accepted = rules
    try:
        prover = Prover(rules, builtin_rules(), cache)
    except RuleError:
        problems = {key: [RuleProblem("pattern", None, reason)] for key, reason in refused(rules).items()}
        accepted = [rule for rule in rules if rule.id not in problems]
        prover = Prover(accepted, builtin_rules(), cache)
    for rule in accepted:
        problems.setdefault(rule.id, []).extend(prover.problems(prover.ruleset.by_id[rule.id]))
    for rule_id, count in Counter(rule.id for rule in rules).items():
        if count > 1:
            problems[rule_id] = [RuleProblem("id", None, "a rule of another file has this id")]
    return problems


def _located(node: YamlValue, problem: RuleProblem) -> str:
    """Return a problem with the line of the key or of the example."""
    value = node.mapping()[problem.key]
    if problem.item is not None:
        value = value.items()[problem.item]
    return f"{value.place}: {value.name}: {problem.message}"
