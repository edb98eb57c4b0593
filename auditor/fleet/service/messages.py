"""Messages of alerts: the changes, and the next commands."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.core.text import plural
from auditor.findings.secret_groups import Verdict
from auditor.fleet.service.alerts import Alert, Event, plain

_MAX_LINES = 20


@dataclass(frozen=True, slots=True)
class Message:
    """Title and text of a message, and the alerts as JSON values for webhooks."""

    title: str
    text: str
    alerts: tuple[dict[str, Any], ...] = ()


def message(registry: str, alerts: Sequence[Alert], teams: Collection[str] = ()) -> Message:
    """Return the message about alerts of a registry, in their order, for the receivers of some teams."""
    counted = {event: [one for one in alerts if one.event is event] for event in Event}
    texts = {Event.NEW: "new secret", Event.OVERDUE: "overdue secret", Event.GONE: "gone secret"}
    parts = ", ".join(plural(len(own), texts[event]) for event, own in counted.items() if own)
    team = f" ({plain(', '.join(sorted(teams)))})" if teams else ""
    lines = list(_lines(counted))
    to_do = counted[Event.NEW] or counted[Event.OVERDUE]
    if to_do:
        lines += _instructions(registry, to_do[0], teams)
    title = f"image-audit: {parts} in {plain(registry)}{team}"
    return Message(title, "\n".join(lines), tuple(alert_json(one) for one in alerts))


def alert_json(alert: Alert) -> dict[str, Any]:
    """Return an alert as JSON values; docs/schedule.md describes them."""
    return {
        "event": alert.event.value,
        "secret_id": alert.secret_id,
        "rule": alert.rule,
        "severity": alert.severity.value,
        "state": alert.state or None,
        "image": alert.image,
        "location": alert.location or None,
        "images": alert.images,
        "owners": list(alert.owners),
        "first_seen": alert.first_seen or None,
        "due": alert.due or None,
        "note": alert.note or None,
    }


def _lines(counted: dict[Event, list[Alert]]) -> Iterator[str]:
    """Yield the counts of new secrets, and one line for each alert, up to a limit."""
    if new := counted[Event.NEW]:
        yield Verdict(
            secrets=len(new),
            places=sum(secret.places for secret in new),
            recoverable=sum(secret.is_recoverable for secret in new),
            visible=sum(secret.is_visible for secret in new),
            failing=0,
        ).text
    left = _MAX_LINES
    headings = {Event.OVERDUE: "Overdue:", Event.GONE: "Gone, because every digest that held it is deleted:"}
    for event, own in counted.items():
        if not own:
            continue
        if event in headings:
            yield headings[event]
        yield from map(str, own[:left])
        if len(own) > left:
            yield f"and {len(own) - left} more"
        left = max(left - len(own), 0)


def _instructions(registry: str, first: Alert, teams: Collection[str]) -> list[str]:
    plan = f"image-audit registry plan {shlex.quote(registry)}"
    if len(teams) == 1:
        owner = shlex.quote(next(iter(teams)))
        plan += f" --owner {owner} --config FILE, where FILE is the config file with the owners"
    return [
        f"What to do: revoke the secrets, rebuild the tags, delete the digests. Steps: {plan}",
        f"All locations of a secret: image-audit registry where {first.secret_id[:12]}",
    ]
