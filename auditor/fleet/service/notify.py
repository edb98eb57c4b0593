"""Tells people what is new: a message to each URL of --notify, by apprise, which knows chats, mail and webhooks.

A message says of each new secret its severity, rule, state, image and place: neither the secret nor a part of it. A
plain http or https URL that is no chat's own is a webhook, which gets apprise's JSON. A receiver that does not take a
message is told the same again after the next sweep of this process.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from auditor.core.errors import UsageError
from auditor.core.finding import Severity
from auditor.core.text import plural, printable, shortened
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import FindingRow, SweepRow

if TYPE_CHECKING:
    from apprise import Apprise

_MAX_LINES = 20
_MAX_PLACE = 200
_RETRIES = 2
# Paths come from images: they must not mention everybody, link, or format anything in whatever chat shows them.
_MARKUP = re.compile(r"[<>\[\](){}@|`*~#&\\]|(?<=:)/(?=/)")


@dataclass(frozen=True, slots=True)
class NewSecret:
    """One secret that is new. `images` counts those of the sweep's new findings that hold it, with the one named."""

    severity: Severity
    rule: str
    state: str
    place: str
    image: str
    images: int

    def __str__(self) -> str:
        more = f" and {self.images - 1} more" if self.images > 1 else ""
        return f"{self.severity}: {self.rule} in {self.image}{more}, {self.place} ({self.state})"


class Notifier:
    """Tells all receivers. Raises UsageError on a URL that apprise does not know."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._receivers = [_receiver(url, number) for number, url in enumerate(urls, 1)]

    def tell(self, store: SweepStore, sweep: SweepRow) -> list[str]:
        """Send what is new in a sweep; where nothing is, send nothing. Return a line for each receiver that fails."""
        if not self._receivers:
            return []
        found = new_secrets(store, sweep.id)
        return [line for receiver in self._receivers if (line := receiver.tell(sweep.registry, found))]


def new_secrets(store: SweepStore, sweep: int) -> list[NewSecret]:
    """Return what is new in a sweep, the most severe first: each secret once for each rule."""
    found: dict[tuple[str, str], list[FindingRow]] = {}
    for row in queries.new_findings(store, sweep):
        found.setdefault((row.secret, row.rule), []).append(row)
    tags = {image.id: image.tags for image in queries.images(store, sweep)} if found else {}
    told = [_news(rows, tags.get(rows[0].image, ())) for rows in found.values()]
    return sorted(told, key=lambda one: (-one.severity.rank, one.image, one.place))


def message(registry: str, found: Sequence[NewSecret]) -> tuple[str, str]:
    """Return title and text."""
    lines = [f"{one}" for one in found[:_MAX_LINES]]
    if len(found) > _MAX_LINES:
        lines.append(f"and {len(found) - _MAX_LINES} more")
    return f"image-audit: {plural(len(found), 'new secret')} in {_plain(registry)}", "\n".join(lines)


@dataclass(slots=True)
class _Receiver:
    """Where messages go. `untold` is what it did not take; `name` holds nothing of the URL, which may be secret."""

    name: str
    service: Apprise
    untold: list[NewSecret] = field(default_factory=list)

    def tell(self, registry: str, found: Sequence[NewSecret]) -> str | None:
        """Send; return what went wrong."""
        from apprise import NotifyFormat, NotifyType

        self.untold = [*self.untold, *(one for one in found if one not in self.untold)]
        if not self.untold:
            return None
        title, body = message(registry, self.untold)
        if not self.service.notify(body, title, NotifyType.WARNING, body_format=NotifyFormat.TEXT):
            return f"{self.name} did not take the message of {plural(len(self.untold), 'new secret')}"
        self.untold = []
        return None


def _receiver(url: str, number: int) -> _Receiver:
    from apprise import Apprise, AppriseAsset, OverflowMode

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it names URLs, which hold tokens
    asset = AppriseAsset(app_id="image-audit", app_desc="image-audit", default_service_retry=_RETRIES)
    service: Any = Apprise.instantiate(url, asset=asset) or Apprise.instantiate(_webhook(url), asset=asset)
    if not service:
        scheme, mark, _ = url.partition("://")
        kind = scheme if mark else "no URL"
        raise UsageError(f"--notify, URL {number} ({kind:.20}): want an https webhook, or a URL that apprise knows")
    service.overflow_mode = OverflowMode.SPLIT  # or what is too long for a chat would be cut, or refused
    receivers = Apprise(asset=asset)
    receivers.add(service)
    return _Receiver(f"--notify, URL {number} ({service.service_name})", receivers)


def _webhook(url: str) -> dict[str, Any]:
    """Return a plain URL as apprise's webhook; something that is none for any other."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        return {"schema": ""}
    return {
        "schema": {"http": "json", "https": "jsons"}.get(parts.scheme, ""),
        "host": f"[{host}]" if ":" in host else host,
        "port": port,
        "user": parts.username,
        "password": parts.password,
        "fullpath": parts.path,
        "params": dict(parse_qsl(parts.query)),
    }


def _news(rows: Sequence[FindingRow], tags: Sequence[str]) -> NewSecret:
    row = rows[0]
    image = f"{row.repository}:{tags[0]}" if tags else f"{row.repository} {row.digest[:19]}"
    place = row.path if row.path is not None else row.where or ""
    if row.line is not None:
        place += f":{row.line}"
    images = len({(other.repository, other.digest) for other in rows})
    return NewSecret(Severity(row.severity), _plain(row.rule), row.state, _plain(place), _plain(image), images)


def _plain(text: str) -> str:
    return _MARKUP.sub("?", shortened(printable(text), _MAX_PLACE))
