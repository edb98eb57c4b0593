"""HTTP with one registry: addresses, logins, retries, redirects. Source: OCI distribution-spec v1.1.

A registry says where things are: it redirects, it names a token server, the next page of a list, the place of an
upload. None of these gets the login unless it is the registry's own address (or its token server, as Docker does), and
none is asked where a registry has no business to lead (reach.py).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from auditor.core.errors import AuditError, Damaged, Misled, NotFound, Temporary, Unauthorized, Unreachable
from auditor.core.limits import DEFAULT, Limits, named
from auditor.registry.address_guard import Guard, is_loopback, origin_of, place_of
from auditor.registry.authentication import Door, Login, hidden, reason, stored_login, words
from auditor.registry.reference import DOCKER_HUB
from auditor.registry.retry import RETRIED, Clock, RateLimit, RetryBudget, asked_to_wait
from auditor.registry.wire import Body, Resume, may_pass, read_at_most, session

_CONNECT_S = 10
_LOGINS = 2  # the token of another thread, used after a refusal, may have expired meanwhile
_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")  # variables; the second is OpenSSL's own
_REDIRECTS = (301, 302, 303, 307, 308)
_WORDS = 200  # characters of what a registry says


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; `body` is cut where it is longer than an error may be."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    words: str
    """The status and the registry's own words, and the limit that was reached."""


class Client:
    """Speaks HTTP with one registry; logs in when the registry asks for it. Threads may share it.

    `ca` is a file of certificates to trust instead of the system's; `rate` limits all requests that it sends, by number
    a second or by a rate limit that others share; `login` is used instead of the one that `docker login` stored. The
    limits are those in force when it is made.

    `open`, `head` and `document` are logical requests, with a retry budget of their own where none is given. `call` and
    `reach` send one request and don't retry.
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
        self._guard = Guard(host)
        self._tokens: dict[str, str] = {}
        self._ways: dict[tuple[str, str, int], dict[str, str]] = {}
        self._login, self._ca, self._insecure = login, ca, insecure
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._answered = False
        self._base: str | None = None
        if isinstance(rate, int | float):
            rate = RateLimit(rate, self._clock, self._stopped)
        self._session = session(self._server, self.limits, self._guard, rate or nullcontext())

    def budget(self) -> RetryBudget:
        """Return the tries of a new logical request."""
        return RetryBudget(self.limits, self._clock, self._stopped)

    def open(self, path: str, scope: str, *, size: int | None = None, budget: RetryBudget | None = None) -> Body:
        """Open the body of `/v2/PATH`, which is `size` bytes long where that is known; reads check it.

        A body that breaks off goes on where it was. Raises NotFound on 404, Unauthorized on 401 and 403, Misled,
        Unreachable on the rest, Damaged on a wrong size.
        """
        budget = budget or self.budget()
        response = budget.run(lambda: self._fetched("GET", path, scope, {"Accept": "*/*"}))
        what = f"{self.host}/v2/{path}"
        stated = response.headers.get("Content-Length", "")
        if size is not None and stated.isdecimal() and int(stated) != size:
            response.close()
            raise Damaged(f"{what}: has {int(stated)} bytes, want {size}")
        most = self.limits.layer_bytes if size is None else size
        told = f"has more than {most} bytes {named('layer-bytes')}" if size is None else f"goes on beyond {size} bytes"
        resume = Resume(budget, lambda offset: self._rest(path, scope, offset))
        return Body(response, what, most, Damaged(f"{what}: {told}"), self.check, resume)

    def head(self, path: str, scope: str, *, accept: str) -> Mapping[str, str]:
        """Return the headers of `/v2/PATH`; raises as `open` does."""
        with self.budget().run(lambda: self._fetched("HEAD", path, scope, {"Accept": accept})) as response:
            response.raw.drain_conn()  # there is no body; without this the connection would be ended
            return response.headers

    def document(
        self, path: str, scope: str, *, accept: str = "*/*", budget: RetryBudget | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """Fetch a document of bounded size, with its headers. Raises as `open` does, and Damaged where it is larger."""
        return (budget or self.budget()).run(lambda: self._document(path, scope, accept))

    def call(self, method: str, path: str, scope: str, body: Any = None, **headers: str) -> Answer:
        """Send any request to `/v2/PATH`, or to a whole address that the registry gave. A body is read once.

        The caller looks at the status. Raises Unauthorized on 401 and 403, Temporary on a status that may pass, Misled,
        Unreachable where nothing answers.
        """
        url = self._guard.joined(self._address(), path)
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        response = self._called(method, url, scope, body, sent)
        if response.status_code == 401 and body is None:
            self._log_in(response, scope)
            response = self._called(method, url, scope, body, sent)
        answer = self._answer(response)
        if answer.status in (401, 403):
            raise Unauthorized(f"{self.host}: {answer.words} for {method}; `docker login {self.host}` first")
        if answer.status in RETRIED:
            raise self._temporary(answer, f"{self.host}: {answer.words} for {method}")
        return answer

    def reach(self) -> None:
        """Knock, without a login. Raises Unreachable where nobody answers."""
        self._sent("GET", self._address(), {}).close()

    def stop(self) -> None:
        """Have what other threads are asking end with an AuditError, downloads too."""
        self._stopped.set()

    def check(self) -> None:
        """Raise AuditError where `stop` was called."""
        if self._stopped.is_set():
            raise AuditError(f"registry {self.host}: stopped")

    def _document(self, path: str, scope: str, accept: str) -> tuple[bytes, Mapping[str, str]]:
        response = self._fetched("GET", path, scope, {"Accept": accept})
        what, most = f"{self.host}/v2/{path}", self.limits.json_bytes
        coding = response.headers.get("Content-Encoding", "identity")
        if coding.lower() != "identity":
            response.close()
            raise Damaged(f"{what}: comes with the Content-Encoding {coding!r:.40}, which nobody asked for")
        too_long = Damaged(f"{what}: a document of more than {most} bytes {named('json-bytes')}")
        return read_at_most(self._body(response, what, most, too_long)), response.headers

    def _rest(self, path: str, scope: str, offset: int) -> requests.Response:
        """Open the rest of a body; status 200 means that a server which knows no ranges sends all of it."""
        response = self._fetched("GET", path, scope, {"Accept": "*/*", "Range": f"bytes={offset}-"})
        begin = response.headers.get("Content-Range", "")
        if response.status_code == 206 and not begin.startswith(f"bytes {offset}-"):
            response.close()
            raise Temporary(f"{self.host}/v2/{path}: breaks off, and goes on elsewhere")
        return response

    def _fetched(self, method: str, path: str, scope: str, headers: dict[str, str]) -> requests.Response:
        """Send a request that has no body, with a login where one is asked for; return a good answer."""
        url = self._guard.own(self._address(), path)
        response = self._called(method, url, scope, None, headers)
        for _ in range(_LOGINS):
            if response.status_code != 401:
                break
            self._log_in(response, scope)
            response = self._called(method, url, scope, None, headers)
        if response.status_code == 200 or (response.status_code == 206 and "Range" in headers):
            return response
        answer = self._answer(response)
        if answer.status in (401, 403):
            raise Unauthorized(f"{self.host}: {answer.words} for {path}; `docker login {self.host}` first")
        if answer.status == 404:
            raise NotFound(f"{self.host}/v2/{path}: {answer.words}")
        said = f"{self.host}: {answer.words} for {path}"
        raise self._temporary(answer, said) if answer.status in RETRIED else Unreachable(said)

    def _temporary(self, answer: Answer, said: str) -> Temporary:
        return Temporary(said, asked_to_wait(answer.headers.get("Retry-After"), self._clock.date()))

    def _called(self, method: str, url: str, scope: str, body: Any, headers: dict[str, str]) -> requests.Response:
        """Send a request, and go where it is sent on; nobody else than the registry gets its token."""
        own = origin_of(self._address())
        for _ in range(self.limits.registry_redirects + 1):
            self.check()
            self._guard.judge(url, self._address(), "leads to")
            token = {"Authorization": self._tokens[scope]} if origin_of(url) == own and scope in self._tokens else {}
            response = self._sent(method, url, {**headers, **token}, data=body)
            there = response.headers.get("Location")
            if there is None or response.status_code not in _REDIRECTS or method not in ("GET", "HEAD"):
                return response
            response.close()
            url = self._guard.joined(url, there)
        most = self.limits.registry_redirects
        raise Misled(f"registry {self.host}: redirects more than {most} times {named('registry-redirects')}")

    def _sent(self, method: str, url: str, headers: Mapping[str, str], **more: Any) -> requests.Response:
        """Send one request; its answer is not read yet. Raises Temporary on a failure that may pass, Unreachable."""
        try:
            response = self._session.request(
                method,
                url,
                headers={"Accept-Encoding": "identity", **headers},
                timeout=(_CONNECT_S, self.limits.registry_time),
                verify=self._trusted(url),
                proxies=self._proxies(url),
                stream=True,
                allow_redirects=False,
                **more,
            )
        # ValueError: of a Location that is no text.
        except (requests.RequestException, HTTPError, OSError, ValueError) as exc:
            whose = "" if urlsplit(url).netloc == self._server else f": {place_of(url)}"
            kind = Temporary if may_pass(exc, answered=self._answered) else Unreachable
            raise kind(f"registry {self.host}{whose} does not answer: {reason(exc)}") from exc
        self._answered = True
        return response

    def _answer(self, response: requests.Response) -> Answer:
        """Read a whole answer that is no document; one that is longer than an error may be is left there."""
        most = self.limits.registry_error
        body = self._body(response, f"registry {self.host}", most, Damaged("too long"))
        limit = ""
        try:
            data = read_at_most(body)
        except Damaged:
            data, limit = b"", f"; says more than {most} bytes {named('registry-error')}"
        said = hidden(words(data) or response.reason or "", self._login, *self._tokens.values())
        told = f"HTTP {response.status_code}: {said or response.status_code}"[:_WORDS] + limit
        return Answer(response.status_code, response.headers, data, told)

    def _body(self, response: requests.Response, what: str, most: int, too_long: Exception) -> Body:
        return Body(response, what, most, too_long, self.check)

    def _address(self) -> str:
        """Return `scheme://host/v2/`; plain HTTP only on loopback or where the user allows it."""
        if self._base is None:
            base, plain = f"https://{self._server}/v2/", f"http://{self._server}/v2/"
            if self._insecure or is_loopback(self.host):
                try:
                    # A server that speaks TLS answers a plain request with 400 or breaks the connection.
                    with self._sent("GET", plain, {}) as answer:
                        base = plain if answer.status_code in (200, 401, *RETRIED) else base
                except (Unreachable, Damaged):
                    pass
            self._base = base
        return self._base

    def _log_in(self, response: requests.Response, scope: str) -> None:
        """Answer the challenge of a 401. Raises Unauthorized where the credentials won't do."""
        refused = response.request.headers.get("Authorization")
        response.close()
        with self._lock:
            if refused != self._tokens.get(scope):
                return  # another thread has a new token by now
            if self._login is None:
                self._login = stored_login(self.host)
            door = Door(self.host, self._address().startswith("http:"), self._token_server)
            challenge = response.headers.get("WWW-Authenticate", "")
            self._tokens[scope] = door.authorization(challenge, scope, self._login)

    def _token_server(self, method: str, realm: str, **more: Any) -> tuple[int, bytes, str]:
        """Ask a token server, which may not send the login on; return status, body and what it says of an error."""
        self._guard.judge(realm, self._address(), "sends logins to")
        response = self._sent(method, realm, {}, **more)
        if response.status_code in _REDIRECTS:
            response.close()
            raise Misled(
                f"registry {self.host}: its token server {place_of(realm)} redirects, and a login goes nowhere else"
            )
        answer = self._answer(response)
        if answer.status in RETRIED:
            raise self._temporary(answer, f"{self.host}: its token server answers {answer.words}")
        return answer.status, answer.body, answer.words

    def _proxies(self, url: str) -> dict[str, str]:
        """Return the environment's proxies for an address: requests would look for them before each request."""
        origin = origin_of(url)
        if origin not in self._ways:
            self._ways[origin] = get_environ_proxies(url)
        return self._ways[origin]

    def _trusted(self, url: str) -> bool | str:
        """Return what requests verifies against: not on loopback alone, where engines don't either, but for a `ca`."""
        if self._ca is not None:
            return str(self._ca)
        if is_loopback(urlsplit(url).netloc.rpartition("@")[2]):
            return False
        return next((file for name in _AUTHORITIES if (file := os.environ.get(name))), True)
