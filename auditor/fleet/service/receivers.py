"""Receivers of notifications: plain webhooks, and the chats, mail and services that apprise supports.

A webhook is a POST of JSON through the program's own HTTP stack, in the format of apprise's JSON notifications. apprise
sends the rest itself, without retries and without redirects.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType, OverflowMode
from urllib3 import Timeout

from auditor.core.dataclass import dataclass
from auditor.core.errors import Temporary, Unreachable, UsageError
from auditor.fleet.service.messages import Message
from auditor.registry.address_guard import check_not_reserved
from auditor.registry.authentication import basic_authorization
from auditor.registry.connection import ConnectionRules
from auditor.registry.http_session import CONNECT_S, FAILURES, HttpSession, is_temporary
from auditor.registry.logins import Login
from auditor.registry.retry import RETRIED, Clock, retry_after_s
from auditor.registry.tls import default_context

_RESPONSE_S = 30
_MAX_HEADERS = 64 << 10


class Refused(Unreachable):
    """The receiver answered that it does not accept this document: HTTP 4xx."""


class Receiver(Protocol):
    """Destination of messages. `name` contains no part of its URL, which may be secret."""

    @property
    def name(self) -> str:
        """Name in messages to the user."""
        ...

    def send(self, message: Message) -> None:
        """Send a message once. Raises Temporary if a retry may succeed, Unreachable otherwise."""
        ...


def parse_receiver(url: str, name: str) -> Receiver:
    """Return the receiver of a URL; `name` is the place of the URL in the options. Raises UsageError for others."""
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # its log lines contain URLs with tokens
    asset = AppriseAsset(app_id="image-audit", app_desc="image-audit", default_service_retry=0, http_redirects=False)
    service: Any = Apprise.instantiate(url, asset=asset)
    if service:
        service.overflow_mode = OverflowMode.SPLIT  # a long message would otherwise be cut or refused
        apprise = Apprise(asset=asset)
        apprise.add(service)
        return AppriseReceiver(f"{name} ({service.service_name})", apprise)
    try:
        return Webhook.parse(url, f"{name} (webhook)")
    except ValueError:
        scheme, mark, _ = url.partition("://")
        kind = scheme if mark else "no URL"
        raise UsageError(f"{name} ({kind:.20}): expected an https webhook, or a URL that apprise knows") from None


@dataclass(frozen=True, slots=True)
class AppriseReceiver:
    """A chat, mail address or service of apprise."""

    name: str
    apprise: Apprise

    def send(self, message: Message) -> None:
        """Send a message once. Raises Temporary: apprise does not tell why it failed."""
        if not self.apprise.notify(message.text, message.title, NotifyType.WARNING, body_format=NotifyFormat.TEXT):
            raise Temporary("the message was not accepted")


@dataclass(frozen=True, slots=True, repr=False)
class Webhook:
    """A plain http or https URL; `authorization` is the value of that header."""

    name: str
    url: str
    authorization: str | None

    @classmethod
    def parse(cls, url: str, name: str, token: str | None = None) -> Webhook:
        """Split the credentials off a URL; without them `token` is sent as a bearer token.

        Raises ValueError on any but an http or https URL with a host.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("no webhook")
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        if parts.username is not None:
            login = Login(unquote(parts.username), unquote(parts.password or ""))
            return cls(name, bare, basic_authorization(login))
        return cls(name, bare, f"Bearer {token}" if token else None)

    def send(self, message: Message) -> None:
        """Post a message once. Raises Temporary if a retry may succeed, Unreachable and BlockedAddress otherwise."""
        document = {"version": "1.0", "title": message.title, "message": message.text, "attachments": []}
        self.post({**document, "type": "warning", "alerts": list(message.alerts)})

    def post(self, document: Any) -> None:
        """Post JSON once. Raises as `send`, and Refused for HTTP 4xx."""
        rules = ConnectionRules(check_not_reserved, _RESPONSE_S, _MAX_HEADERS)
        session = HttpSession(lambda _: rules, default_context)
        headers = {"Content-Type": "application/json"}
        if self.authorization:
            headers["Authorization"] = self.authorization
        timeout = Timeout(connect=CONNECT_S, read=_RESPONSE_S)
        try:
            response = session.send("POST", self.url, headers, timeout, json.dumps(document).encode())
        except FAILURES as exc:
            kind = Temporary if is_temporary(exc, has_answered=False) else Unreachable
            raise kind("no response") from None
        response.close()  # the body is not needed
        if response.status in RETRIED:
            retry_s = retry_after_s(response.headers.get("Retry-After"), Clock().date())
            raise Temporary(f"HTTP {response.status}", retry_s)
        if not 200 <= response.status < 300:
            raise (Refused if 400 <= response.status < 500 else Unreachable)(f"HTTP {response.status}")
