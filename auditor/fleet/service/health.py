"""Health page: whether the last sweep or update succeeded, with times but no findings."""

from __future__ import annotations

import json
from typing import Any

from auditor.fleet.service.http_server import TEXT, Page


def health(*, failing: str | None, **more: Any) -> Page:
    """Return the page /healthz: status 200, or 503 with the reason of the last failure."""
    body = {"status": "failing" if failing else "ok", "reason": failing, **more}
    return Page(503 if failing else 200, "application/json", json.dumps(body).encode())


def live() -> Page:
    """Return the page /livez: status 200 as long as the process serves pages."""
    return Page(200, TEXT, b"ok\n")
