"""Receivers of notifications: plain webhooks, and the chats, mail and services that apprise supports.

A webhook is a POST of JSON through the program's own HTTP stack, in the format of apprise's JSON notifications. apprise
sends the rest itself, without retries and without redirects.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import requests
from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType, OverflowMode
from urllib3.exceptions import HTTPError

from auditor.core.dataclass import dataclass
from auditor.core.errors import Temporary, Unreachable, UsageError
from auditor.fleet.service.messages import Message
from auditor.registry.address_guard import check_not_reserved
from auditor.registry.connection import ConnectionRules
from auditor.registry.http_session import (
    CONNECT_S,
    ProxyTable,
    ca_bundle,
    is_temporary,
    keep_header,
    new_session,
)
from auditor.registry.retry import RETRIED, Clock, retry_after_s

_RESPONSE_S = 30
_MAX_HEADERS = 64 << 10


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
    """A plain http or https URL; `token` is a bearer token."""

    name: str
    url: str
    credentials: tuple[bytes, bytes] | None
    token: str | None = None

    @classmethod
    def parse(cls, url: str, name: str, token: str | None = None) -> Webhook:
        """Split the credentials off a URL. Raises ValueError on any but an http or https URL with a host."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("no webhook")
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        if parts.username is None:
            return cls(name, bare, None, token)
        return cls(name, bare, (unquote(parts.username).encode(), unquote(parts.password or "").encode()), token)

    def send(self, message: Message) -> None:
        """Post a message once. Raises Temporary if a retry may succeed, Unreachable and BlockedAddress otherwise."""
        document = {"version": "1.0", "title": message.title, "message": message.text, "attachments": []}
        self.post({**document, "type": "warning", "alerts": list(message.alerts)})

    def post(self, document: Any) -> None:
        """Post JSON once. Raises as `send`."""
        rules = ConnectionRules(check_not_reserved, _RESPONSE_S, _MAX_HEADERS)
        auth: Any = self.credentials or keep_header
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        with new_session({"https://": rules, "http://": rules}) as session:
            try:
                response = session.post(
                    self.url,
                    json=document,
                    headers=headers,
                    auth=auth,
                    timeout=(CONNECT_S, _RESPONSE_S),
                    verify=ca_bundle(),
                    proxies=ProxyTable().proxies(self.url),
                    stream=True,  # the body is not needed
                    allow_redirects=False,
                )
            except (requests.RequestException, HTTPError, OSError, ValueError) as exc:
                kind = Temporary if is_temporary(exc, has_answered=False) else Unreachable
                raise kind("no response") from None
            response.close()
        if response.status_code in RETRIED:
            retry_s = retry_after_s(response.headers.get("Retry-After"), Clock().date())
            raise Temporary(f"HTTP {response.status_code}", retry_s)
        if not response.ok or response.is_redirect:
            raise Unreachable(f"HTTP {response.status_code}")
