"""Alerts: the changes of a sweep that a receiver has not been told of.

new        the secret is new in a repository, or its acknowledgement no longer holds
overdue    the due date is over, and the secret can still be pulled
gone       every digest of the repository that held the secret is deleted
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from enum import StrEnum

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity
from auditor.core.text import printable, shortened_middle
from auditor.fleet.remediation.locations import short_id
from auditor.fleet.remediation.open_secrets import OpenSecret, host_of
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store.alerts import OPEN, OVERDUE, AlertKey, accepted_alerts, gone_secrets
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import FindingRow, SweepRow

_MAX_LOCATION = 200
# Paths come from images: they must not mention users, contain links, or format text in the chat that shows them.
_MARKUP = re.compile(r"[<>\[\](){}@|`*~#\\]|&(?=[#\w])|(?<=:)/(?=/)")
_KEPT_IN_NAMES = "()"  # names of rules do not come from images, and without brackets these make no link


class Event(StrEnum):
    """Kind of a change."""

    NEW = "new"
    OVERDUE = "overdue"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Alert:
    """A change of one secret, with the image and location of its most severe finding.

    `images` and `places` are numbers among the findings of the change. `due` is a date, `note` explains a lapsed
    acknowledgement. Texts are safe for chats. A gone secret has neither location nor due date.
    """

    event: Event
    severity: Severity
    rule: str
    image: str
    secret_id: str = ""
    state: str = ""
    location: str = ""
    images: int = 1
    places: int = 1
    is_recoverable: bool = False
    is_visible: bool = False
    owners: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    first_seen: str = ""
    due: str = ""
    is_overdue: bool = False
    name: str = ""
    note: str = ""

    def __str__(self) -> str:
        secret = f"; secret {short_id(self.secret_id)}" if self.secret_id else ""
        if self.event is Event.GONE:
            return f"{self.severity}: {self.rule} from {self.image}{secret}"
        more = f" and {self.images - 1} more" if self.images > 1 else ""
        due = f"; {'overdue since' if self.is_overdue else 'due'} {self.due}" if self.due else ""
        note = f"; {self.note}" if self.note else ""
        return f"{self.severity}: {self.rule} in {self.image}{more}, {self.location} ({self.state}){due}{note}{secret}"


@dataclass(frozen=True, slots=True)
class Pending:
    """Alerts for one receiver, with the rows of the store that change once it accepts them.

    `accepted` has the event of each new or overdue alert, by secret; `ended` are the secrets that are gone or
    acknowledged.
    """

    alerts: tuple[Alert, ...]
    accepted: Mapping[str, Mapping[AlertKey, str]] = field(default_factory=dict)
    ended: tuple[AlertKey, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.alerts or self.ended)


def pending_alerts(
    store: SweepStore,
    sweep: SweepRow,
    secrets: Iterable[OpenSecret],
    policy: Policy,
    tags: Mapping[int, Sequence[str]],
    receiver: bytes,
    globs: Collection[str] | None = None,
) -> Pending:
    """Return the changes of a sweep for a receiver, most severe first.

    With `globs` of owners, only those in the repositories to which these globs apply. `tags` are the tags of the images
    of the sweep, by row.
    """
    host = host_of(sweep)
    known = accepted_alerts(store, receiver, host)
    alerts, accepted, ended = list[Alert](), dict[str, Mapping[AlertKey, str]](), list[AlertKey]()
    for secret in secrets:
        rows = [row for row in secret.findings if globs is None or policy.owners.glob_of(host, row.repository) in globs]
        keys = {AlertKey(secret.secret_id, row.repository) for row in rows}
        if secret.is_acknowledged:
            ended += sorted(keys & known.keys(), key=lambda key: key.repository)
            continue
        fresh = [row for row in rows if AlertKey(row.secret, row.repository) not in known]
        event = OVERDUE if secret.is_overdue else OPEN
        if fresh:
            alerts.append(_alert(Event.NEW, secret, fresh, tags))
        elif secret.is_overdue and any(known[key] == OPEN for key in keys):
            alerts.append(_alert(Event.OVERDUE, secret, rows, tags))
        else:
            continue
        accepted[secret.secret_id] = dict.fromkeys(sorted(keys, key=lambda key: key.repository), event)
    gone = gone_secrets(store, receiver, host)
    for one in gone:
        rule, repository = plain(one.rule), plain(one.key.repository)
        alerts.append(Alert(Event.GONE, Severity(one.severity), rule, repository, one.key.secret))
    ended += [one.key for one in gone]
    order = list(Event)
    alerts.sort(key=lambda one: (order.index(one.event), -one.severity.rank, one.image, one.location))
    return Pending(tuple(alerts), accepted, tuple(ended))


def plain(text: str, keep: str = "") -> str:
    """Return a text of an image without characters that have a meaning in chats, and of limited length.

    Each of them becomes `?`, except those in `keep`.
    """
    text = shortened_middle(printable(text), _MAX_LOCATION)
    return _MARKUP.sub(lambda found: found[0] if found[0] in keep else "?", text)


def _alert(event: Event, secret: OpenSecret, rows: Sequence[FindingRow], tags: Mapping[int, Sequence[str]]) -> Alert:
    row = rows[0]
    own = tags.get(row.image)
    location = row.path if row.path is not None else row.where or ""
    if row.line is not None:
        location += f":{row.line}"
    return Alert(
        event,
        Severity(row.severity),
        plain(row.rule),
        plain(f"{row.repository}:{own[0]}" if own else f"{row.repository} {row.digest[:19]}"),
        secret.secret_id,
        row.state,
        plain(location),
        images=len({(other.repository, other.digest) for other in rows}),
        places=len(rows),
        is_recoverable=any(other.hidden_in is not None for other in rows),
        is_visible=any(other.hidden_in is None for other in rows),
        owners=tuple(map(plain, secret.owners)),
        repositories=tuple(sorted({plain(other.repository) for other in rows})),
        first_seen=secret.first_seen,
        due=secret.due.isoformat(),
        is_overdue=secret.is_overdue,
        name=plain(row.name, _KEPT_IN_NAMES),
        note=plain(f"the acknowledgement no longer holds: {secret.status.lapsed}") if secret.status else "",
    )
