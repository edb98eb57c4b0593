"""HTTP with one registry: addresses, logins, patience, limits. Source: OCI distribution-spec v1.1."""

from __future__ import annotations

import ipaddress
import os
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from auditor import __version__
from auditor.codec.limits import MAX_DOCUMENT
from auditor.errors import AuditError, Damaged, NotFound, Unauthorized, Unreachable
from auditor.images.login import Door, Login, keep_header, reason, stored_login, words
from auditor.images.reference import DOCKER_HUB

_TIMEOUT_S = (10, 60)  # to connect, and between bytes
_LONGEST_WAIT_S = 120  # that a Retry-After may ask for
_CONNECTIONS = 64
_LOGINS = 2  # the token of another thread, used after a refusal, may have expired meanwhile


class Client:
    """Speaks HTTP with one registry; logs in when the registry asks for it. Threads may share it.

    `ca` is a file of certificates to trust instead of the system's; `rate` limits requests a second; `login` is used
    instead of the one that `docker login` stored.
    """

    def __init__(
        self,
        host: str,
        *,
        insecure: bool = False,
        ca: Path | None = None,
        rate: float | None = None,
        login: Login | None = None,
    ) -> None:
        self.host = host
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"image-audit/{__version__}"
        self._session.auth = keep_header
        statuses = (429, 500, 502, 503, 504)
        retry = _Patience(total=4, backoff_factor=0.5, status_forcelist=statuses, raise_on_status=False)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _Paced(rate, max_retries=retry, pool_maxsize=_CONNECTIONS))
        self._tokens: dict[str, str] = {}
        self._login = login
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._insecure = insecure
        self._base: str | None = None
        self._verify = _trusted(ca, host)

    def get(self, path: str, scope: str, *, accept: str = "*/*", stream: bool = False) -> requests.Response:
        """Fetch `/v2/PATH`. Raises NotFound on 404, Unauthorized on 401 and 403, Unreachable on the rest."""
        return self._fetched("GET", path, scope, accept, stream)

    def head(self, path: str, scope: str, *, accept: str) -> requests.Response:
        """Ask for the headers of `/v2/PATH`; raises as `get` does."""
        return self._fetched("HEAD", path, scope, accept, stream=False)

    def document(self, path: str, scope: str, *, accept: str = "*/*") -> tuple[bytes, requests.Response]:
        """Fetch a document of bounded size, with its response. Raises as `get` does, and Damaged where it is larger."""
        with self.get(path, scope, accept=accept, stream=True) as response:
            try:
                data = response.raw.read(MAX_DOCUMENT + 1)
            except (HTTPError, OSError) as exc:
                raise Unreachable(f"registry {self.host} breaks off: {reason(exc)}") from exc
        if len(data) > MAX_DOCUMENT:
            raise Damaged(f"{self.host}/v2/{path}: a document of more than {MAX_DOCUMENT} bytes")
        return bytes(data), response

    def call(self, method: str, path: str, scope: str, body: Any = None, **headers: str) -> requests.Response:
        """Send any request to `/v2/PATH`, or to a whole address that the registry gave. A body is read once.

        The caller looks at the status. Raises Unauthorized on 401 and 403, Unreachable where nothing answers.
        """
        url = urljoin(self._address(), path)
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        response = self._called(method, url, scope, body, sent)
        if response.status_code == 401 and body is None:
            self._log_in(response, scope)
            response = self._called(method, url, scope, body, sent)
        if response.status_code in (401, 403):
            raise Unauthorized(f"{self.host}: {words(response)} for {method}; `docker login {self.host}` first")
        return response

    def stop(self) -> None:
        """Have what other threads are asking end with an AuditError, downloads too."""
        self._stopped.set()

    def check(self) -> None:
        """Raise AuditError where `stop` was called."""
        if self._stopped.is_set():
            raise AuditError(f"registry {self.host}: stopped")

    def words(self, response: requests.Response) -> str:
        """Return the status of a response and the registry's own words."""
        return f"HTTP {response.status_code}: {words(response)}"

    def _fetched(self, method: str, path: str, scope: str, accept: str, stream: bool) -> requests.Response:
        url = urljoin(self._address(), path)
        sent = {"Accept": accept, "Accept-Encoding": "identity"}
        response = self._called(method, url, scope, None, sent, stream=stream)
        for _ in range(_LOGINS):
            if response.status_code != 401:
                break
            self._log_in(response, scope)
            response = self._called(method, url, scope, None, sent, stream=stream)
        if response.status_code == 200:
            return response
        with response:
            if response.status_code in (401, 403):
                raise Unauthorized(f"{self.host}: {words(response)} for {path}; `docker login {self.host}` first")
            if response.status_code == 404:
                raise NotFound(f"{self.host}/v2/{path}: {words(response)}")
            raise Unreachable(f"{self.host}: HTTP {response.status_code} for {path}: {words(response)}")

    def _called(
        self, method: str, url: str, scope: str, body: Any, headers: dict[str, str], *, stream: bool = False
    ) -> requests.Response:
        self.check()
        # A registry may send uploads to another host, which must not see the login.
        own = urlsplit(url).netloc == urlsplit(self._address()).netloc
        token = {"Authorization": self._tokens[scope]} if own and scope in self._tokens else {}
        try:
            return self._session.request(
                method,
                url,
                data=body,
                headers={**headers, **token},
                timeout=_TIMEOUT_S,
                verify=self._verify,
                stream=stream,
                allow_redirects=True,
            )
        except (requests.RequestException, HTTPError, OSError) as exc:
            raise Unreachable(f"registry {self.host} does not answer: {reason(exc)}") from exc

    def _address(self) -> str:
        """Return `scheme://host/v2/`; plain HTTP only on loopback or where the user allows it."""
        if self._base is None:
            host = "registry-1.docker.io" if self.host == DOCKER_HUB else self.host
            base = f"https://{host}/v2/"
            if self._insecure or is_loopback(self.host):
                plain = f"http://{host}/v2/"
                try:
                    # A server that speaks TLS answers a plain request with 400 or breaks the connection.
                    answer = self._session.get(plain, timeout=_TIMEOUT_S, allow_redirects=False)
                    if answer.status_code in (200, 401):
                        base = plain
                except (requests.RequestException, HTTPError):
                    pass
            self._base = base
        return self._base

    def _log_in(self, response: requests.Response, scope: str) -> None:
        """Answer the challenge of a 401. Raises Unauthorized where the credentials won't do."""
        refused = response.request.headers.get("Authorization")
        with self._lock:
            if refused != self._tokens.get(scope):
                return  # another thread has a new token by now
            if self._login is None:
                self._login = stored_login(self.host)
            door = Door(self.host, self._address().startswith("http:"), self._session, _TIMEOUT_S, self._verify)
            challenge = response.headers.get("WWW-Authenticate", "")
            self._tokens[scope] = door.authorization(challenge, scope, self._login)


class _Patience(Retry):
    def get_retry_after(self, response: Any) -> float | None:
        wanted = super().get_retry_after(response)
        return None if wanted is None else min(wanted, _LONGEST_WAIT_S)


class _Paced(HTTPAdapter):
    """Sends at most `rate` requests a second."""

    def __init__(self, rate: float | None, **more: Any) -> None:
        super().__init__(**more)
        self._gap_s = 1 / rate if rate else 0.0
        self._lock = threading.Lock()
        self._next = 0.0

    def send(self, *arguments: Any, **more: Any) -> requests.Response:
        if self._gap_s:
            with self._lock:
                now = time.monotonic()
                at = max(self._next, now)
                self._next = at + self._gap_s
            time.sleep(at - now)
        return super().send(*arguments, **more)


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _trusted(ca: Path | None, host: str) -> bool | str:
    """Return what requests verifies against: not on loopback alone, where engines don't either, but for a `ca`."""
    if ca is not None:
        return str(ca)
    if is_loopback(host):
        return False
    # requests itself looks into the latter, and not into the former, which OpenSSL's own tools know.
    named = os.environ.get("SSL_CERT_FILE")
    return named if named and not os.environ.get("REQUESTS_CA_BUNDLE") else True
