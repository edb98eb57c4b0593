"""A plan as text and JSON: `registry plan`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from auditor.core.text import plural, printable, shortened
from auditor.fleet.remediation.locations import acknowledgement_text, short_id
from auditor.fleet.remediation.open_secrets import OpenSecret
from auditor.fleet.remediation.plan import Deletion, Plan, Rebuild, Revocation
from auditor.fleet.remediation.secret_json import secret_json
from auditor.fleet.store.rows import ImageRow, audited_part

SCHEMA = "image-audit-plan/1"
_FAILED = 20
"""References that were not audited, and images that were not read in full, at most, in the text."""


def plan_text(plan: Plan) -> str:
    """Return a plan as text, in the order of the work."""
    lines = [f"{printable(plan.sweep.registry)}, swept {plan.sweep.started[:10]}{_for(plan)}"]
    if not plan.revoke and plan.sweep.nothing_audited and not plan.sweep.counts["withdrawn"]:
        lines.append("nothing was audited")
    elif not plan.revoke:
        where = audited_part(partial=bool(plan.partial), failed=bool(plan.failed))
        lines.append(f"nothing to do: no secret without an acknowledgement{where}")
    else:
        overdue = sum(one.secret.is_overdue for one in plan.revoke)
        lines += ["", f"1. Revoke {plural(len(plan.revoke), 'secret')} ({overdue} overdue)"]
        lines += [f"   {_revocation(one)}" for one in plan.revoke]
        lines += ["", f"2. Rebuild {plural(len(plan.rebuild), 'tag')} without the secrets, and push them"]
        lines += [f"   {line}" for one in plan.rebuild for line in _rebuild(one)]
        lines += [
            "",
            f"3. Delete {plural(len(plan.delete), 'digest')}, then run the garbage collection of the registry",
        ]
        lines += [f"   {_deletion(one)}" for one in plan.delete]
    if plan.acknowledged:
        lines += ["", f"Acknowledged: {plural(len(plan.acknowledged), 'secret')}"]
        lines += [f"   {_name(one)}: {acknowledgement_text(one.status)}" for one in plan.acknowledged if one.status]
    if plan.failed:
        count = len(plan.failed)
        audited = "1 reference was" if count == 1 else f"{count:,} references were"
        lines += ["", f"{audited} not audited. The plan does not cover their secrets: scan again."]
        lines += [
            f"   {printable(name)}: {shortened(printable(reason), 300)}" for name, reason in plan.failed[:_FAILED]
        ]
        lines += [f"   and {count - _FAILED:,} more"] if count > _FAILED else []
    if plan.partial:
        lines += ["", *_partial(plan.partial)]
    return "".join(f"{line}\n" for line in lines)


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON values: the schema `image-audit-plan/1`, described in docs/registry.md."""
    return {
        "schema": SCHEMA,
        "registry": plan.sweep.registry,
        "swept": plan.sweep.started,
        "owner": plan.owner,
        "revoke": [{**secret_json(one.secret), "revoke": one.url} for one in plan.revoke],
        "rebuild": [_rebuild_json(one) for one in plan.rebuild],
        "delete": [_deletion_json(one) for one in plan.delete],
        "acknowledged": [secret_json(one) for one in plan.acknowledged],
        "failed": [{"reference": reference, "reason": reason} for reference, reason in plan.failed],
        "partial": [
            {"repository": own.repository, "digest": own.digest, "tags": list(own.tags), "skipped": own.skipped}
            for own in plan.partial
        ],
    }


def _partial(images: Sequence[ImageRow]) -> Iterator[str]:
    were = "1 image was" if len(images) == 1 else f"{len(images):,} images were"
    yield f"{were} not read in full. The plan does not cover the rest: `image-audit scan IMAGE` gives the reasons."
    for image in images[:_FAILED]:
        name = f"{image.repository}:{image.tags[0]}" if image.tags else image.name
        yield f"   {printable(name)}: {plural(image.skipped, 'item')} skipped"
    if len(images) > _FAILED:
        yield f"   and {len(images) - _FAILED:,} more"


def _for(plan: Plan) -> str:
    return f", repositories of {printable(plan.owner)}" if plan.owner else ""


def _name(secret: OpenSecret) -> str:
    worst = secret.worst
    return f"{worst.severity}: {printable(worst.name)} {printable(worst.masked)}, secret {short_id(secret.secret_id)}"


def _revocation(one: Revocation) -> str:
    secret = one.secret
    owners = f", {printable(', '.join(secret.owners))}" if secret.owners else ""
    due = f"{'OVERDUE since' if secret.is_overdue else 'due'} {secret.due}"
    where = secret.repositories[0] + (f" and {len(secret.repositories) - 1} more" if secret.repositories[1:] else "")
    lapsed = f"; the acknowledgement no longer holds: {secret.status.lapsed}" if secret.status else ""
    at = f": {printable(one.url)}" if one.url else ""
    return f"{_name(secret)}, in {printable(where)}{owners}, {due}{printable(lapsed)}{at}"


def _rebuild(one: Rebuild) -> Iterator[str]:
    name = printable(f"{one.host}/{one.repository}:{one.tag}")
    owner = f" ({printable(one.owner)})" if one.owner else ""
    if one.command:
        yield f"{name}{owner}: {plural(one.hidden, 'hidden secret')}. Flatten it: {printable(one.command)}"
    elif one.visible:
        yield f"{name}{owner}: {plural(one.visible, 'visible secret')}, {one.hidden} hidden. Change the build."
    else:
        platforms = ", ".join(filter(None, one.platforms))
        yield f"{name}{owner}: {plural(one.hidden, 'hidden secret')}. Rebuild {printable(platforms)}."


def _deletion(one: Deletion) -> str:
    state = f"after the rebuild of {', '.join(one.tags)}" if one.tags else "now"
    last = f" (was {', '.join(one.last_tags)})" if one.last_tags else ""
    return printable(f"{state}{last}: {one.command}")


def _rebuild_json(one: Rebuild) -> dict[str, Any]:
    return {
        "repository": one.repository,
        "tag": one.tag,
        "owner": one.owner,
        "digests": list(one.digests),
        "platforms": list(one.platforms),
        "secrets": list(one.secrets),
        "hidden": one.hidden,
        "visible": one.visible,
        "command": one.command,
    }


def _deletion_json(one: Deletion) -> dict[str, Any]:
    return {
        "repository": one.repository,
        "digest": one.digest,
        "platform": one.platform,
        "owner": one.owner,
        "secrets": list(one.secrets),
        "tags": list(one.tags),
        "last_tags": list(one.last_tags),
        "command": one.command,
    }
