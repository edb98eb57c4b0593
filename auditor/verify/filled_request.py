"""A rule's probe with a secret filled in. It contains the complete secret, and therefore has no `repr`."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from urllib.parse import quote, urlencode, urlsplit

from auditor.core.dataclass import dataclass
from auditor.core.secret import Secret
from auditor.detect.probe import PLACEHOLDERS, Pairs, Probe
from auditor.registry.address_classes import AddressClass, class_of_host
from auditor.registry.http_session import USER_AGENT

_FILLED = re.compile("|".join(rf"\{{({name})\}}" for name in PLACEHOLDERS))
_SENDABLE = re.compile(r"[!-~]+(?: [!-~]+)*")  # other characters could end a header, or change in transit


@dataclass(frozen=True, slots=True, repr=False)
class FilledRequest:
    """One HTTP request. `path` includes the query; `is_loopback` is set if the rule itself names this machine."""

    secure: bool
    host: str
    port: int
    is_loopback: bool
    method: str
    path: str
    headers: Pairs
    body: bytes | None


def fill_request(probe: Probe, secret: Secret) -> FilledRequest | None:
    """Fill a secret into a probe; None for a secret with other characters than printable ASCII, or line breaks."""
    text = secret.reveal()
    if not _SENDABLE.fullmatch(text):
        return None
    parts = urlsplit(probe.url)
    secure, host = parts.scheme == "https", parts.hostname or ""
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kind, body = _body(probe, text)
    return FilledRequest(
        secure=secure,
        host=host,
        port=parts.port or (443 if secure else 80),
        is_loopback=class_of_host(host) is AddressClass.LOOPBACK,
        method=probe.method,
        path=_fill(path, text, lambda value: quote(value, safe=":")),
        headers=_headers(probe, text, kind),
        body=body,
    )


def _body(probe: Probe, text: str) -> tuple[str | None, bytes | None]:
    if probe.body is not None:
        return "application/json", _fill(probe.body, text, lambda value: json.dumps(value)[1:-1]).encode()
    if probe.form:
        pairs = [(name, _fill(value, text)) for name, value in probe.form]
        return "application/x-www-form-urlencoded", urlencode(pairs).encode()
    return None, None


def _headers(probe: Probe, text: str, kind: str | None) -> Pairs:
    """Return the rule's headers, and the default headers that it does not set."""
    own = {"User-Agent": USER_AGENT, "Accept": "application/json", "Connection": "close"}
    if kind:
        own["Content-Type"] = kind
    if probe.basic is not None:
        own["Authorization"] = "Basic " + _base64(_fill(probe.basic, text))
    set_by_rule = {name.lower() for name, _ in probe.headers}
    filled = ((name, _fill(value, text)) for name, value in probe.headers)
    return (*filled, *(pair for pair in own.items() if pair[0].lower() not in set_by_rule))


def _fill(template: str, text: str, escape: Callable[[str], str] = str) -> str:
    values = {"{secret}": text, "{secret_base64}": _base64(text)}
    return _FILLED.sub(lambda match: escape(values[match[0]]), template)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
