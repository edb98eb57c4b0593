"""A registry's own API, beside the OCI distribution API: JSON documents, most of them lists in pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from urllib3 import HTTPResponse

from auditor.codec.json_documents import parse_json
from auditor.core.dataclass import dataclass
from auditor.core.errors import BlockedAddress, Damaged, Forbidden, NotFound, Unauthorized, Unreachable, Unsupported
from auditor.core.limits import limit_note
from auditor.registry.address_guard import display_origin
from auditor.registry.http_session import REDIRECTS
from auditor.registry.paging import Page, names_of_pages, next_page
from auditor.registry.response_body import RegistryResponse
from auditor.registry.retry import UNSUPPORTED, is_retried
from auditor.registry.sender import RequestSender

_SCOPE_ERROR = b"insufficient_scope"
"""Error code for a token that lacks a scope. Source: RFC 6750, section 3.1."""


@dataclass(frozen=True, slots=True)
class ApiDocument:
    """A JSON document with the headers of its response, and the URL that it came from. `label` begins the errors."""

    content: Any
    headers: Mapping[str, str]
    url: str
    label: str

    def elements(self, key: str | None = None) -> Sequence[object]:
        """Return the list that the document is, or has under `key`; empty for `null`. Raises Damaged without it."""
        value = self.content
        if key is not None:
            value = value.get(key, "") if isinstance(value, dict) else ""
        if value is not None and not isinstance(value, list):
            raise Damaged(f"{self.label}: the answer has no list{f' of {key}' if key else ''}")
        return value or []

    def items(self, key: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Return the objects of a list. Raises Damaged without it, and on other elements."""
        found = [item for item in self.elements(key) if isinstance(item, dict)]
        if len(found) < len(self.elements(key)):
            raise Damaged(f"{self.label}: the answer has a list with elements that are no objects")
        return found

    def texts(self, *fields: str, key: str | None = None) -> Sequence[str]:
        """Return fields of each object in a list, joined by slashes. Raises Damaged if one is missing."""
        rows = [[item.get(field) for field in fields] for item in self.items(key)]
        if not all(isinstance(value, str | int) and value for row in rows for value in row):
            raise Damaged(f"{self.label}: the answer has an element without {' or '.join(fields)}")
        return ["/".join(map(str, row)) for row in rows]

    def text(self, key: str) -> str:
        """Return the text under a key; an empty text for `null` and without the key. Raises Damaged on other types."""
        value = self.content.get(key) if isinstance(self.content, dict) else None
        if value is not None and not isinstance(value, str):
            raise Damaged(f"{self.label}: the answer has no text under {key}")
        return value or ""

    @property
    def next_page(self) -> str:
        """URL of the next page in the Link header; an empty text without one. Raises Damaged on a malformed one."""
        return next_page(self.url, self.headers.get("Link", ""), self.label)


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

        Raises NotFound on 404, Unauthorized on 401 and on a 403 for lack of scope, Forbidden on other 403,
        Unsupported on 400, Damaged, BlockedAddress on another origin, and Unreachable on other failures.
        """
        return self._sender.budget().run(lambda: self._document("GET", path, None))

    def post(self, path: str, body: Mapping[str, str]) -> ApiDocument:
        """Send a JSON document; return that of the response. Raises the errors of `get`."""
        return self._sender.budget().run(lambda: self._document("POST", path, body))

    def names(self, first: str, page_of: Callable[[ApiDocument], Page]) -> Iterator[str]:
        """Yield the names of a list, page by page. `page_of` returns the names of a document and the next page."""
        return names_of_pages(first, lambda path: page_of(self.get(path)), self._name, self._sender.limits)

    def _document(self, method: str, path: str, body: Mapping[str, str] | None) -> ApiDocument:
        response, url = self._send(method, path, body)
        if response.status == 200:
            data = self._sender.document(response, self._name)
            label = f"{self._name}: {self._shown(url)}"
            return ApiDocument(parse_json(data, label, self._sender.limits), response.headers, url, label)
        raise self._error(self._sender.read(response, [*self._secrets, (body or {}).get("secret", "")]), path)

    def _send(self, method: str, path: str, body: Mapping[str, str] | None) -> tuple[HTTPResponse, str]:
        """Send a request and follow redirects; return the last response with its URL."""
        url = self._sender.guard.own_url(self._base, path)
        headers = {"Accept": "application/json", **({"Content-Type": "application/json"} if body else {})}
        data = json.dumps(body).encode() if body else None
        for _ in range(self._sender.limits.registry_redirects + 1):
            self._sender.check()
            response = self._sender.send(method, url, {**headers, **self._headers}, data)
            location = response.headers.get("Location")
            if location is None or response.status not in REDIRECTS or method != "GET":
                return response, url
            response.close()
            url = self._sender.guard.own_url(self._base, self._sender.guard.resolve_url(url, location))
        raise BlockedAddress(f"{self._name}: redirects too often {limit_note('registry-redirects')}")

    def _shown(self, url: str) -> str:
        return url.partition("?")[0].removeprefix(self._base)

    def _error(self, answer: RegistryResponse, url: str) -> Exception:
        message = f"{self._name}: {answer.message} for {self._shown(url)}"
        if is_retried(answer.status, answer.headers):
            return self._sender.temporary(answer, message)
        if answer.status in (401, 403):
            is_accepted = answer.status == 403 and _SCOPE_ERROR not in answer.body
            return (Forbidden if is_accepted else Unauthorized)(f"{message}; {self._hint}")
        if answer.status == 404:
            return NotFound(message)
        return Unsupported(message) if answer.status in UNSUPPORTED else Unreachable(message)
