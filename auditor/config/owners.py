"""The keys `owners` and `due` of `.image-audit.yaml`: owners of repositories, and days until a secret is due."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from auditor.config.keys import below
from auditor.core.finding import Severity
from auditor.core.owner_options import DUE_DAYS, MOST_DUE_DAYS, NO_OWNER, OwnerOptions, TicketOptions

if TYPE_CHECKING:
    from auditor.core.yaml_file import YamlValue

TEMPLATES = ("jira", "github")
"""Built-in templates of tickets."""

_TEAM = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


def parse_owners(node: YamlValue, folder: Path) -> dict[str, OwnerOptions]:
    """Return owners by glob; paths are relative to the folder. Raises ConfigError."""
    return {glob: _owner(value, folder) for glob, value in node.mapping().items()}


def parse_due(node: YamlValue) -> Mapping[Severity, int]:
    """Return the days until a secret is due, by severity; missing severities keep their default. Raises ConfigError."""
    days = {Severity(name): value.count(MOST_DUE_DAYS) for name, value in node.mapping(below("due")).items()}
    return MappingProxyType({**DUE_DAYS, **days})


def _owner(node: YamlValue, folder: Path) -> OwnerOptions:
    keys = node.mapping(below("owners.*"))
    notify = keys["notify"].texts() if "notify" in keys else ()
    ticket = _ticket(keys["ticket"], folder) if "ticket" in keys else None
    if "team" not in keys:
        node.fail("expected the key team")
    team = keys["team"].text().strip()
    if not _TEAM.fullmatch(team):
        keys["team"].fail("expected a name of at most 100 characters in one line")
    if team.casefold() == NO_OWNER:
        keys["team"].fail(f"{team!r} names the repositories without an owner. Name the team differently")
    return OwnerOptions(team, notify, ticket)


def _ticket(node: YamlValue, folder: Path) -> TicketOptions:
    keys = node.mapping(below("owners.*.ticket"))
    values = {key: value.text() for key, value in keys.items()}
    if "url" not in keys:
        node.fail("expected the key url")
    if (template := values.get("template", "github")) not in TEMPLATES:
        values["template"] = str(folder / template)
    if template == "jira" and "project" not in values:
        node.fail("expected the key project, the key of the Jira project")
    return TicketOptions(**values)
