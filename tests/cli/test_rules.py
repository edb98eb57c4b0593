"""`image-audit rules`: the list, the page of a rule, and the proof of one's own."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.conftest import Cli

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


def own(cli: Cli, **changes: str) -> Path:
    """A file of one rule, with lines of it changed."""
    lines = textwrap.dedent(OWN).lstrip().splitlines()
    for key, value in changes.items():
        at = next(at for at, line in enumerate(lines) if line.startswith(f"  {key}:"))
        lines[at] = f"  {key}: {value}"
    path = cli.folder / "own.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_list_shows_every_rule_or_those_asked_for(cli: Cli) -> None:
    rules = cli("rules", "list", "--format", "json").json
    assert len(rules) >= 200
    assert {"id", "name", "provider", "severity", "confidence", "detector"} <= set(rules[0])  # type: ignore[index]
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


def test_the_built_in_rules_hold(cli: Cli) -> None:
    done = cli("rules", "check")
    assert (done.status, done.out) == (0, "")


def test_a_sound_rule_passes(cli: Cli) -> None:
    assert cli("rules", "check", own(cli)).status == 0


@pytest.mark.parametrize(
    ("key", "value", "line", "message"),
    [
        ("examples", "['acme_{base62:31}']", 9, "the pattern does not match this example"),
        (
            "examples",
            "['ghp_{base62:30}{crc32} acme_{base62:32}', 'acme_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx']",
            9,
            "judged",
        ),
        ("keywords", "[other]", 9, "none of the rule's keywords"),
        ("counterexamples", "['acme_{base62:32}']", 10, "this near miss is found"),
        ("pattern", "'acme_[0-9A-Za-z]{32}(?:.{900,1000}){99}'", 7, "Vectorscan refuses the pattern"),
        ("pattern", "'.*'", 7, "matches the empty text"),
        ("severity", "huge", 5, "severity is 'huge'"),
        ("provider", "[a]", 4, "'provider' must be a text"),
        ("examples", "['acme_{base62:many}']", 9, "the template can't be filled"),
    ],
)
def test_each_problem_is_named_with_its_line(cli: Cli, key: str, value: str, line: int, message: str) -> None:
    path = own(cli, **{key: value})
    done = cli("rules", "check", path)
    assert done.status == 1
    assert done.out.startswith(f"{path}:{line}: acme-token: ")
    assert message in done.out


def test_an_example_that_a_built_in_rule_takes_is_named(cli: Cli) -> None:
    path = own(cli, pattern=r"'\bghp_[0-9A-Za-z]{36}'", keywords="[ghp_]", examples="['ghp_{base62:30}{crc32}']")
    assert "found as 'github-pat', which is more specific" in cli("rules", "check", path).out


def test_two_files_with_one_id(cli: Cli) -> None:
    (cli.folder / "again.yml").write_text(own(cli).read_text())
    done = cli("rules", "check", cli.folder)
    assert done.status == 1
    assert done.out.count("another file has a rule of this id") == 2


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
