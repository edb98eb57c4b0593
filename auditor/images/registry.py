"""A registry, by the OCI distribution API: no engine needed.

Sources: OCI distribution-spec v1.1; Docker's token authentication (docs: registry/spec/auth/token, oauth).
"""

from __future__ import annotations

import io
import ipaddress
import re
import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from auditor import __version__
from auditor.codec.limits import MAX_DOCUMENT
from auditor.codec.verify import verified_document
from auditor.errors import Damaged, NotFound, Unauthorized, Unreachable
from auditor.images import manifest
from auditor.images.archive import sha256
from auditor.images.manifest import ACCEPT, Descriptor, Origin
from auditor.images.reference import DOCKER_HUB, Reference
from auditor.images.source import Image
from auditor.model import Digest

_TIMEOUT_S = (10, 60)  # to connect, and between bytes
_MAX_TAGS = 100_000
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def read_images(reference: Reference, origin: Origin, *, insecure: bool = False) -> tuple[Image, ...]:
    """Read an image's manifests from its registry; layers are fetched when they are opened.

    Raises NotFound, Unauthorized, Unreachable, Damaged.
    """
    repository = Repository(Client(reference.host, insecure=insecure), reference.repository)
    images = manifest.images(repository, [repository.resolve(reference)], origin)
    return tuple(image if image.names else _named(image, reference) for image in images)


def _named(image: Image, reference: Reference) -> Image:
    from dataclasses import replace

    return replace(image, names=(str(reference),))


class Client:
    """Speaks HTTP with one registry; logs in when the registry asks for it."""

    def __init__(self, host: str, *, insecure: bool = False) -> None:
        self.host = host
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"image-audit/{__version__}"
        self._session.auth = _keep_header  # or requests would look into ~/.netrc
        retry = Retry(total=4, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), raise_on_status=False)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))
        self._tokens: dict[str, str] = {}
        self._insecure = insecure
        self._base: str | None = None

    def get(self, path: str, scope: str, *, accept: str = "*/*", stream: bool = False) -> requests.Response:
        """Fetch `/v2/PATH`. Raises NotFound on 404, Unauthorized on 401 and 403, Unreachable on the rest."""
        url = urljoin(self._address(), path)
        response = self._send(url, scope, accept, stream)
        if response.status_code == 401:
            self._log_in(response, scope)
            response = self._send(url, scope, accept, stream)
        if response.status_code in (401, 403):
            raise Unauthorized(f"{self.host}: {self._words(response)} for {path}; `docker login {self.host}` first")
        if response.status_code == 404:
            raise NotFound(f"{self.host}/v2/{path}: {self._words(response)}")
        if response.status_code != 200:
            raise Unreachable(f"{self.host}: HTTP {response.status_code} for {path}: {self._words(response)}")
        return response

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
            raise Unauthorized(f"{self.host}: {self._words(response)} for {method}; `docker login {self.host}` first")
        return response

    def _called(self, method: str, url: str, scope: str, body: Any, headers: dict[str, str]) -> requests.Response:
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
                verify=not _is_loopback(self.host),
            )
        except (requests.RequestException, HTTPError, OSError) as exc:
            raise Unreachable(f"registry {self.host} breaks off: {_reason(exc)}") from exc

    def words(self, response: requests.Response) -> str:
        """Return the status of a response and the registry's own words."""
        return f"HTTP {response.status_code}: {self._words(response)}"

    def _send(self, url: str, scope: str, accept: str, stream: bool) -> requests.Response:
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        if scope in self._tokens:
            headers["Authorization"] = self._tokens[scope]
        try:
            # Not verified on loopback alone, where engines do the same.
            return self._session.get(
                url, headers=headers, stream=stream, timeout=_TIMEOUT_S, verify=not _is_loopback(self.host)
            )
        except (requests.RequestException, HTTPError) as exc:
            raise Unreachable(f"registry {self.host} does not answer: {_reason(exc)}") from exc

    def _address(self) -> str:
        """Return `scheme://host/v2/`; plain HTTP only on loopback or where the user allows it."""
        if self._base is None:
            host = "registry-1.docker.io" if self.host == DOCKER_HUB else self.host
            self._base = f"https://{host}/v2/"
            if self._insecure or _is_loopback(self.host):
                plain = f"http://{host}/v2/"
                try:
                    # A server that speaks TLS answers a plain request with 400 or breaks the connection.
                    answer = self._session.get(plain, timeout=_TIMEOUT_S, allow_redirects=False)
                    if answer.status_code in (200, 401):
                        self._base = plain
                except (requests.RequestException, HTTPError):
                    pass
        return self._base

    @staticmethod
    def _words(response: requests.Response) -> str:
        """Return the registry's own words of an error."""
        try:
            errors = response.json().get("errors") or [{}]
            text = f"{errors[0].get('code', '')} {errors[0].get('message', '')}".strip()
        except (ValueError, AttributeError, IndexError, KeyError, requests.RequestException):
            text = ""
        return f"{text or response.reason or response.status_code}"[:200]

    def _log_in(self, response: requests.Response, scope: str) -> None:
        """Answer the challenge of a 401. Raises Unauthorized where the credentials won't do."""
        challenge = response.headers.get("WWW-Authenticate", "")
        scheme, _, rest = challenge.partition(" ")
        user, password, identity = _credentials(self.host)
        if scheme.lower() == "basic":
            if not user:
                raise Unauthorized(f"{self.host} wants a login; `docker login {self.host}` first")
            self._tokens[scope] = requests.auth._basic_auth_str(user, password)
            return
        if scheme.lower() != "bearer":
            raise Unauthorized(f"{self.host}: asks for the unknown authentication {scheme!r:.40}")
        fields = dict(_CHALLENGE.findall(rest))
        self._tokens[scope] = "Bearer " + self._token(fields, scope, user, password, identity)

    def _token(self, fields: dict[str, str], scope: str, user: str, password: str, identity: str) -> str:
        realm = fields.get("realm", "")
        if urlsplit(realm).scheme != "https" and not (
            self._address().startswith("http:") and realm.startswith("http:")
        ):
            raise Unauthorized(f"{self.host}: sends logins to {realm!r:.100}, which is no https address")
        query = {"service": fields.get("service", ""), "scope": fields.get("scope") or scope}
        try:
            if identity:
                form = {
                    "grant_type": "refresh_token",
                    "refresh_token": identity,
                    "client_id": "image-audit",
                    **query,
                }
                response = self._session.post(realm, data=form, timeout=_TIMEOUT_S)
            else:
                login = (user, password) if user else _keep_header
                response = self._session.get(realm, params=query, auth=login, timeout=_TIMEOUT_S)
            body = response.json() if response.status_code == 200 else {}
            token = body.get("token") or body.get("access_token")
        except (requests.RequestException, HTTPError, ValueError, AttributeError) as exc:
            raise Unreachable(f"{self.host}: its token server {realm} fails: {_reason(exc)}") from exc
        if not isinstance(token, str):
            raise Unauthorized(
                f"{self.host}: its token server answers {response.status_code} {self._words(response)}; "
                f"`docker login {self.host}` first"
            )
        return token


class Repository:
    """The manifest.Store of one repository."""

    def __init__(self, client: Client, name: str) -> None:
        self.client, self.name = client, name
        self._scope = f"repository:{name}:pull"
        self._known: dict[Digest, bytes] = {}

    def resolve(self, reference: Reference) -> Descriptor:
        """Fetch the manifest that a tag or digest names. Raises NotFound, Damaged."""
        try:
            response = self._get(f"manifests/{reference.version}", ACCEPT)
        except NotFound as exc:
            raise NotFound(f"docker://{reference}: no such image ({exc})") from None
        data = self._bounded(response)
        verified_document(data, reference.digest, f"docker://{reference}")
        digest = reference.digest or sha256(data)
        self._known[digest] = data
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        return Descriptor(media_type, digest, len(data), {}, None)

    def document(self, descriptor: Descriptor) -> bytes:
        """Fetch and verify one JSON blob or manifest."""
        if descriptor.digest not in self._known:
            is_manifest = any(descriptor.media_type == kind for kind in ACCEPT.split(", "))
            path = f"{'manifests' if is_manifest else 'blobs'}/{descriptor.digest}"
            data = self._bounded(self._get(path, ACCEPT if is_manifest else "*/*"))
            self._known[descriptor.digest] = verified_document(
                data, descriptor.digest, f"{self.client.host}/{self.name}: {path}"
            )
        return self._known[descriptor.digest]

    def content(self, descriptor: Descriptor) -> RemoteBlob:
        """Point to a layer; nothing is fetched yet."""
        return RemoteBlob(self, descriptor.digest)

    def tags(self) -> list[str]:
        """List the tags, all pages of the list. Raises NotFound, Unauthorized, Unreachable."""
        found: list[str] = []
        path = f"{self.name}/tags/list?n=1000"
        while path and len(found) < _MAX_TAGS:
            response = self.client.get(path, self._scope)
            document = manifest.parse_object(self._bounded_text(response), f"{self.client.host}/{self.name}: tags")
            found += [tag for tag in document.get("tags") or () if isinstance(tag, str)]
            path = response.links.get("next", {}).get("url", "")
        return found

    @staticmethod
    def _bounded_text(response: requests.Response) -> bytes:
        return response.content[: MAX_DOCUMENT + 1]

    def _get(self, path: str, accept: str, *, stream: bool = True) -> requests.Response:
        return self.client.get(f"{self.name}/{path}", self._scope, accept=accept, stream=stream)

    def _bounded(self, response: requests.Response) -> bytes:
        with response:
            try:
                data = response.raw.read(MAX_DOCUMENT + 1)
            except (HTTPError, OSError) as exc:
                raise Unreachable(f"registry {self.client.host} breaks off: {_reason(exc)}") from exc
        if len(data) > MAX_DOCUMENT:
            raise Damaged(f"{self.client.host}/{self.name}: a manifest of more than {MAX_DOCUMENT} bytes")
        return bytes(data)

    def open_blob(self, digest: Digest) -> BinaryIO:
        """Stream one blob as it is stored."""
        response = self._get(f"blobs/{digest}", "*/*")
        return io.BufferedReader(_Response(response, self.client.host), 1 << 16)


@dataclass(frozen=True, slots=True)
class RemoteBlob:
    """A layer in a registry."""

    repository: Repository
    digest: Digest

    def open(self) -> BinaryIO:
        """Start the download. Raises NotFound, Unauthorized, Unreachable."""
        return self.repository.open_blob(self.digest)


class _Response(io.RawIOBase):
    def __init__(self, response: requests.Response, host: str) -> None:
        self._response, self._host = response, host

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            return int(self._response.raw.readinto(buffer))
        except (HTTPError, OSError) as exc:
            raise Unreachable(f"registry {self._host} breaks off a download: {_reason(exc)}") from exc

    def close(self) -> None:
        self._response.close()
        super().close()


def _keep_header(request: Any) -> Any:
    return request


def _credentials(host: str) -> tuple[str, str, str]:
    """Return user, password and identity token that `docker login` stored; empty texts where it has none."""
    from docker.auth import load_config
    from docker.errors import DockerException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the SDK warns of what it then raises
            found = load_config().resolve_authconfig(None if host == DOCKER_HUB else host) or {}
    except (DockerException, OSError, ValueError) as exc:
        raise Unauthorized(f"{host}: the Docker config's credentials can't be read: {exc}") from exc
    user = found.get("username") or found.get("Username") or ""
    password = found.get("password") or found.get("Password") or ""
    identity = found.get("identitytoken") or found.get("IdentityToken") or ""
    return user, password, identity


def _is_loopback(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _reason(exc: BaseException) -> str:
    """Return the innermost cause, without addresses of objects."""
    while exc.__context__ is not None:
        exc = exc.__context__
    return re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?", "", str(exc))[:200] or type(exc).__name__
