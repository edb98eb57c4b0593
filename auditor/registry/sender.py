"""Requests of one registry: to itself, its token server, its API and its storage.

Each request obeys one rate limit, the address checks, the proxies of the environment, and the host's certificates.
Credentials are a matter of the callers, `client` and `api_client`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from urllib3 import HTTPResponse, Timeout

from auditor.core.errors import AuditError, Damaged, Temporary, Unreachable
from auditor.core.limits import Limits, limit_note
from auditor.registry.address_guard import RegistryGuard, display_origin
from auditor.registry.connection import ConnectionRules
from auditor.registry.error_bodies import error_message
from auditor.registry.http_session import CONNECT_S, FAILURES, HttpSession, innermost_cause, is_temporary
from auditor.registry.response_body import RegistryResponse, ResponseBody, read_all
from auditor.registry.retry import Clock, RateLimit, RetryBudget, RetryPolicy, requested_wait_s
from auditor.registry.tls import RegistryTls

_MAX_MESSAGE = 200


class RequestSender:
    """Sends single requests for a registry `host`, which answers at `server`. Thread-safe.

    `ca` is a file of certificates that replace the default ones; `rate` limits all requests, by a number a second or by
    a shared rate limit.
    """

    def __init__(
        self,
        host: str,
        server: str,
        *,
        ca: Path | None = None,
        rate: float | AbstractContextManager[object] | None = None,
        clock: Clock | None = None,
        limits: Limits,
    ) -> None:
        self.host, self.server, self.limits = host, server, limits
        self.guard = RegistryGuard(host)
        self.stopped = threading.Event()
        self.clock = clock or Clock()
        self._timeout = Timeout(connect=CONNECT_S, read=limits.registry_time)
        self._policy = RetryPolicy.for_registry(limits)
        self._answered = False
        if isinstance(rate, int | float):
            rate = RateLimit(rate, self.clock, self.stopped)
        own = ConnectionRules(
            self.guard.check_own,
            limits.registry_time,
            limits.registry_headers,
            limit_note("registry-time"),
            limit_note("registry-headers"),
            rate or nullcontext(),
        )
        other = replace(own, check=self.guard.check_other)
        tls = RegistryTls.of_host(host, server, ca)
        self._session = HttpSession(lambda origin: own if tls.is_own(origin) else other, tls.context)

    def budget(self) -> RetryBudget:
        """Return the retry budget of a new logical request."""
        return RetryBudget(self._policy, self.clock, self.stopped)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | IO[bytes] | None = None
    ) -> HTTPResponse:
        """Send one request; the body of its response is not read yet. Raises Temporary, Unreachable, UsageError."""
        try:
            response = self._session.send(method, url, {"Accept-Encoding": "identity", **headers}, self._timeout, body)
        except FAILURES as exc:  # ValueError: a Location that is not valid text
            origin = "" if urlsplit(url).netloc == self.server else f": {display_origin(url)}"
            kind = Temporary if is_temporary(exc, has_answered=self._answered) else Unreachable
            proxy = self._session.failed_proxy(url, exc)
            place = f": the proxy {proxy}" if proxy else origin
            raise kind(f"registry {self.host}{place} does not answer: {innermost_cause(exc)}") from exc
        self._answered = True
        return response

    def read(self, response: HTTPResponse, secrets: Iterable[str]) -> RegistryResponse:
        """Read a complete response that is no document. A body beyond the limit of errors is discarded.

        `secrets` are masked in the message: some registries repeat credentials in their errors.
        """
        limit = self.limits.registry_error
        body = ResponseBody(response, f"registry {self.host}", limit, Damaged("too long"), self.check)
        note = ""
        try:
            data = read_all(body)
        except Damaged:
            data, note = b"", f"; its error has more than {limit} bytes {limit_note('registry-error')}"
        text = error_message(data) or response.reason or ""
        for secret in filter(None, secrets):
            text = text.replace(secret, "****")
        message = f"HTTP {response.status}: {text or response.status}"[:_MAX_MESSAGE] + note
        return RegistryResponse(response.status, response.headers, data, message)

    def document(self, response: HTTPResponse, name: str) -> bytes:
        """Read a JSON document, whose `name` begins the errors. Raises Damaged beyond the limit `json-bytes`."""
        limit = self.limits.json_bytes
        coding = response.headers.get("Content-Encoding", "identity")
        if coding.lower() != "identity":
            response.close()
            raise Damaged(f"{name}: has the Content-Encoding {coding!r:.40}, which was not requested")
        too_long = Damaged(f"{name}: a document of more than {limit} bytes {limit_note('json-bytes')}")
        return read_all(ResponseBody(response, name, limit, too_long, self.check))

    def temporary(self, answer: RegistryResponse, message: str) -> Temporary:
        """Return the error of a temporary failure, with the wait that the server asks for."""
        hint = "; `registry scan --rate N` sends fewer requests" if answer.status == 429 else ""
        return Temporary(f"{message}{hint}", requested_wait_s(answer.headers, self.clock.date()))

    def stop(self) -> None:
        """End the requests and downloads of other threads with an AuditError."""
        self.stopped.set()

    def check(self) -> None:
        """Raise AuditError after `stop` was called."""
        if self.stopped.is_set():
            raise AuditError(f"registry {self.host}: stopped")
