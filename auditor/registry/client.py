"""HTTP with one registry: URLs, authentication, retries, redirects. Source: OCI distribution-spec v1.1.

A registry names further URLs: redirects, its token server, the next page of a list, the location of an upload.
Credentials go only to the registry's own origin and to its token server, as with Docker. `address_guard` blocks URLs in
the user's own network.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from auditor.core.errors import AuditError, BlockedAddress, Damaged, NotFound, Temporary, Unauthorized, Unreachable
from auditor.core.limits import DEFAULT, Limits, limit_note
from auditor.registry.address_guard import RegistryGuard, display_origin, is_loopback, origin_of
from auditor.registry.authentication import Authenticator, Login, error_message, mask_credentials, stored_login
from auditor.registry.connection import ConnectionRules
from auditor.registry.http_session import (
    CONNECT_S,
    ProxyTable,
    innermost_cause,
    is_temporary,
    new_session,
    trusted_certificates,
)
from auditor.registry.reference import DOCKER_HUB
from auditor.registry.response_body import RegistryResponse, ResponseBody, Resume, read_all
from auditor.registry.retry import RETRIED, Clock, RateLimit, RetryBudget, RetryPolicy, retry_after_s

_AUTHENTICATIONS = 2  # another thread's token, used after a refusal, may have expired meanwhile
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_MESSAGE = 200


class Client:
    """HTTP client of one registry; authenticates when the registry asks for it. Thread-safe.

    `ca` is a file of certificates that replace the default ones; `rate` limits all requests, by a number a second or by
    a shared rate limit; `login` replaces the credentials that `docker login` stored.

    `open`, `head` and `document` are logical requests, with a new retry budget unless one is given. `call` and `ping`
    send one request without retries.
    """

    def __init__(
        self,
        host: str,
        *,
        insecure: bool = False,
        ca: Path | None = None,
        rate: float | AbstractContextManager[object] | None = None,
        login: Login | None = None,
        clock: Clock | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        self.host = host
        self.limits, self._clock = limits, clock or Clock()
        self._server = "registry-1.docker.io" if host == DOCKER_HUB else host
        self._guard = RegistryGuard(host)
        self._tokens: dict[str, str] = {}
        self._proxies = ProxyTable()
        self._login, self._ca, self._insecure = login, ca, insecure
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._answered = False
        self._base: str | None = None
        if isinstance(rate, int | float):
            rate = RateLimit(rate, self._clock, self._stopped)
        own = ConnectionRules(
            self._guard.check_own,
            limits.registry_time,
            limits.registry_headers,
            limit_note("registry-time"),
            limit_note("registry-headers"),
            rate or nullcontext(),
        )
        other = replace(own, check=self._guard.check_other)
        schemes = ("https://", "http://")
        # The registry's own connections are separate: a redirect to the same address must not reuse their check.
        self._session = new_session(
            {f"{scheme}{self._server}/": own for scheme in schemes} | dict.fromkeys(schemes, other)
        )

    def budget(self) -> RetryBudget:
        """Return the retry budget of a new logical request."""
        return RetryBudget(RetryPolicy.for_registry(self.limits), self._clock, self._stopped)

    def open(
        self, path: str, scope: str, *, size: int | None = None, budget: RetryBudget | None = None
    ) -> ResponseBody:
        """Open the body of `/v2/PATH`. Reads check its `size` if it is known.

        A broken connection resumes at its offset. Raises NotFound on 404, Unauthorized on 401 and 403, Damaged on a
        wrong size, BlockedAddress, and Unreachable on other failures.
        """
        budget = budget or self.budget()
        response = budget.run(lambda: self._fetched("GET", path, scope, {"Accept": "*/*"}))
        url = f"{self.host}/v2/{path}"
        stated = response.headers.get("Content-Length", "")
        if size is not None and stated.isdecimal() and int(stated) != size:
            response.close()
            raise Damaged(f"{url}: has {int(stated)} bytes, expected {size}")
        limit = self.limits.layer_bytes if size is None else size
        limit_name = limit_note("layer-bytes") if size is None else "that its manifest states"
        too_long = Damaged(f"{url}: has more than the {limit} bytes {limit_name}")
        resume = Resume(budget, lambda offset: self._reopen(path, scope, offset))
        return ResponseBody(response, url, limit, too_long, self.check, resume)

    def head(self, path: str, scope: str, *, accept: str) -> Mapping[str, str]:
        """Return the headers of `/v2/PATH`. Raises the errors of `open`."""
        with self.budget().run(lambda: self._fetched("HEAD", path, scope, {"Accept": accept})) as response:
            response.raw.drain_conn()  # no body follows; without this call the connection would be closed
            return response.headers

    def document(
        self, path: str, scope: str, *, accept: str = "*/*", budget: RetryBudget | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """Fetch a document and its headers. Raises the errors of `open`, and Damaged beyond the limit `json-bytes`."""
        return (budget or self.budget()).run(lambda: self._document(path, scope, accept))

    def call(self, method: str, path: str, scope: str, body: Any = None, **headers: str) -> RegistryResponse:
        """Send a request to `/v2/PATH`, or to an absolute URL of the registry's. A stream as `body` is read once.

        The caller checks the status. Raises Unauthorized on 401 and 403, Temporary on a temporary failure,
        BlockedAddress, Unreachable.
        """
        url = self._guard.resolve_url(self._base_url(), path)
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        response = self._send(method, url, scope, body, sent)
        if response.status_code == 401 and body is None:
            self._authenticate(response, scope)
            response = self._send(method, url, scope, body, sent)
        answer = self._read_response(response)
        if answer.status in (401, 403):
            raise Unauthorized(f"{self.host}: {answer.message} for {method}; run `docker login {self.host}`")
        if answer.status in RETRIED:
            raise self._temporary(answer, f"{self.host}: {answer.message} for {method}")
        return answer

    def ping(self) -> None:
        """Send a request without credentials. Raises Unreachable if no response comes."""
        self._send_once("GET", self._base_url(), {}).close()

    def stop(self) -> None:
        """End the requests and downloads of other threads with an AuditError."""
        self._stopped.set()

    def check(self) -> None:
        """Raise AuditError after `stop` was called."""
        if self._stopped.is_set():
            raise AuditError(f"registry {self.host}: stopped")

    def _document(self, path: str, scope: str, accept: str) -> tuple[bytes, Mapping[str, str]]:
        response = self._fetched("GET", path, scope, {"Accept": accept})
        url, limit = f"{self.host}/v2/{path}", self.limits.json_bytes
        coding = response.headers.get("Content-Encoding", "identity")
        if coding.lower() != "identity":
            response.close()
            raise Damaged(f"{url}: has the Content-Encoding {coding!r:.40}, which was not requested")
        too_long = Damaged(f"{url}: a document of more than {limit} bytes {limit_note('json-bytes')}")
        return read_all(ResponseBody(response, url, limit, too_long, self.check)), response.headers

    def _reopen(self, path: str, scope: str, offset: int) -> requests.Response:
        """Open the rest of a body; a server without support for ranges sends all of it, with status 200."""
        response = self._fetched("GET", path, scope, {"Accept": "*/*", "Range": f"bytes={offset}-"})
        begin = response.headers.get("Content-Range", "")
        if response.status_code == 206 and not begin.startswith(f"bytes {offset}-"):
            response.close()
            raise Temporary(f"{self.host}/v2/{path}: the connection broke off, and the rest begins elsewhere")
        return response

    def _fetched(self, method: str, path: str, scope: str, headers: dict[str, str]) -> requests.Response:
        """Send a request without a body, authenticate if asked to, and return a successful response."""
        url = self._guard.own_url(self._base_url(), path)
        response = self._send(method, url, scope, None, headers)
        for _ in range(_AUTHENTICATIONS):
            if response.status_code != 401:
                break
            self._authenticate(response, scope)
            response = self._send(method, url, scope, None, headers)
        if response.status_code == 200 or (response.status_code == 206 and "Range" in headers):
            return response
        answer = self._read_response(response)
        if answer.status in (401, 403):
            raise Unauthorized(f"{self.host}: {answer.message} for {path}; run `docker login {self.host}`")
        if answer.status == 404:
            raise NotFound(f"{self.host}/v2/{path}: {answer.message}")
        message = f"{self.host}: {answer.message} for {path}"
        raise self._temporary(answer, message) if answer.status in RETRIED else Unreachable(message)

    def _temporary(self, answer: RegistryResponse, message: str) -> Temporary:
        return Temporary(message, retry_after_s(answer.headers.get("Retry-After"), self._clock.date()))

    def _send(self, method: str, url: str, scope: str, body: Any, headers: dict[str, str]) -> requests.Response:
        """Send a request and follow redirects. Only the registry's own origin receives its token."""
        own = origin_of(self._base_url())
        for _ in range(self.limits.registry_redirects + 1):
            self.check()
            self._guard.check_url(url, self._base_url(), "redirects to")
            token = {"Authorization": self._tokens[scope]} if origin_of(url) == own and scope in self._tokens else {}
            response = self._send_once(method, url, {**headers, **token}, data=body)
            location = response.headers.get("Location")
            if location is None or response.status_code not in _REDIRECTS or method not in ("GET", "HEAD"):
                return response
            response.close()
            url = self._guard.resolve_url(url, location)
        limit = self.limits.registry_redirects
        raise BlockedAddress(
            f"registry {self.host}: redirects more than {limit} times {limit_note('registry-redirects')}"
        )

    def _send_once(self, method: str, url: str, headers: Mapping[str, str], **more: Any) -> requests.Response:
        """Send one request; the body of its response is not read yet. Raises Temporary, Unreachable."""
        try:
            response = self._session.request(
                method,
                url,
                headers={"Accept-Encoding": "identity", **headers},
                timeout=(CONNECT_S, self.limits.registry_time),
                verify=trusted_certificates(url, self._ca),
                proxies=self._proxies.proxies(url),
                stream=True,
                allow_redirects=False,
                **more,
            )
        # ValueError: a Location that is not valid text.
        except (requests.RequestException, HTTPError, OSError, ValueError) as exc:
            origin = "" if urlsplit(url).netloc == self._server else f": {display_origin(url)}"
            kind = Temporary if is_temporary(exc, has_answered=self._answered) else Unreachable
            raise kind(f"registry {self.host}{origin} does not answer: {innermost_cause(exc)}") from exc
        self._answered = True
        return response

    def _read_response(self, response: requests.Response) -> RegistryResponse:
        """Read a complete response that is no document. A body beyond the limit of errors is discarded."""
        limit = self.limits.registry_error
        body = ResponseBody(response, f"registry {self.host}", limit, Damaged("too long"), self.check)
        note = ""
        try:
            data = read_all(body)
        except Damaged:
            data, note = b"", f"; its error has more than {limit} bytes {limit_note('registry-error')}"
        text = mask_credentials(error_message(data) or response.reason or "", self._login, *self._tokens.values())
        message = f"HTTP {response.status_code}: {text or response.status_code}"[:_MAX_MESSAGE] + note
        return RegistryResponse(response.status_code, response.headers, data, message)

    def _base_url(self) -> str:
        """Return `scheme://host/v2/`; plain HTTP only on loopback or with `insecure`."""
        if self._base is None:
            base, plain = f"https://{self._server}/v2/", f"http://{self._server}/v2/"
            if self._insecure or is_loopback(self.host):
                try:
                    # A TLS server answers a plain request with 400, or closes the connection.
                    with self._send_once("GET", plain, {}) as answer:
                        base = plain if answer.status_code in (200, 401, *RETRIED) else base
                except (Unreachable, Damaged):
                    pass
            self._base = base
        return self._base

    def _authenticate(self, response: requests.Response, scope: str) -> None:
        """Answer the challenge of a 401. Raises Unauthorized if the credentials are refused."""
        refused = response.request.headers.get("Authorization")
        response.close()
        with self._lock:
            if refused != self._tokens.get(scope):
                return  # another thread has a new token by now
            if self._login is None:
                self._login = stored_login(self.host)
            is_plain = self._base_url().startswith("http:")
            authenticator = Authenticator(self.host, is_plain, self._request_token)
            challenge = response.headers.get("WWW-Authenticate", "")
            self._tokens[scope] = authenticator.authorization(challenge, scope, self._login)

    def _request_token(self, method: str, realm: str, **more: Any) -> tuple[int, bytes, str]:
        """Send a request to the token server; return status, body and error message. Redirects are refused."""
        self._guard.check_url(realm, self._base_url(), "sends credentials to")
        response = self._send_once(method, realm, {}, **more)
        if response.status_code in _REDIRECTS:
            response.close()
            raise BlockedAddress(
                f"registry {self.host}: its token server {display_origin(realm)} redirects; "
                "refused to send the credentials there"
            )
        answer = self._read_response(response)
        if answer.status in RETRIED:
            raise self._temporary(answer, f"{self.host}: its token server answers {answer.message}")
        return answer.status, answer.body, answer.message
