"""Owners of repositories and due dates, as the config file sets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity

DUE_DAYS: Mapping[Severity, int] = MappingProxyType(
    {Severity.CRITICAL: 1, Severity.HIGH: 7, Severity.MEDIUM: 30, Severity.LOW: 90}
)
"""Default number of days from the first sight of a secret to its due date."""

MOST_DUE_DAYS = 3650

NO_OWNER = "no owner"
"""Name of the repositories without an owner. No team has it."""


@dataclass(frozen=True, slots=True)
class TicketOptions:
    """Ticket system of an owner: `url` takes a POST for each new secret, in the form of `template`.

    `template` is `jira`, `github`, or the path of a Jinja2 template. `project` is the Jira key. `token` is a bearer
    token. `url` and `token` may be `$NAME`, the name of an environment variable.
    """

    url: str
    template: str = "github"
    project: str = ""
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OwnerOptions:
    """Team that owns the repositories of a glob. `notify` are URLs as for --notify, or `$NAME` of the environment."""

    team: str
    notify: tuple[str, ...] = field(default=(), repr=False)
    ticket: TicketOptions | None = None
