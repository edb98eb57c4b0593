"""All that is wrong with files of rules, by line: what `image-audit rules check` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auditor.core.errors import RuleError
from auditor.detect.rules import Rule, builtin_rules, read_file, rule_files
from auditor.detect.yaml_lines import lines
from auditor.rulebook.example_check import Prover, RuleProblem, refused


@dataclass(frozen=True, slots=True)
class Checked:
    """How many rules were checked, and what is wrong: `file:line: rule: message`, in the order of the files."""

    rules: int
    problems: tuple[str, ...]


def check_path(root: Path, cache: Path | None = None) -> Checked:
    """Check a file of rules, or a folder of such files. Raises RuleError where one can't be read as a list of rules."""
    files = rule_files(root)
    if not files:
        raise RuleError(f"{root}: holds no rules; want a YAML file or a folder of them")
    read = {path: read_file(path) for path in files}
    rules = [rule for items in read.values() for rule in items if isinstance(rule, Rule)]
    wrong = _wrong(rules, cache)
    problems = [text for path, items in read.items() for text in _placed(path, items, wrong)]
    return Checked(len(rules), tuple(problems))


def _wrong(rules: Sequence[Rule], cache: Path | None) -> dict[str, list[RuleProblem]]:
    """Return what is wrong with rules, by their ids. They are run together with the built-in ones, as in a scan."""
    problems = {key: [RuleProblem(key, "pattern", None, reason)] for key, reason in refused(rules).items()}
    sound = [rule for rule in rules if rule.id not in problems]
    prover = Prover(sound, builtin_rules(), cache)
    for rule in sound:
        problems.setdefault(rule.id, []).extend(prover.problems(prover.ruleset.by_id[rule.id]))
    for name, count in Counter(rule.id for rule in rules).items():
        if count > 1:
            problems[name] = [RuleProblem(name, "id", None, "another file has a rule of this id")]
    return problems


def _placed(path: Path, items: Sequence[Rule | RuleError], wrong: Mapping[str, Sequence[RuleProblem]]) -> list[str]:
    """Return the problems of one file, each with its line."""
    if all(isinstance(item, Rule) and not wrong.get(item.id) for item in items):
        return []
    texts = []
    for item, place in zip(items, lines(path.read_bytes()), strict=True):
        if isinstance(item, RuleError):
            texts.append(str(item))
        else:
            texts += [
                f"{path}:{place.of(p.key, p.item)}: {p.rule}: {p.key}: {p.message}" for p in wrong.get(item.id, ())
            ]
    return texts
