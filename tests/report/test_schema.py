"""The JSON Schema names the rows of the tables that reports show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditor.images.transports import TRANSPORTS
from auditor.provenance.databases import PACKAGE_DATABASES
from auditor.report.schema import report_schema


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
