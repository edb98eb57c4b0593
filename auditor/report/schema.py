"""JSON Schema of the JSON report, shipped with the package."""

from __future__ import annotations

import json
from typing import Any

from auditor.core.package_data import data_path


def report_schema() -> dict[str, Any]:
    """Return the schema of `image-audit/1`, JSON Schema draft 2020-12."""
    value: dict[str, Any] = json.loads(data_path("reports/schemas/image-audit-1.json").read_text())
    return value
