"""One HTTPS request to a provider at a public address, and its bounded response.

The request has a connection of its own, below requests and urllib3's pools: no redirect, ~/.netrc, proxy variable or
cookie takes part, and no line is logged. Messages of these libraries may quote the request, so that no cause is kept.
"""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPException

from urllib3.exceptions import HTTPError

from auditor.core.dataclass import dataclass
from auditor.core.errors import AuditError
from auditor.registry.address_guard import check_loopback, check_public
from auditor.registry.connection import ConnectionRules, Deadline, connection_classes
from auditor.registry.tls import provider_context
from auditor.verify.filled_request import FilledRequest

MAX_BODY = 64 << 10
"""Bytes of a body that are read; a longer body is discarded."""

_MAX_HEADERS = 64 << 10


@dataclass(frozen=True, slots=True)
class ProviderResponse:
    """Status and Retry-After of a response; its body if it was requested and is short enough."""

    status: int
    body: bytes | None
    retry_after: str | None


def send(request: FilledRequest, *, timeout_s: float, reads_body: bool) -> ProviderResponse | None:
    """Return the response; None if the address is blocked or no complete response arrives in time. Raises nothing."""
    check = check_loopback if request.is_loopback else check_public
    try:
        with Deadline(timeout_s) as deadline:
            rules = ConnectionRules(check, timeout_s, _MAX_HEADERS, deadline=deadline)
            return _exchange(request, rules, timeout_s, reads_body)
    except (AuditError, HTTPError, HTTPException, OSError, ValueError):
        return None


def _exchange(request: FilledRequest, rules: ConnectionRules, timeout_s: float, reads_body: bool) -> ProviderResponse:
    plain, secure = connection_classes(rules)
    connection = (
        secure(request.host, request.port, timeout=timeout_s, ssl_context=provider_context())
        if request.secure
        else plain(request.host, request.port, timeout=timeout_s)
    )
    with closing(connection):
        connection.request(
            request.method,
            request.path,
            request.body,
            dict(request.headers),
            preload_content=False,
            decode_content=False,
        )
        response = connection.getresponse()
        body = response.read(MAX_BODY + 1) if reads_body else None
        if body is not None and len(body) > MAX_BODY:
            body = None
        return ProviderResponse(response.status, body, response.headers.get("Retry-After"))
