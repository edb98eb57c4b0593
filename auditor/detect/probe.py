"""`verify` of a rule: a harmless request that tells whether a secret still works. Format: docs/writing-rules.md."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import SplitResult, urlsplit

from auditor.core.errors import RuleError

Scalar = str | int | float | bool | None
Pairs = tuple[tuple[str, str], ...]

PLACEHOLDERS = ("secret", "secret_base64")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_KEYS = ("method", "url", "headers", "basic", "form", "body", "active", "inactive")
_HEADER = re.compile(r"[A-Za-z0-9-]+")
_OWN_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "accept-encoding")
_PRINTABLE = re.compile(r"[ -~]*")
_NOT_IN_URL = re.compile(r"[^!-~]")
_NOTHING = object()  # what a path leads to that a document does not have


class Liveness(StrEnum):
    """What a provider says of a secret."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """Of several verdicts on one secret the greatest holds: one door that opens is enough."""
        return (Liveness.UNKNOWN, Liveness.INACTIVE, Liveness.ACTIVE).index(self)


@dataclass(frozen=True, slots=True)
class Condition:
    """What an answer must be: one of `statuses`, and at each dotted path of its JSON one of the values."""

    statuses: tuple[int, ...]
    fields: tuple[tuple[str, tuple[Scalar, ...]], ...]

    def holds(self, status: int, document: Any) -> bool:
        """Whether an answer is so; `document` is None where the answer holds no JSON."""
        if self.statuses and status not in self.statuses:
            return False
        return all(_is_one_of(_at(document, path), values) for path, values in self.fields)


@dataclass(frozen=True, slots=True)
class Probe:
    """The request, with placeholders for the secret, and what its answers mean.

    `basic` is `user:password`; `form` and `body` (JSON text) exclude each other. Hashable: equal probes ask the same.
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
        """Whether the answer's content matters, or its status alone."""
        return any(condition.fields for condition in (*self.active, *self.inactive))

    def judge(self, status: int, document: Any) -> Liveness:
        """Return what an answer says of the secret. Inactive goes first: it is the narrower claim."""
        if any(condition.holds(status, document) for condition in self.inactive):
            return Liveness.INACTIVE
        if any(condition.holds(status, document) for condition in self.active):
            return Liveness.ACTIVE
        return Liveness.UNKNOWN


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very name: `localhost` or an address such as 127.0.0.1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_probe(value: Any, where: Callable[[str], str]) -> Probe | None:
    """Check the `verify` of a rule. Raises RuleError, which begins with `where("verify")`; None stays None."""
    if value is None:
        return None
    try:
        return _probe(value)
    except ValueError as exc:
        raise RuleError(f"{where('verify')}: verify: {exc}") from None


def _probe(value: Any) -> Probe:
    for key in _mapping(value, "it"):
        if key not in _KEYS:
            raise ValueError(f"unknown key {key!r}; there are {', '.join(_KEYS)}")
    body = json.dumps(_mapping(value["body"], "body")) if "body" in value else None
    probe = Probe(
        method=_method(value),
        url=_url(value.get("url")),
        headers=_headers(value.get("headers", {})),
        basic=_basic(value.get("basic")),
        form=_pairs(value.get("form", {}), "form"),
        body=body,
        active=_conditions(value.get("active"), "active"),
        inactive=_conditions(value["inactive"], "inactive") if "inactive" in value else (),
    )
    if probe.basic and any(name.lower() == "authorization" for name, _ in probe.headers):
        raise ValueError("basic makes the header Authorization, so headers must not")
    _placeholders(probe)
    return probe


def _method(value: Mapping[str, Any]) -> str:
    method = value.get("method", "GET")
    if method not in ("GET", "POST"):
        raise ValueError(f"method is {method!r}; want GET or POST")
    if method == "GET" and ("form" in value or "body" in value):
        raise ValueError("a GET carries no form and no body; want method: POST")
    if "form" in value and "body" in value:
        raise ValueError("form and body exclude each other")
    return str(method)


def _url(value: Any) -> str:
    if not isinstance(value, str) or _NOT_IN_URL.search(value):
        raise ValueError("url must be an address of printable ASCII without spaces")
    parts = urlsplit(value)
    _host(parts)
    if parts.username is not None or parts.password is not None:
        raise ValueError("url holds a login; use basic")
    if parts.fragment or "#" in value:
        raise ValueError("url holds a fragment, which is never sent")
    return value


def _host(parts: SplitResult) -> None:
    """Raise ValueError unless an address is https, or plain http to this machine."""
    host = parts.hostname or ""
    if not host or "{" in parts.netloc or not (parts.port is None or parts.port > 0):
        raise ValueError("url must name a host, and no placeholder may stand in it")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError("url must begin with https://; plain http is for loopback (127.0.0.1, ::1, localhost) only")


def _headers(value: Any) -> Pairs:
    pairs = _pairs(value, "headers")
    for name, text in pairs:
        if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS:
            raise ValueError(f"headers: {name!r} can't be set")
        if not _PRINTABLE.fullmatch(text):
            raise ValueError(f"headers: {name} must be printable ASCII on one line")
    return pairs


def _basic(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or ":" not in value):
        raise ValueError("basic must be a text user:password, such as '{secret}:'")
    return value


def _pairs(value: Any, key: str) -> Pairs:
    for name, text in _mapping(value, key).items():
        if not isinstance(text, str):
            raise ValueError(f"{key}: {name} must be a text; put it in quotes")
    return tuple(value.items())


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{key} must be a mapping")
    return value


def _conditions(value: Any, key: str) -> tuple[Condition, ...]:
    items = value if isinstance(value, list) else [value]
    if value is None or not items:
        raise ValueError(f"{key} is missing: want statuses or a JSON field that tell it, such as {{status: [200]}}")
    return tuple(_condition(item, key) for item in items)


def _condition(value: Any, key: str) -> Condition:
    for name in _mapping(value, key):
        if name not in ("status", "json"):
            raise ValueError(f"{key}: unknown key {name!r}; there are status, json")
    if not value:
        raise ValueError(f"{key} must not be empty: it would hold for every answer")
    statuses = _listed(value.get("status", []))
    if not all(type(status) is int and 100 <= status <= 599 for status in statuses):
        raise ValueError(f"{key}: status must be HTTP statuses, 100 to 599")
    fields = {path: _listed(wanted) for path, wanted in _mapping(value.get("json", {}), f"{key}: json").items()}
    for path, wanted in fields.items():
        if not wanted or not all(isinstance(one, Scalar) for one in wanted):
            raise ValueError(f"{key}: json: {path} must be a text, number, true, false or null, or a list of them")
    return Condition(tuple(statuses), tuple((path, tuple(wanted)) for path, wanted in fields.items()))


def _placeholders(probe: Probe) -> None:
    texts = [probe.url, probe.basic or "", probe.body or "", *(text for _, text in (*probe.headers, *probe.form))]
    used = {name for text in texts for name in _PLACEHOLDER.findall(text)}
    if unknown := sorted(used.difference(PLACEHOLDERS)):
        raise ValueError(f"unknown placeholder {{{unknown[0]}}}; there are {{secret}}, {{secret_base64}}")
    if not used:
        raise ValueError("the request holds no {secret}, so its answer says nothing of one")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _at(document: Any, path: str) -> Any:
    """Return what stands at `errors.0.code`, `_NOTHING` where nothing does."""
    for step in path.split("."):
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return _NOTHING
    return document


def _is_one_of(found: Any, values: tuple[Scalar, ...]) -> bool:
    """Whether a field is one of the values; true is not 1."""
    return any(type(found) is type(value) and found == value for value in values)
