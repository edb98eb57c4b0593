"""`image-audit rules`: the list, the page of a rule, and the proof of one's own."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditor.cli import group, rules
from auditor.detect.rule_files import rule_files
from auditor.detect.rules import Rule, builtin_rules, read_file
from auditor.rulebook.check import Checked
from tests.conftest import Cli, scrubbed

OWN = """
# ours
- id: acme-token
  name: Acme API token
  provider: acme
  severity: high
  confidence: high
  pattern: '\\bacme_[0-9A-Za-z]{32}\\b'
  keywords: [acme_]
  examples: ['ACME_TOKEN=acme_{base62:32}', 'token: "acme_{base62:32}"']
  counterexamples: ['acme_{base62:31}', 'acme_{base62:33}']
"""


def rule_file(**changes: str) -> str:
    """Return a file of one rule with some of its values replaced."""
    lines = textwrap.dedent(OWN).lstrip().splitlines()
    for key, value in changes.items():
        at = next(at for at, line in enumerate(lines) if line.startswith(f"  {key}:"))
        lines[at] = f"  {key}: {value}"
    return "\n".join(lines) + "\n"


def own(cli: Cli) -> Path:
    """Write a rule file without problems."""
    path = cli.folder / "own.yaml"
    path.write_text(rule_file())
    return path


def test_list_shows_every_rule_or_those_asked_for(cli: Cli) -> None:
    listed = cli("rules", "list", "--format", "json").json
    assert len(listed) >= 200
    assert {"id", "name", "provider", "severity", "confidence", "detector"} <= set(listed[0])  # type: ignore[index]
    chosen = cli("rules", "list", "--provider", "github", "--severity", "critical").out.splitlines()
    assert chosen[0].split() == ["ID", "SEVERITY", "CONFIDENCE", "PROVIDER", "NAME"]
    assert any(line.startswith("github-pat ") for line in chosen)
    assert all(line.split()[1:4:2] == ["critical", "github"] for line in chosen[1:])


def test_list_has_the_rules_of_the_config_file(cli: Cli) -> None:
    own(cli)
    (cli.folder / ".image-audit.yaml").write_text("rules: [own.yaml]\n")
    assert "acme-token" in cli("rules", "list").out
    assert "acme_****" in cli("rules", "show", "acme-token").out


def test_show_prints_the_page_of_a_rule(cli: Cli) -> None:
    done = cli("rules", "show", "github-pat")
    assert done.status == 0
    assert done.out.startswith("# GitHub personal access token (classic) (github-pat)\n")
    assert "https://github.com/settings/tokens" in done.out


def test_show_names_the_nearest_rule(cli: Cli) -> None:
    done = cli("rules", "show", "githb-pat")
    assert done.status == 2
    assert "did you mean 'github-pat'?" in done.err


def test_without_a_path_all_built_in_rules_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each one of them is proved in tests/detect/test_rules.py.
    def check(path: Path, cache: Path) -> Checked:
        return Checked(sum(isinstance(rule, Rule) for file in rule_files(path) for _, rule in read_file(file)), ())

    monkeypatch.setattr(rules, "check_path", check)
    done = CliRunner().invoke(group, ["rules", "check"], standalone_mode=False)
    assert (done.return_value, done.stdout) == (0, "")
    assert done.stderr == f"{len(builtin_rules()):,} rules checked, 0 problems\n"


def test_a_sound_rule_passes(cli: Cli) -> None:
    done = cli("rules", "check", own(cli))
    assert (done.status, done.out, done.err) == (0, "", "1 rule checked, 0 problems\n")


PROBLEMS: dict[str, tuple[dict[str, str], str]] = {
    "no match": (
        {"examples": "['acme_{base62:31}']"},
        "9: acme-token.examples[0]: the pattern does not match this example",
    ),
    "implausible": (
        {"examples": "['ghp_{base62:30}{crc32} acme_{base62:32}', 'acme_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx']"},
        "9: acme-token.examples[1]: the pattern matches this example, but entropy, placeholder or plausibility check",
    ),
    "other keyword": (
        {"keywords": "[other]"},
        "9: acme-token.examples[0]: this example contains none of the rule's keywords",
    ),
    "near miss": (
        {"counterexamples": "['acme_{base62:32}']"},
        "10: acme-token.counterexamples[0]: this counterexample matches",
    ),
    "too large": (
        {"pattern": "'acme_[0-9A-Za-z]{32}(?:.{900,1000}){99}'"},
        "7: acme-token.pattern: Vectorscan refuses the pattern",
    ),
    "empty": ({"pattern": "'.*'"}, "7: acme-token.pattern: the pattern matches the empty text"),
    "severity": ({"severity": "huge"}, "5: acme-token.severity: 'huge' is not one of"),
    "list": ({"provider": "[a]"}, "4: acme-token.provider: expected a text"),
    "template": ({"examples": "['acme_{base62:many}']"}, "9: acme-token.examples[0]: the template can't be filled"),
    "built-in": (
        {"pattern": r"'\bghp_[0-9A-Za-z]{36}'", "keywords": "[ghp_]", "examples": "['ghp_{base62:30}{crc32}']"},
        "9: acme-token.examples[0]: 'github-pat', which is more specific, matches this example",
    ),
}
"""Values that break the rule, and the beginning of the line that reports it."""


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory, kept: tuple[Path, ...]) -> tuple[int, list[str]]:
    """Exit code and output lines of one check of all broken files, each with a token of its own: acme0, acme1, …"""
    folder = tmp_path_factory.mktemp("rules")
    for number, (changes, _) in enumerate(PROBLEMS.values()):
        (folder / f"{number}.yaml").write_text(rule_file(**changes).replace("acme", f"acme{number}"))
    done = Cli(scrubbed(tmp_path_factory.mktemp("home"), kept), folder)("rules", "check", folder)
    return done.status, done.out.replace(f"{folder}/", "").splitlines()


@pytest.mark.xdist_group("rule problems")  # they share one check
@pytest.mark.parametrize("problem", PROBLEMS)
def test_each_problem_is_named_with_its_line(reported: tuple[int, list[str]], problem: str) -> None:
    number, (_, message) = list(PROBLEMS).index(problem), PROBLEMS[problem]
    status, lines = reported
    expected = f"{number}.yaml:{message}".replace("acme", f"acme{number}")
    assert status == 1
    assert any(line.startswith(expected) for line in lines), "\n".join(lines)


def test_two_files_with_one_id(cli: Cli) -> None:
    (cli.folder / "again.yml").write_text(own(cli).read_text())
    done = cli("rules", "check", cli.folder)
    assert done.status == 1
    assert done.out.count("a rule of another file has this id") == 2


@pytest.mark.parametrize("text", [None, "a: 1", "["])
def test_what_can_not_be_read_is_2(cli: Cli, text: str | None) -> None:
    path = cli.folder / "own.yaml"
    if text is not None:
        path.write_text(text)
    done = cli("rules", "check", path)
    assert done.status == 2
    assert "own.yaml" in done.err and len(done.err.splitlines()) == 1


def test_explain_prints_what_decided_on_a_value(cli: Cli) -> None:
    done = cli("rules", "explain", "--value-stdin", "--path", "/app/a.yml", stdin=b"password = changeme\n")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("File class: CONFIG\n\ngeneric-password-unquoted: rejected\n")
    assert "heuristic:  placeholder" in done.out and "changeme" not in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_explain_as_json_masks_the_value(cli: Cli) -> None:
    done = cli("rules", "explain", "--value-stdin", "--format", "json", stdin=b"DB_PASSWORD=hunter2Gz9qLp")
    (rule,) = done.json["rules"]
    assert (rule["outcome"], rule["value"], done.json["file_class"]) == ("reported", "hu****", "CONFIG")
    assert "hunter2Gz9qLp" not in done.out


def test_explain_wants_a_value(cli: Cli) -> None:
    assert "expected a value of 1 to 65536 bytes" in cli("rules", "explain", "--value-stdin").err
    assert cli("rules", "explain").status == 2
