"""The work of `image-audit registry where`, `ack` and `plan`."""

from __future__ import annotations

import datetime
import getpass
import json
import sys
from typing import Any

import click

from auditor.cli import EXIT_CLEAN
from auditor.cli.sweep_setup import open_store, policy
from auditor.cli.sweeps import check_audited, last_sweep
from auditor.core.clock import timestamp, today, utc_now
from auditor.core.command_options import SweepOptions
from auditor.core.text import nearest, printable, shortened
from auditor.detect.message_masking import masked_line
from auditor.fleet.remediation import locations, plan_text
from auditor.fleet.remediation.known_secrets import mask_known_secrets
from auditor.fleet.remediation.plan import make_plan
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store.acknowledgements import delete_acknowledgement, save_acknowledgement
from auditor.fleet.store.database import SweepStore

_MAX_SECRET = 1 << 20  # bytes on standard input; the largest secrets are private keys of some kB
_MAX_REASON = 500


def where(secret_id: str | None, form: str, options: SweepOptions, *, from_stdin: bool) -> int:
    """Print every location of a secret; return the exit code."""
    if (secret_id is None) != from_stdin:
        raise click.UsageError("give either SECRET_ID or --stdin")
    with open_store(options.store) as store:
        known = (
            locations.secret_by_value(store, _secret())
            if secret_id is None
            else locations.secret_by_id(store, secret_id)
        )
        found = locations.locate(store, known, policy(options))
    if form == "json":
        for text in locations.locations_json_text(found):
            click.echo(text, nl=False)
    else:
        click.echo(locations.locations_text(found), nl=False)
    return EXIT_CLEAN


def acknowledge(
    secret_id: str,
    reason: str | None,
    until: datetime.date | None,
    author: str | None,
    store_url: str | None,
    *,
    remove: bool,
) -> int:
    """Store or remove an acknowledgement; return the exit code."""
    if remove == bool((reason or "").strip()):
        raise click.UsageError("give either --reason TEXT or --remove")
    if until is not None and until < today():
        raise click.UsageError(f"--until {until} is over. Name a later day")
    author = author or ("" if remove else _user())
    with open_store(store_url) as store:
        known = locations.secret_by_id(store, secret_id)
        if remove:
            removed = delete_acknowledgement(store, known)
            click.echo(f"secret {known}: {'the acknowledgement was removed' if removed else 'was not acknowledged'}")
            return EXIT_CLEAN
        text, name = _clean(store, reason or ""), _clean(store, author)
        save_acknowledgement(store, known, text, name, timestamp(utc_now()), until)
        found = locations.locate(store, known, Policy(today()))
    click.echo(locations.locations_text(found), nl=False)
    return EXIT_CLEAN


def plan(registry: str | None, owner: str | None, form: str, options: SweepOptions) -> int:
    """Print the plan of the last sweep; return the exit code."""
    own = policy(options)
    if owner is not None and owner not in own.owners.teams:
        known = (
            f"The config file has {', '.join(own.owners.teams)}" if own.owners.teams else "No config file has owners"
        )
        raise click.UsageError(f"--owner {owner!r}: unknown{nearest(owner, own.owners.teams)}. {known}")
    with open_store(options.store) as store:
        sweep = last_sweep(store, registry)
        made = make_plan(store, sweep, own, owner)
    if form == "json":
        _print_json(plan_text.plan_json(made))
    else:
        click.echo(plan_text.plan_text(made), nl=False)
    return check_audited(sweep)


def _secret() -> str:
    """Read a secret from standard input."""
    data = sys.stdin.buffer.read(_MAX_SECRET + 1)
    if len(data) > _MAX_SECRET:
        raise click.UsageError("--stdin: a secret has at most 1 MiB")
    if not data.strip():
        raise click.UsageError("--stdin: standard input is empty")
    return data.decode("utf-8", "surrogateescape")


def _user() -> str:
    """Return the name of the user. Raises UsageError without one, as in a container with an arbitrary user id."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise click.UsageError("this user has no name. Give one with --by NAME") from None


def _clean(store: SweepStore, text: str) -> str:
    """Return a text of the user without control characters, tokens, and secrets of the store.

    It is cut after them, because of a part of a secret nothing tells that it is one.
    """
    text = mask_known_secrets(store, text.strip()[: 2 * _MAX_REASON])
    return shortened(masked_line(printable(text)), _MAX_REASON)


def _print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=True))
