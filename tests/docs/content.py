"""Files that pages show, checked by what reads them: the loaders, the schemas, the inputs of the jobs in deploy/."""

from __future__ import annotations

import json
import re
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from auditor.config.file import load_config
from auditor.dockerfile.parser import parse
from auditor.findings.baseline import load_baseline
from auditor.rulebook.check import check_path
from tests.conftest import CACHE
from tests.docs.page import ROOT

# What a rule needs besides the keys that a page shows by themselves.
_RULE = """\
- id: acme-token
  name: Acme API token
  provider: acme
  severity: high
  confidence: high
  pattern: '\\bacme_[0-9A-Za-z]{32}\\b'
  keywords: [acme_]
  examples: ['ACME_TOKEN=acme_{base62:32}']
  counterexamples: ['acme_{base62:31}']
"""


def check(language: str, text: str) -> None:
    """Raises whatever its reader raises."""
    _READERS[language](text)


def _yaml(text: str) -> None:
    documents = list(yaml.safe_load_all(text))
    kinds = {_kind(document) for document in documents}
    assert len(kinds) == 1, f"documents of several kinds: {kinds}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "block.yaml"
        path.write_text(text)
        for document in documents:
            _CHECKS[kinds.copy().pop()](document, path)


def _kind(document: Any) -> str:
    """What a YAML document is, by its keys."""
    if isinstance(document, list):
        return "rules"
    assert isinstance(document, dict), "neither a mapping nor a list"
    keys = set(document)
    for kind, typical in _TYPICAL.items():
        if typical & keys:
            return kind
    if all(isinstance(value, dict) and "script" in value for value in document.values()):
        return "gitlab"
    return "config"


_TYPICAL: Mapping[str, frozenset[str]] = {
    "baseline": frozenset({"schema"}),
    "kubernetes": frozenset({"apiVersion"}),
    "workflow": frozenset({"jobs"}),
    "action steps": frozenset({"steps"}),
    "gitlab": frozenset({"include", "stages", "spec"}),
    "pre-commit": frozenset({"repos"}),
    "compose": frozenset({"services"}),
    "part of a rule": frozenset({"verify", "examples", "counterexamples", "pattern"}),
}


def _rules(_: Any, path: Path) -> None:
    problems = check_path(path, CACHE).problems
    assert problems == (), problems


def _part_of_a_rule(document: Mapping[str, Any], path: Path) -> None:
    (rule,) = yaml.safe_load(_RULE)
    path.write_text(yaml.safe_dump([rule | document]))
    _rules(document, path)


def _config(_: Any, path: Path) -> None:
    load_config(path)


def _baseline(_: Any, path: Path) -> None:
    load_baseline(path)


def _kubernetes(document: Mapping[str, Any], _: Path) -> None:
    if document["apiVersion"].startswith("kyverno.io/"):  # tests/attest/test_policy.py reads it further
        assert document["kind"] == "ClusterPolicy" and document["spec"]["rules"]
    elif not document["apiVersion"].startswith(
        "kubernetes.dask.org/"
    ):  # a custom resource, whose schema its operator has
        kubernetes_validate.validate(document, "1.31", strict=True)


def _workflow(document: Mapping[str, Any], _: Path) -> None:
    for job in document["jobs"].values():
        assert job["runs-on"]
        _steps(job, _)


def _steps(document: Mapping[str, Any], _: Path) -> None:
    known = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]
    for step in document["steps"]:
        assert ("run" in step) != ("uses" in step), step
        if "/image-audit@" in step.get("uses", ""):
            given = step.get("with", {})
            assert set(given) <= set(known), set(given) - set(known)
            assert all(name in given for name, one in known.items() if one.get("required")), "an input is missing"


def _gitlab(document: Mapping[str, Any], _: Path) -> None:
    for one in document.get("include", ()):
        if (ROOT / one["file"]).is_relative_to(ROOT / "deploy"):
            header = next(yaml.safe_load_all((ROOT / one["file"]).read_text()))
            known = header["spec"]["inputs"]
            assert set(one["inputs"]) <= set(known), set(one["inputs"]) - set(known)
            assert all(name in one["inputs"] for name, said in known.items() if "default" not in said)


def _pre_commit(document: Mapping[str, Any], _: Path) -> None:
    known = {hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    assert {hook["id"] for repo in document["repos"] for hook in repo["hooks"]} <= known


def _compose(document: Mapping[str, Any], _: Path) -> None:
    assert all("image" in service or "build" in service for service in document["services"].values())


_CHECKS: Mapping[str, Callable[[Any, Path], None]] = {
    "rules": _rules,
    "part of a rule": _part_of_a_rule,
    "config": _config,
    "baseline": _baseline,
    "kubernetes": _kubernetes,
    "workflow": _workflow,
    "action steps": _steps,
    "gitlab": _gitlab,
    "pre-commit": _pre_commit,
    "compose": _compose,
}


def _jsonc(text: str) -> None:
    json.loads(re.sub(r"(?<!:)//.*", "", text))


def _dockerfile(text: str) -> None:
    parse(text if re.search(r"^\s*FROM\b", text, re.MULTILINE | re.IGNORECASE) else f"FROM scratch\n{text}")


_READERS: Mapping[str, Callable[[str], object]] = {
    "yaml": _yaml,
    "json": json.loads,
    "jsonc": _jsonc,
    "toml": tomllib.loads,
    "dockerfile": _dockerfile,
}
