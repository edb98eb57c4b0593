"""The JSON Schemas: one for each JSON format, valid, published with the docs, and kept by real output."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry

from auditor.core.package_data import data_path
from auditor.detect.heuristics.file_class import FileClass
from auditor.dockerfile.problems import DockerfileRule
from auditor.images.transports import TRANSPORTS
from auditor.provenance.databases import PACKAGE_DATABASES
from auditor.report.schema import json_schema, report_schema
from tests.conftest import Cli, Result
from tests.images import image, layer, token, whiteout
from tools.structure import PACKAGE

NAMES = sorted(path.stem for path in data_path("reports/schemas").iterdir())
UNPUBLISHED = {"image-audit-baseline/1", "image-audit-site/1"}
"""A YAML file with a page of its own, and the list of a dashboard's own files."""


def enums(node: Any, key: str) -> Iterator[list[str]]:
    """Yield the allowed values of each property of that name."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key and isinstance(value, dict) and "enum" in value:
                yield value["enum"]
            yield from enums(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from enums(value, key)


def test_transports() -> None:
    (known,) = enums(report_schema(), "transport")
    assert sorted(known) == sorted(TRANSPORTS)


def test_package_managers() -> None:
    (known,) = enums(report_schema(), "manager")
    assert sorted(known) == sorted(row.manager for row in PACKAGE_DATABASES)


def test_rules_of_dockerfiles_and_classes_of_files() -> None:
    assert list(enums(json_schema("image-audit-dockerfile-1"), "rule")) == [list(DockerfileRule)]
    assert list(enums(json_schema("image-audit-explanation-1"), "file_class")) == [[item.name for item in FileClass]]


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_valid_named_by_its_id_and_listed_in_the_docs(name: str) -> None:
    schema = json_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"https://image-audit.example/schemas/{name}.json"
    assert f"(../reports/schemas/{name}.json)" in (PACKAGE.parent / "docs" / "formats.md").read_text()


def test_every_format_that_names_itself_has_a_schema() -> None:
    sources = (path.read_text() for path in PACKAGE.rglob("*.py"))
    lines = (line for source in sources for line in source.splitlines() if line.startswith("SCHEMA = "))
    formats = {line.split('"')[1] for line in lines} - UNPUBLISHED
    named = {item for item in formats if item.startswith("image-audit")}
    assert {item.replace("/", "-") for item in named} <= set(NAMES)


def history(cli: Cli, target: Path) -> Result:
    return cli("history", target, "--format", "json")


def scan(cli: Cli, target: Path) -> Result:
    return cli("scan", target, "--format", "json")


def dockerfile(cli: Cli, _: Path) -> Result:
    (cli.folder / "Dockerfile").write_text(f"FROM a\nENV TOKEN={token(3)}\nCOPY a /a\nRUN rm /a\n")
    return cli("dockerfile", "Dockerfile", "--format", "json")


def proof(cli: Cli, target: Path) -> Result:
    done = cli("flatten", target, "-o", "flat.tar", "--proof", "proof.json", "--fail-on", "low")
    return Result(done.status, (cli.folder / "proof.json").read_text(), done.err, b"")


def config(cli: Cli, _: Path) -> Result:
    (cli.folder / ".image-audit.yaml").write_text("fail_on: low\nexclude: {paths: [/usr/**]}\nlimits: {members: 9}\n")
    return cli("config", "show", "--format", "json")


def rules(cli: Cli, _: Path) -> Result:
    return cli("rules", "list", "--format", "json")


def explanation(cli: Cli, _: Path) -> Result:
    text = f"token = {token(5)}\npassword = changeme\n"
    return cli("rules", "explain", "--value-stdin", "--format", "json", stdin=text.encode())


OUTPUTS: dict[str, Callable[[Cli, Path], Result]] = {
    "image-audit-1": scan,
    "image-audit-history-1": history,
    "image-audit-dockerfile-1": dockerfile,
    "image-audit-proof-1": proof,
    "image-audit-config-1": config,
    "image-audit-rules-1": rules,
    "image-audit-explanation-1": explanation,
}
ELSEWHERE = {
    "image-audit-sweep-1",
    "image-audit-where-1",
    "image-audit-plan-1",
    "image-audit-dashboard-1",
    "image-audit-attestation-1",
}
"""Schemas that tests of tests/fleet and tests/attest hold against their output."""


@pytest.mark.parametrize("name", OUTPUTS)
def test_output_keeps_its_schema(cli: Cli, name: str) -> None:
    secret = f"TOKEN={token(1)}\n"
    target = image(layer({"a.env": secret, "kept.env": secret}), layer(whiteout("a.env"))).docker_archive(
        cli.folder / "app.tar"
    )
    done = OUTPUTS[name](cli, target)
    document = json.loads(done.out)
    assert document and done.status in (0, 1), done.err
    schemas = Registry().with_contents((schema["$id"], schema) for schema in map(json_schema, NAMES))
    jsonschema.Draft202012Validator(json_schema(name), registry=schemas).validate(document)


def test_every_schema_is_held_against_output() -> None:
    assert set(OUTPUTS) | ELSEWHERE == set(NAMES)
