"""JSON Schemas of the JSON formats, shipped with the package and published with the docs: draft 2020-12."""

from __future__ import annotations

import json
from typing import Any

from auditor.core.package_data import data_path


def json_schema(name: str) -> dict[str, Any]:
    """Return a schema by its name, such as `image-audit-history-1`."""
    value: dict[str, Any] = json.loads(data_path(f"reports/schemas/{name}.json").read_text())
    return value


def report_schema() -> dict[str, Any]:
    """Return the schema of the report, `image-audit/1`."""
    return json_schema("image-audit-1")
