"""A registry's own API, beside the OCI distribution API: JSON documents, most of them lists in pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from urllib3 import HTTPResponse

from auditor.codec.json_documents import parse_json
from auditor.core.dataclass import dataclass
from auditor.core.errors import BlockedAddress, NotFound, Unauthorized, Unreachable, Unsupported
from auditor.core.limits import limit_note
from auditor.registry.address_guard import display_origin
from auditor.registry.http_session import REDIRECTS
from auditor.registry.paging import Page, linked_page, names_of_pages
from auditor.registry.response_body import RegistryResponse
from auditor.registry.retry import RETRIED, UNSUPPORTED
from auditor.registry.sender import RequestSender


@dataclass(frozen=True, slots=True)
class ApiDocument:
    """A JSON document with the headers of its response."""

    content: Any
    headers: Mapping[str, str]

    def items(self, key: str | None = None) -> list[Mapping[str, Any]]:
        """Return the objects of the list that the document is, or has under `key`."""
        value = self.field(key) if key else self.content
        return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []

    def field(self, key: str) -> object:
        """Return the value of a key; None without it."""
        return self.content.get(key) if isinstance(self.content, dict) else None

    @property
    def next_page(self) -> str:
        """URL of the next page in the Link header; an empty text without one."""
        return linked_page(self.headers.get("Link", ""))


class ApiClient:
    """Client of an API at the URL `base`. Its `headers` may contain credentials; they go to the origin of `base` only.

    `hint` ends the message of a refusal: how to log in. `secrets` are masked in messages. `get` and `post` are logical
    requests with a retry budget.
    """

    def __init__(
        self, sender: RequestSender, base: str, headers: Mapping[str, str], hint: str, secrets: Sequence[str]
    ) -> None:
        self._sender, self._base, self._headers = sender, f"{base.rstrip('/')}/", headers
        self._hint, self._secrets = hint, secrets
        self._name = display_origin(base).partition("://")[2].removesuffix(":443")

    def get(self, path: str) -> ApiDocument:
        """Fetch a path below the base, or a URL of the same origin.

        Raises NotFound on 404, Unauthorized on 401 and 403, Unsupported on 400, Damaged, BlockedAddress on another
        origin, and Unreachable on other failures.
        """
        return self._sender.budget().run(lambda: self._document("GET", path, None))

    def post(self, path: str, body: Mapping[str, str]) -> ApiDocument:
        """Send a JSON document; return that of the response. Raises the errors of `get`."""
        return self._sender.budget().run(lambda: self._document("POST", path, body))

    def names(self, first: str, page_of: Callable[[ApiDocument], Page]) -> Iterator[str]:
        """Yield the names of a list, page by page. `page_of` returns the names of a document and the next page."""
        return names_of_pages(first, lambda path: page_of(self.get(path)), self._name, self._sender.limits)

    def _document(self, method: str, path: str, body: Mapping[str, str] | None) -> ApiDocument:
        response = self._send(method, path, body)
        if response.status == 200:
            data = self._sender.document(response, self._name)
            return ApiDocument(parse_json(data, self._name, self._sender.limits), response.headers)
        raise self._error(self._sender.read(response, [*self._secrets, (body or {}).get("secret", "")]), path)

    def _send(self, method: str, path: str, body: Mapping[str, str] | None) -> HTTPResponse:
        url = self._sender.guard.own_url(self._base, path)
        headers = {"Accept": "application/json", **({"Content-Type": "application/json"} if body else {})}
        data = json.dumps(body).encode() if body else None
        for _ in range(self._sender.limits.registry_redirects + 1):
            self._sender.check()
            response = self._sender.send(method, url, {**headers, **self._headers}, data)
            location = response.headers.get("Location")
            if location is None or response.status not in REDIRECTS or method != "GET":
                return response
            response.close()
            url = self._sender.guard.own_url(self._base, self._sender.guard.resolve_url(url, location))
        raise BlockedAddress(f"{self._name}: redirects too often {limit_note('registry-redirects')}")

    def _error(self, answer: RegistryResponse, url: str) -> Exception:
        message = f"{self._name}: {answer.message} for {url.partition('?')[0].removeprefix(self._base)}"
        # GitHub answers 403 to a used-up rate limit.
        is_limited = answer.headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in answer.headers
        if answer.status in RETRIED or (answer.status == 403 and is_limited):
            return self._sender.temporary(answer, message)
        if answer.status in (401, 403):
            return Unauthorized(f"{message}; {self._hint}")
        if answer.status == 404:
            return NotFound(message)
        return Unsupported(message) if answer.status in UNSUPPORTED else Unreachable(message)
