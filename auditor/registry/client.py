"""HTTP with one registry: URLs, authentication, retries, redirects. Source: OCI distribution-spec v1.1.

A registry names further URLs: redirects, its token server, the next page of a list, the location of an upload.
Credentials go only to the registry's own origin and to its token server, as with Docker, and to the APIs that `listing`
names. `address_guard` blocks URLs in the user's own network.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import IO

from urllib3 import HTTPResponse

from auditor.core.dataclass import dataclass
from auditor.core.errors import BlockedAddress, Damaged, NotFound, Temporary, Unauthorized, Unreachable, Unsupported
from auditor.core.limits import DEFAULT, Limits, limit_note
from auditor.registry.address_guard import display_origin, is_loopback, is_same_origin
from auditor.registry.api_client import ApiClient
from auditor.registry.authentication import Authenticator, secrets_of
from auditor.registry.http_session import REDIRECTS
from auditor.registry.login_commands import login_command
from auditor.registry.logins import Login, stored_login
from auditor.registry.reference import DOCKER_HUB
from auditor.registry.response_body import RegistryResponse, ResponseBody, Resume
from auditor.registry.retry import RETRIED, UNSUPPORTED, Clock, RetryBudget, is_retried
from auditor.registry.sender import RequestSender

_AUTHENTICATIONS = 2  # another thread's token, used after a refusal, may have expired meanwhile
_TOKENS = 1_000  # of as many scopes, about 1 kB each; a sweep needs those of few repositories at a time
_LOGIN_AGE_S = 60.0  # after which stored credentials are read again if they are refused
_CREDENTIALS = ("Authorization", "JOB-TOKEN", "PRIVATE-TOKEN")


@dataclass(frozen=True, slots=True)
class _Reply:
    """A response, the URL that it came from after redirects, and the token that was sent for it."""

    response: HTTPResponse
    url: str
    token: str | None

    def asks_for_login(self, base: str) -> bool:
        """Whether the registry at `base` asks for a login. The challenge of another origin is not answered."""
        return self.response.status == 401 and is_same_origin(self.url, base)


class Client:
    """HTTP client of one registry; authenticates when the registry asks for it. Thread-safe.

    `path` is a repository or namespace, for which credentials may be stored. `ca` is a file of certificates that
    replace the default ones; `rate` limits all requests, by a number a second or by a shared rate limit; `login`
    replaces the stored credentials.

    `open`, `head`, `document`, `ping` and `authenticate` are logical requests, with a new retry budget unless one is
    given. `call` sends one request without retries.
    """

    def __init__(
        self,
        host: str,
        *,
        path: str = "",
        insecure: bool = False,
        ca: Path | None = None,
        rate: float | AbstractContextManager[object] | None = None,
        login: Login | None = None,
        clock: Clock | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        self.host = host
        self.limits = limits
        server = "registry-1.docker.io" if host == DOCKER_HUB else host
        self._sender = RequestSender(host, server, ca=ca, rate=rate, clock=clock, limits=limits)
        self._guard = self._sender.guard
        self._tokens: dict[str, str] = {}
        self._path, self._login, self._insecure = path, login, insecure
        self._login_end = float("inf") if login is not None else 0.0
        self._lock = threading.Lock()
        self._base: str | None = None

    @property
    def login(self) -> Login:
        """The given login, or the stored one. Raises Unauthorized if the stored ones are unreadable."""
        return self._read_login() if self._login is None else self._login

    @property
    def origin(self) -> str:
        """Scheme, host and port of the registry. Asks it, if plain HTTP is allowed."""
        return self._base_url().removesuffix("/v2/")

    def budget(self) -> RetryBudget:
        """Return the retry budget of a new logical request."""
        return self._sender.budget()

    def open(
        self, path: str, scope: str, *, size: int | None = None, budget: RetryBudget | None = None
    ) -> ResponseBody:
        """Open the body of `/v2/PATH`. Reads check its `size` if it is known.

        A broken connection resumes at its offset. Raises NotFound on 404, Unauthorized on 401 and 403, Unsupported on
        400, Damaged on a wrong size, BlockedAddress, and Unreachable on other failures.
        """
        budget = budget or self.budget()
        response = budget.run(lambda: self._fetched("GET", path, scope, {"Accept": "*/*"}))
        url = f"{self.host}/v2/{path}"
        stated = response.headers.get("Content-Length", "")
        if size is not None and stated.isdecimal() and (stated.lstrip("0") or "0") != str(size):
            response.close()
            raise Damaged(f"{url}: has {stated:.20} bytes, expected {size}")
        limit = self.limits.layer_bytes if size is None else size
        limit_name = limit_note("layer-bytes") if size is None else "that its manifest states"
        too_long = Damaged(f"{url}: has more than the {limit} bytes {limit_name}")
        resume = Resume(budget, lambda offset: self._reopen(path, scope, offset))
        return ResponseBody(response, url, limit, too_long, self._sender.check, resume)

    def head(self, path: str, scope: str, *, accept: str) -> Mapping[str, str]:
        """Return the headers of `/v2/PATH`. Raises the errors of `open`."""
        with closing(self.budget().run(lambda: self._fetched("HEAD", path, scope, {"Accept": accept}))) as response:
            response.drain_conn()  # no body follows; without this call the connection would be closed
            return response.headers

    def document(
        self, path: str, scope: str, *, accept: str = "*/*", budget: RetryBudget | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """Fetch a document and its headers. Raises the errors of `open`, and Damaged beyond the limit `json-bytes`."""
        return (budget or self.budget()).run(lambda: self._document(path, scope, accept))

    def call(
        self, method: str, path: str, scope: str, body: bytes | IO[bytes] | None = None, **headers: str
    ) -> RegistryResponse:
        """Send a request to `/v2/PATH`, or to an absolute URL of the registry's. A stream as `body` is read once.

        The caller checks the status. Raises Unauthorized on 401 and 403, Temporary on a temporary failure,
        BlockedAddress, Unreachable.
        """
        url = self._guard.resolve_url(self._base_url(), path)
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        reply = self._send(method, url, scope, body, sent)
        if isinstance(body, bytes | None) and self._has_login_for(reply, scope):
            reply = self._send(method, url, scope, body, sent)
        answer = self._read_response(reply.response)
        if is_retried(answer.status, answer.headers):
            raise self._sender.temporary(answer, f"{self.host}: {answer.message} for {method}")
        if answer.status in (401, 403):
            raise self._unauthorized(reply, answer, method)
        return answer

    def ping(self) -> Mapping[str, str]:
        """Request `/v2/` without credentials; return the headers.

        Raises Unreachable if no response comes, Temporary if each try ends in a temporary failure.
        """
        with closing(self.budget().run(self._greeting)) as response:
            return response.headers

    def authenticate(self, scope: str) -> None:
        """Get a token for a scope before a request requires it, if the registry asks for one and there is a login.

        Some registries answer a request without a token, with less. Raises Unauthorized, Unreachable.
        """
        self.budget().run(lambda: self._authenticate_first(scope))

    def api(self, base: str, headers: Mapping[str, str], hint: str = "") -> ApiClient:
        """Return a client of an API at the URL `base`, whose `headers` may contain credentials for its origin.

        The caller vouches that the credentials belong there. Rate, retries and guard are those of this client. `hint`
        says how to log in, by default with the command of the registry.
        """
        self._guard.check_url(base, self._base_url(), "has its API at")
        tokens = [value.rpartition(" ")[2] for name, value in headers.items() if name in _CREDENTIALS]
        secrets = (*secrets_of(self._login, []), *tokens)
        return ApiClient(self._sender, base, headers, hint or f"run `{login_command(self.host)}`", secrets)

    def stop(self) -> None:
        """End the requests and downloads of other threads with an AuditError."""
        self._sender.stop()

    def _greeting(self) -> HTTPResponse:
        """Request `/v2/` once, without credentials and redirects. Raises Temporary on a temporary failure."""
        self._sender.check()
        response = self._sender.send("GET", self._base_url(), {})
        if is_retried(response.status, response.headers):
            answer = self._read_response(response)
            raise self._sender.temporary(answer, f"{self.host}: {answer.message} for /v2/")
        return response

    def _authenticate_first(self, scope: str) -> None:
        with closing(self._greeting()) as response:
            if response.status == 401 and (self.login.user or self.login.identity):
                self._authenticate(response, scope, None)

    def _document(self, path: str, scope: str, accept: str) -> tuple[bytes, Mapping[str, str]]:
        response = self._fetched("GET", path, scope, {"Accept": accept})
        return self._sender.document(response, f"{self.host}/v2/{path}"), response.headers

    def _reopen(self, path: str, scope: str, offset: int) -> HTTPResponse:
        """Open the rest of a body; a server without support for ranges sends all of it, with status 200."""
        response = self._fetched("GET", path, scope, {"Accept": "*/*", "Range": f"bytes={offset}-"})
        begin = response.headers.get("Content-Range", "")
        if response.status == 206 and not begin.startswith(f"bytes {offset}-"):
            response.close()
            raise Temporary(f"{self.host}/v2/{path}: the connection broke off, and the rest begins elsewhere")
        return response

    def _fetched(self, method: str, path: str, scope: str, headers: dict[str, str]) -> HTTPResponse:
        """Send a request without a body, authenticate if asked to, and return a successful response."""
        url = self._guard.own_url(self._base_url(), path)
        reply = self._send(method, url, scope, None, headers)
        for _ in range(_AUTHENTICATIONS):
            if not self._has_login_for(reply, scope):
                break
            reply = self._send(method, url, scope, None, headers)
        response = reply.response
        if response.status == 200 or (response.status == 206 and "Range" in headers):
            return response
        answer = self._read_response(response)
        message = f"{self.host}: {answer.message} for {path}"
        if is_retried(answer.status, answer.headers):
            raise self._sender.temporary(answer, message)
        if answer.status in (401, 403):
            raise self._unauthorized(reply, answer, path)
        if answer.status == 404:
            raise NotFound(f"{self.host}/v2/{path}: {answer.message}")
        raise Unsupported(message) if answer.status in UNSUPPORTED else Unreachable(message)

    def _send(
        self, method: str, url: str, scope: str, body: bytes | IO[bytes] | None, headers: dict[str, str]
    ) -> _Reply:
        """Send a request and follow redirects; return the last response, with the token that was sent for it.

        Only the registry's own origin receives its token.
        """
        base = self._base_url()
        for _ in range(self.limits.registry_redirects + 1):
            self._sender.check()
            self._guard.check_url(url, base, "redirects to")
            token = self._tokens.get(scope) if is_same_origin(url, base) else None
            own = {} if token is None else {"Authorization": token}
            response = self._sender.send(method, url, {**headers, **own}, body)
            location = response.headers.get("Location")
            if location is None or response.status not in REDIRECTS or method not in ("GET", "HEAD"):
                return _Reply(response, url, token)
            response.close()
            url = self._guard.resolve_url(url, location)
        limit = self.limits.registry_redirects
        raise BlockedAddress(
            f"registry {self.host}: redirects more than {limit} times {limit_note('registry-redirects')}"
        )

    def _unauthorized(self, reply: _Reply, answer: RegistryResponse, request: str) -> Unauthorized:
        """Return the error of a 401 or 403. A login helps with those of the registry itself only."""
        if is_same_origin(reply.url, self._base_url()):
            return Unauthorized(f"{self.host}: {answer.message} for {request}; run `{login_command(self.host)}`")
        return Unauthorized(
            f"{self.host}: redirects {request} to {display_origin(reply.url)}, which answers {answer.message}; sent no "
            "credentials there"
        )

    def _read_response(self, response: HTTPResponse) -> RegistryResponse:
        return self._sender.read(response, secrets_of(self._login, [*self._tokens.values()]))

    def _base_url(self) -> str:
        """Return `scheme://host/v2/`; plain HTTP only on loopback or with `insecure`."""
        if self._base is None:
            base, plain = f"https://{self._sender.server}/v2/", f"http://{self._sender.server}/v2/"
            if self._insecure or is_loopback(self.host):
                try:
                    # A TLS server answers a plain request with 400, or closes the connection.
                    with closing(self._sender.send("GET", plain, {})) as answer:
                        base = plain if answer.status in (200, 401, *RETRIED) else base
                except (Unreachable, Damaged):
                    pass
            self._base = base
        return self._base

    def _has_login_for(self, reply: _Reply, scope: str) -> bool:
        """Whether to send a refused request again: the registry asks for a login, or the stored one was renewed.

        Amazon ECR answers expired credentials with 403. Raises Unauthorized if the credentials are refused.
        """
        if reply.asks_for_login(self._base_url()):
            self._authenticate(reply.response, scope, reply.token)
            return True
        if reply.response.status != 403 or reply.token is None:
            return False
        with self._lock:
            is_renewed = reply.token != self._tokens.get(scope) or self._has_new_login()
        if is_renewed:
            reply.response.close()
        return is_renewed

    def _authenticate(self, response: HTTPResponse, scope: str, refused: str | None) -> None:
        """Answer the challenge of a 401 to a token. Raises Unauthorized if the credentials are refused."""
        response.close()
        with self._lock:
            if refused != self._tokens.get(scope):
                return  # another thread has a new token by now
            challenge = response.headers.get("WWW-Authenticate", "")
            token = self._authorization(challenge, scope, refused)
            if len(self._tokens) >= _TOKENS:
                self._tokens.clear()
            self._tokens[scope] = token

    def _authorization(self, challenge: str, scope: str, refused: str | None) -> str:
        """Answer a challenge. If the credentials are refused, stored ones are read again: helpers renew them."""
        is_plain = self._base_url().startswith("http:")
        authenticator = Authenticator(self.host, is_plain, self._request_token)
        try:
            found = authenticator.authorization(challenge, scope, self.login)
            if found != refused or not self._has_new_login():
                return found
        except Unauthorized:
            if not self._has_new_login():
                raise
        return authenticator.authorization(challenge, scope, self.login)

    def _has_new_login(self) -> bool:
        """Read the stored credentials again, unless they are recent; return whether they changed.

        Tokens of the former ones are dropped.
        """
        before = self._login
        if self._sender.clock.now() < self._login_end or self._read_login() == before:
            return False
        self._tokens.clear()
        return True

    def _read_login(self) -> Login:
        self._login = stored_login(self.host, self._path)
        self._login_end = self._sender.clock.now() + _LOGIN_AGE_S
        return self._login

    def _request_token(
        self, method: str, realm: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes, str]:
        """Send a request to the token server; return status, body and error message. Redirects are refused."""
        self._guard.check_url(realm, self._base_url(), "sends credentials to")
        response = self._sender.send(method, realm, headers, body)
        if response.status in REDIRECTS:
            response.close()
            raise BlockedAddress(
                f"registry {self.host}: its token server {display_origin(realm)} redirects; "
                "refused to send the credentials there"
            )
        answer = self._read_response(response)
        if is_retried(answer.status, answer.headers):
            raise self._sender.temporary(answer, f"{self.host}: its token server answers {answer.message}")
        return answer.status, answer.body, answer.message
