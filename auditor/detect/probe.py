"""`verify` of a rule: a request to the provider that tells whether a secret is active. See docs/writing-rules.md."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from auditor.core.dataclass import dataclass
from auditor.registry.address_classes import AddressClass, class_of_host

if TYPE_CHECKING:
    from auditor.core.yaml_file import YamlValue

Scalar = str | int | float | bool | None
Pairs = tuple[tuple[str, str], ...]

PLACEHOLDERS = ("secret", "secret_base64")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_KEYS = ("method", "url", "headers", "basic", "form", "body", "active", "inactive")
_HEADER = re.compile(r"[A-Za-z0-9-]+")
_OWN_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "accept-encoding")
_PRINTABLE = re.compile(r"[ -~]*")
_NOT_IN_URL = re.compile(r"[^!-~]")
_MISSING = object()
"""Value of a field that a JSON document does not have."""


class Liveness(StrEnum):
    """State of a secret at its provider."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """Order of several answers on one secret: the greatest holds, since one working login is enough."""
        return (Liveness.UNKNOWN, Liveness.INACTIVE, Liveness.ACTIVE).index(self)


@dataclass(frozen=True, slots=True)
class Condition:
    """Condition on an answer: one of `statuses`, and at each dotted path of its JSON one of the values."""

    statuses: tuple[int, ...]
    fields: tuple[tuple[str, tuple[Scalar, ...]], ...]

    def holds(self, status: int, document: Any) -> bool:
        """Tell whether an answer meets the condition; `document` is None for an answer without JSON."""
        if self.statuses and status not in self.statuses:
            return False
        return all(_is_one_of(_at(document, path), values) for path, values in self.fields)


@dataclass(frozen=True, slots=True)
class Probe:
    """A request with placeholders for the secret, and the conditions on its answer.

    `basic` is `user:password`; `form` and `body` (JSON text) exclude each other. Equal probes send equal requests.
    """

    method: str
    url: str
    headers: Pairs
    basic: str | None
    form: Pairs
    body: str | None
    active: tuple[Condition, ...]
    inactive: tuple[Condition, ...]

    @property
    def reads_document(self) -> bool:
        """Whether a condition reads the content of the answer."""
        return any(condition.fields for condition in (*self.active, *self.inactive))

    def judge(self, status: int, document: Any) -> Liveness:
        """Judge an answer. Inactive is tested first, as the narrower condition."""
        if any(condition.holds(status, document) for condition in self.inactive):
            return Liveness.INACTIVE
        if any(condition.holds(status, document) for condition in self.active):
            return Liveness.ACTIVE
        return Liveness.UNKNOWN


def parse_probe(node: YamlValue) -> Probe:
    """Check the `verify` of a rule. Raises ConfigError."""
    keys = node.mapping(_KEYS)
    for key in ("url", "active"):
        if key not in keys:
            node.fail(f"{key} is missing")
    method = keys["method"].one_of(("GET", "POST")) if "method" in keys else "GET"
    if method == "GET" and ("form" in keys or "body" in keys):
        node.fail("a GET request has no form or body; set method: POST")
    if "form" in keys and "body" in keys:
        node.fail("form and body exclude each other")
    probe = Probe(
        method=method,
        url=_url(keys["url"]),
        headers=_headers(keys["headers"]) if "headers" in keys else (),
        basic=_basic(keys["basic"]) if "basic" in keys else None,
        form=_pairs(keys["form"]) if "form" in keys else (),
        body=_body(keys["body"]) if "body" in keys else None,
        active=_conditions(keys["active"]),
        inactive=_conditions(keys["inactive"]) if "inactive" in keys else (),
    )
    if probe.basic and any(name.lower() == "authorization" for name, _ in probe.headers):
        node.fail("basic sets the header Authorization; remove it from headers")
    _check_placeholders(node, probe)
    return probe


def _url(node: YamlValue) -> str:
    url = node.text()
    if _NOT_IN_URL.search(url):
        node.fail("expected printable ASCII without spaces")
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError as exc:
        node.fail(str(exc))
    host = parts.hostname or ""
    if not host or "{" in parts.netloc or not port_is_valid:
        node.fail("expected a URL with a host that contains no placeholder")
    if parts.scheme != "https" and not (parts.scheme == "http" and class_of_host(host) is AddressClass.LOOPBACK):
        node.fail("expected https://; plain http is for loopback (127.0.0.1, ::1, localhost) only")
    if parts.username is not None or parts.password is not None:
        node.fail("the URL contains a login; use basic")
    if "#" in url:
        node.fail("the URL contains a fragment, which is never sent")
    return url


def _headers(node: YamlValue) -> Pairs:
    pairs = _pairs(node)
    for name, text in pairs:
        if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS:
            node.fail(f"the header {name!r} can't be set")
        if not _PRINTABLE.fullmatch(text):
            node.fail(f"{name}: expected printable ASCII on one line")
    return pairs


def _basic(node: YamlValue) -> str:
    text = node.text()
    if ":" not in text:
        node.fail("expected user:password, such as '{secret}:'")
    return text


def _pairs(node: YamlValue) -> Pairs:
    return tuple((name, value.text(empty=True)) for name, value in node.mapping().items())


def _body(node: YamlValue) -> str:
    try:
        return json.dumps(_mapping(node))
    except (TypeError, ValueError, RecursionError):
        node.fail("expected values that JSON has")


def _mapping(node: YamlValue) -> dict[str, Any]:
    value = node.value()
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        node.fail("expected a mapping with texts as keys")
    return value


def _conditions(node: YamlValue) -> tuple[Condition, ...]:
    conditions = tuple(map(_condition, node.items() if isinstance(node.value(), list) else [node]))
    if not conditions:
        node.fail("expected a condition, such as {status: [200]}")
    return conditions


def _condition(node: YamlValue) -> Condition:
    keys = node.mapping(("status", "json"))
    if not keys:
        node.fail("an empty condition holds for every answer; want status or json")
    statuses = _listed(keys["status"].value()) if "status" in keys else []
    if not all(type(status) is int and 100 <= status <= 599 for status in statuses):
        keys["status"].fail("expected HTTP statuses, 100 to 599")
    fields = {path: _listed(value) for path, value in _mapping(keys["json"]).items()} if "json" in keys else {}
    for path, values in fields.items():
        if not values or not all(isinstance(value, Scalar) for value in values):
            keys["json"].fail(f"{path}: expected a text, number, true, false or null, or a list of them")
    return Condition(tuple(statuses), tuple((path, tuple(values)) for path, values in fields.items()))


def _check_placeholders(node: YamlValue, probe: Probe) -> None:
    texts = [probe.url, probe.basic or "", probe.body or "", *(text for _, text in (*probe.headers, *probe.form))]
    used = {name for text in texts for name in _PLACEHOLDER.findall(text)}
    if unknown := sorted(used.difference(PLACEHOLDERS)):
        node.fail(f"unknown placeholder {{{unknown[0]}}}; known are {{secret}}, {{secret_base64}}")
    if not used:
        node.fail("the request does not contain {secret}, so its answer tells nothing about one")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _at(document: Any, path: str) -> Any:
    """Return the field at a dotted path such as `errors.0.code`, _MISSING where it does not exist."""
    for step in path.split("."):
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return _MISSING
    return document


def _is_one_of(found: Any, values: tuple[Scalar, ...]) -> bool:
    """Tell whether a field equals one of the values in type too: true is not 1."""
    return any(type(found) is type(value) and found == value for value in values)
