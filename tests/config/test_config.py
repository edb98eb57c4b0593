"""The config file: every key checked, at its line; what it ignores; and what of it holds."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

import pytest

from auditor.config.file import load_config
from auditor.config.keys import KEYS
from auditor.core.errors import ConfigError
from tests.conftest import Cli
from tests.images import image, layer, token
from tests.verify.provider import provider

SECRET, OTHER = token(81), token(82)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fail_on: high\nfail_onn: high\n", ":2: unknown key 'fail_onn'; did you mean 'fail_on'?"),
        ("a: b: c\n", ":1: not YAML"),
        ("- a\n", ":1: expected a mapping of keys"),
        ("\n\nfail_on: hihg\n", ":3: fail_on: 'hihg' is not one of critical, high, medium, low, never; did you mean"),
        ("images: layer2\n", ":1: images: expected a list"),
        ("images:\n- a\n- {b: c}\n", ":3: images[1]: expected a text"),
        ("exclude:\n  path: [a]\n", ":2: exclude: unknown key 'path'; did you mean 'paths'?"),
        ("exclude:\n  rules:\n  - generic-pasword\n", ":2: exclude.rules: unknown rule 'generic-pasword'; did"),
        ("images: [a]\nfail_on: low\nimages: [b]\n", ":3: images is set twice, first on line 1"),
        ("ignore:\n- reason: why\n", ":2: ignore[0]: expected at least one of path, rule, image"),
        ("ignore:\n- rule: github-patt\n", ":2: rule: unknown rule 'github-patt'; did you mean 'github-pat'?"),
        ("ignore:\n- path: a\n  expires: 2026-13-01\n", ":3: ignore[0].expires: '2026-13-01' is not a valid scalar"),
        ("registries:\n  r.example.com:\n    newst: 5\n", ":3: registries.r.example.com: unknown key 'newst'; did"),
        ("registries: {r.example.com: {newest: 0}}\n", ":1: registries.r.example.com.newest: expected a whole number"),
        ("hook: {strict: sometimes}\n", ":1: hook.strict: expected true or false"),
        ("&a [*a]\n", ":1: expected a mapping of keys"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(cli: Cli, text: str, message: str) -> None:
    (cli.folder / ".image-audit.yaml").write_text(text)
    done = cli("config", "show")
    assert done.status == 2 and len(done.err.splitlines()) == 1
    assert f".image-audit.yaml{message}" in done.err, done.err


def test_the_defaults_that_the_docs_name_are_those_that_hold(cli: Cli) -> None:
    values = cli("config", "show", "--format", "json").json["values"]
    defaults = {value["key"]: json.dumps(value["value"]).strip('"') for value in values}
    named = {key.name: key.default for key in KEYS if key.default}
    assert {name: defaults[name] for name in named} == named


@pytest.mark.parametrize("key", [key.name for key in KEYS])
def test_every_key_of_the_table_is_read(tmp_path: Path, key: str) -> None:
    place = key.replace("limits.*", "limits.members").replace("*", "r").replace("[]", "[0]")
    value: dict[str, object] = {"a": "kind that no key takes"}
    for part in reversed(place.split(".")):
        name = part.removesuffix("[0]")
        value = {name: value if name == part else [{"path": "a"} | value]}
    (tmp_path / "config.yaml").write_text(json.dumps(value))
    with pytest.raises(ConfigError, match=re.escape(f":1: {place}: ")):
        load_config(tmp_path / "config.yaml")


def test_an_empty_file_and_empty_keys_are_the_defaults(cli: Cli) -> None:
    for text in ("", "# nothing\n", "images:\nexclude:\nignore:\n"):
        (cli.folder / ".image-audit.yaml").write_text(text)
        values = cli("config", "show", "--format", "json").json["values"]
        assert {value["from"] for value in values} == {"default"}


def test_anchors_and_merged_keys_work(cli: Cli) -> None:
    (cli.folder / ".image-audit.yaml").write_text(
        "registries:\n  a.example.com: &a {newest: 5}\n  b.example.com: {<<: *a, repos: [team/*]}\n"
        "  c.example.com: {<<: [*a], newest: 7}\n"
    )
    values = {v["key"]: v["value"] for v in cli("config", "show", "--format", "json").json["values"]}
    assert values["registries"]["b.example.com"] == {"newest": 5, "repos": ["team/*"]}
    assert values["registries"]["c.example.com"] == {"newest": 7}, "its own keys win"


def test_config_show_tells_where_each_value_is_from(cli: Cli) -> None:
    (cli.folder / ".image-audit.yaml").write_text(
        "fail_on: low\nmin_confidence: low\nexclude:\n  paths: [/usr/**]\nbaseline: b.yaml\nhook: {strict: true}\n"
    )
    below = cli.folder / "below"
    below.mkdir()
    lower = Cli(cli.environment, below)
    done = lower("config", "show", "--fail-on", "critical", "--exclude-path", "/opt", "--format", "json")
    values = {v["key"]: (v["value"], v["from"]) for v in done.json["values"]}
    assert done.json["file"] == "../.image-audit.yaml"
    assert values["fail_on"] == ("critical", "command line")
    assert values["min_confidence"] == ("low", "../.image-audit.yaml:2")
    assert values["exclude.paths"] == (["/usr/**", "/opt"], "../.image-audit.yaml:4, command line")
    assert values["baseline"] == ("../b.yaml", "../.image-audit.yaml:5")
    assert values["hook.strict"] == (True, "../.image-audit.yaml:6")
    assert values["images"] == ([], "default")
    assert "min_confidence  low  (../.image-audit.yaml:2)" in lower("config", "show").out


class TestIgnored:
    @pytest.fixture
    def scan(self, cli: Cli):  # type: ignore[no-untyped-def]
        built = image(
            layer({"a/x.env": f"TOKEN={SECRET}\n", "b/x.env": f"TOKEN={OTHER}\n"}),
            config={"Env": [f"TOKEN={SECRET}"]},
            names=("registry.example.com/team/app:1",),
        )
        target = built.docker_archive(cli.folder / "app.tar")

        def scan(config: str, *options: str) -> tuple[list[str], dict[str, int]]:
            (cli.folder / ".image-audit.yaml").write_text(config)
            done = cli("scan", target, "--format", "json", *options)
            assert done.status == bool(done.json["findings"]), done.err
            self.err = done.err
            counted = {key: count for key, count in done.json["ignored"].items() if count}
            return [f["path"] or f["where"] for f in done.json["findings"]], counted

        return scan

    def test_by_path_rule_and_image(self, scan) -> None:  # type: ignore[no-untyped-def]
        everything = ["/a/x.env", "/b/x.env", "config.Env[0]"]
        assert scan("") == (everything, {})
        assert scan("exclude: {paths: [/a]}") == (everything[1:], {"path": 1})
        assert scan("", "--exclude-path", "x.env") == (everything[2:], {"path": 2})
        assert scan("exclude: {rules: [github-pat]}") == ([], {"rule": 3})
        assert scan("", "--exclude-rule", "github-pat") == ([], {"rule": 3})
        for glob in ("registry.example.com/team/*", "registry.example.com/team/app", "*:1"):
            assert scan(f"exclude: {{images: ['{glob}']}}") == ([], {"image": 3}), glob
        assert scan("exclude: {images: ['team/*', '*:2']}") == (everything, {})

    def test_an_entry_ignores_what_fits_all_of_it(self, scan) -> None:  # type: ignore[no-untyped-def]
        entry = "ignore: [{{path: /b, rule: 'github-*', image: '{}', reason: vendored}}]"
        assert scan(entry.format("*/team/app")) == (["/a/x.env", "config.Env[0]"], {"ignore": 1})
        assert scan(entry.format("*/other"))[1] == {}
        assert scan("ignore: [{path: /b, rule: 'gitlab-*'}]")[1] == {}

    def test_an_expired_entry_is_said_and_ignores_nothing(self, scan) -> None:  # type: ignore[no-untyped-def]
        today = datetime.datetime.now(datetime.UTC).date()
        assert scan(f"ignore:\n- path: /b\n  expires: {today}\n")[1] == {"ignore": 1}
        assert scan("ignore:\n- path: /b\n  expires: 2026-01-01\n")[1] == {}
        assert ".image-audit.yaml:2: expired on 2026-01-01; its findings are shown" in self.err


def test_rules_of_a_config_that_nobody_named_ask_no_provider(cli: Cli) -> None:
    secret = token(83, "acme_{base62:32}")
    rule = {
        "id": "acme-token", "name": "Acme token", "provider": "acme", "severity": "high", "confidence": "high",
        "pattern": r"acme_[0-9A-Za-z]{32}\b", "keywords": ["acme_"],
        "examples": ["T=acme_{base62:32}"], "counterexamples": ["T=acme_{base62:31}"],
    }  # fmt: skip
    target = image(layer({"a": f"T={secret}\n"})).docker_archive(cli.folder / "a.tar")
    (cli.folder / ".image-audit.yaml").write_text("rules: [rules.yaml]\n")
    scan = ("scan", target, "--verify", "--format", "json", "--rule", "acme-token")
    with provider() as here:
        here.live.add(secret)
        (cli.folder / "rules.yaml").write_text(json.dumps([rule | {"verify": here.rule()}]))
        found = cli(*scan)
        assert [f["verified"] for f in found.json["findings"]] == ["unknown"] and here.requests == []
        assert (
            found.err
            == "image-audit: rules.yaml: not used for --verify. Name the config file with --config to trust its rules\n"
        )
        named = cli(*scan, "--config", ".image-audit.yaml")
        assert named.err == "" and [f["verified"] for f in named.json["findings"]] == ["active"]
        assert len(here.requests) == 1


class TestOwners:
    TEXT = """
owners:
  registry.example.com/pay/**:
    team: payments
    notify: ["slack://opaque-token", $HOOK]
    ticket: {url: https://jira.example.com/rest/api/2/issue, template: jira, project: PAY, token: $JIRA}
  registry.example.com/**: {team: platform, ticket: {url: https://example.com/, template: own.j2}}
due: {critical: 3}
"""

    def test_they_have_receivers_and_tickets_and_due_dates_have_defaults(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text(self.TEXT)
        config = load_config(tmp_path / "c.yaml")
        pay, rest = config.owners.values()
        assert (pay.team, pay.notify) == ("payments", ("slack://opaque-token", "$HOOK"))
        assert pay.ticket is not None and (pay.ticket.project, pay.ticket.token) == ("PAY", "$JIRA")
        assert rest.ticket is not None and rest.ticket.template == str(tmp_path / "own.j2")
        assert {str(severity): days for severity, days in config.due.items()} == {
            "critical": 3, "high": 7, "medium": 30, "low": 90,
        }  # fmt: skip
        assert config.untrusted_receivers is None

    @pytest.mark.parametrize(
        ("owner", "message"),
        [
            ("{notify: []}", ":1: owners.g: expected the key team"),
            ("{team: ''}", ":1: owners.g.team: expected a text"),
            ("{team: t, ticket: {}}", ":1: owners.g.ticket: expected the key url"),
            ("{team: t, ticket: {url: u, template: jira}}", ":1: owners.g.ticket: expected the key project"),
            ("{teem: t}", ":1: owners.g: unknown key 'teem'; did you mean 'team'?"),
            ("{team: No owner}", ":1: owners.g.team: 'No owner' names the repositories without an owner"),
        ],
    )
    def test_mistakes_are_reported_at_their_line(self, tmp_path: Path, owner: str, message: str) -> None:
        (tmp_path / "c.yaml").write_text(f"owners: {{g: {owner}}}\n")
        with pytest.raises(ConfigError, match=re.escape(message)):
            load_config(tmp_path / "c.yaml")

    @pytest.mark.parametrize("days", [0, 3651, 10**9])
    def test_a_due_date_is_at_most_ten_years_away(self, tmp_path: Path, days: int) -> None:
        (tmp_path / "c.yaml").write_text(f"due:\n  high: 3650\n  critical: {days}\n")
        with pytest.raises(ConfigError, match=re.escape(":3: due.critical: expected a whole number from 1 to 3650")):
            load_config(tmp_path / "c.yaml")

    def test_a_file_that_was_found_names_no_receivers(self, tmp_path: Path) -> None:
        (tmp_path / ".image-audit.yaml").write_text(self.TEXT)
        assert load_config(start=tmp_path).untrusted_receivers is not None
        (tmp_path / ".image-audit.yaml").write_text("owners: {g: {team: t}}\n")
        assert load_config(start=tmp_path).untrusted_receivers is None

    def test_config_show_prints_no_url_of_a_receiver(self, cli: Cli) -> None:
        (cli.folder / "c.yaml").write_text(self.TEXT)
        shown = cli("config", "show", "--config", "c.yaml").out
        assert "team: payments, notify: 2 URLs, ticket: 1 URL" in shown and "due.critical    3  (c.yaml:8)" in shown
        assert "opaque-token" not in shown and "jira.example.com" not in shown
