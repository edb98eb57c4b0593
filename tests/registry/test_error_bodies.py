"""Error bodies of the known registries become one message; others none."""

from __future__ import annotations

import json

import pytest

from auditor.registry.error_bodies import error_message
from auditor.registry.retry import requested_wait_s


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"errors": [{"code": "DENIED", "message": "access is denied"}]}, "DENIED access is denied"),
        ({"errors": [{"status": 401, "message": "Bad Credentials"}]}, "Bad Credentials"),
        ({"errors": [{"code": "TOOMANYREQUESTS", "message": "Rate exceeded"}]}, "TOOMANYREQUESTS Rate exceeded"),
        ({"details": "incorrect username or password"}, "incorrect username or password"),
        ({"detail": "Rate limit exceeded", "error": False}, "Rate limit exceeded"),
        ({"message": "404 Project Not Found"}, "404 Project Not Found"),
        ({"error": "insufficient_scope", "error_description": "needs read_api"}, "needs read_api"),
        ({"message": "Bad credentials", "documentation_url": "https://docs.example.com"}, "Bad credentials"),
        ({"error_message": "Not Found", "error_type": "not_found", "title": "not_found"}, "Not Found"),
        ({"error": {"code": 403, "message": "Permission denied", "status": "PERMISSION_DENIED"}}, "Permission denied"),
        ({"error": "invalid_token"}, "invalid_token"),
        ({"errors": []}, ""), ({"errors": "x"}, ""), ({"errors": [1]}, ""), ({"message": {"base": ["x"]}}, ""),
        ([], ""), ("text", ""), (None, ""), ({}, ""),
    ],
)  # fmt: skip
def test_the_message_of_an_error_is_found(document: object, message: str) -> None:
    assert error_message(json.dumps(document).encode()) == message


@pytest.mark.parametrize("body", [b"", b"<html>", b"Retry later\n", b"\xff\xfe", b"[" * 100_000])
def test_another_body_has_none(body: bytes) -> None:
    assert error_message(body) == ""


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2000"}, 7),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1060"}, 60),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "1060"}, 60),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "900"}, 0),
        ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "1060"}, 0),
        ({"RateLimit-Remaining": "0;w=21600"}, 0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, 0),
        ({}, 0),
    ],
)
def test_the_end_of_a_rate_limit_is_waited_for(headers: dict[str, str], wait_s: float) -> None:
    assert requested_wait_s(headers, now=1000) == wait_s
