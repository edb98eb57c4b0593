"""Tickets: one POST of JSON for each new secret of an owner, in the form of Jira, GitHub issues or an own template.

Sources: Jira REST API version 2, `POST /rest/api/2/issue`; GitHub REST API, `POST /repos/OWNER/REPO/issues`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.core.errors import UsageError, reason
from auditor.core.finding import Severity
from auditor.core.owner_options import TicketOptions
from auditor.core.package_data import data_path
from auditor.core.text import plural, printable, shortened_middle
from auditor.fleet.remediation.locations import short_id
from auditor.fleet.service.alerts import Alert, Event
from auditor.fleet.service.receivers import Webhook
from auditor.report.template_process import environment, render_isolated

_SAMPLE = Alert(
    Event.NEW, Severity.LOW, "rule", "app:1", "0" * 32, repositories=("app",), first_seen="2026-01-01", due="2026-01-02"
)
_MAX_TITLE = 250  # characters; GitHub refuses more than 256, Jira more than 255
_BUILT_IN = {"jira": "reports/templates/ticket-jira.json.j2", "github": "reports/templates/ticket-github.json.j2"}


@dataclass(frozen=True, slots=True)
class TicketSystem:
    """Ticket system of a team: a webhook, and the template of its documents."""

    webhook: Webhook
    template: str
    is_own: bool
    place: str
    project: str
    team: str

    def document(self, registry: str, alert: Alert) -> Any:
        """Return the JSON document of a ticket. Raises UsageError if the template is wrong, with its place.

        Own templates are rendered in a process with limits: `is_own`.
        """
        values = {
            "project": self.project,
            "team": self.team,
            "registry": registry,
            "title": shortened_middle(f"Revoke {alert.name} in {alert.repositories[0]}", _MAX_TITLE),
            "description": _description(registry, alert),
            "secret_id": alert.secret_id,
            "rule": alert.rule,
            "severity": alert.severity.value,
            "image": alert.image,
            "location": alert.location,
            "repositories": list(alert.repositories),
            "first_seen": alert.first_seen,
            "due": alert.due,
        }
        if self.is_own:
            text = render_isolated(self.place, self.template, values, escape=False)
        else:
            text = environment(escape=False).from_string(self.template).render(values)
        try:
            return json.loads(text)
        except ValueError as exc:
            raise UsageError(f"{self.place}: {printable(str(exc))}") from None


def ticket_system(options: TicketOptions, url: str, token: str | None, team: str) -> TicketSystem:
    """Return the ticket system of a team; `url` and `token` are those of the options, without variables.

    Raises UsageError if the URL or the template can't be used.
    """
    name = f"owners: {printable(team)}, ticket"
    try:
        webhook = Webhook.parse(url, name, token)
    except ValueError:
        raise UsageError(f"{name}: expected an http or https URL") from None
    is_own = options.template not in _BUILT_IN
    path = Path(options.template) if is_own else data_path(_BUILT_IN[options.template])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{name}: {options.template}: can't be read: {reason(exc)}") from None
    system = TicketSystem(webhook, text, is_own, f"{name}: {options.template}", options.project, team)
    system.document("registry.example.com", _SAMPLE)  # before a sweep begins
    return system


def _description(registry: str, alert: Alert) -> str:
    where = f"image-audit registry where {short_id(alert.secret_id)}"
    more = f" and {plural(alert.images - 1, 'more image')}" if alert.images > 1 else ""
    return "\n".join(
        (
            f"{alert.name}, severity {alert.severity.value}, can be read from {alert.image}{more} "
            f"in {registry}: {alert.location} ({alert.state}).",
            f"First seen {alert.first_seen[:10]}, due {alert.due}.",
            *((f"{alert.note[:1].upper()}{alert.note[1:]}.",) if alert.note else ()),
            "",
            "1. Revoke the secret. Anyone who can pull the image can read it.",
            f"2. Rebuild the tags and delete the digests: image-audit registry plan {registry}",
            f"3. All locations: {where}",
            f"If it is no secret: image-audit registry ack {short_id(alert.secret_id)} --reason TEXT",
        )
    )
