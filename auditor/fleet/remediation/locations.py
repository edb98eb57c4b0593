"""Every location of one secret, as text and JSON: `registry where`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.core.errors import UsageError
from auditor.core.finding import Severity
from auditor.core.secret import Secret
from auditor.core.text import plural, printable
from auditor.fleet.remediation.json_text import document_text
from auditor.fleet.remediation.owners import Owners
from auditor.fleet.remediation.policy import AcknowledgementStatus, Policy
from auditor.fleet.remediation.secret_json import acknowledgement_json
from auditor.fleet.store import lookup
from auditor.fleet.store.acknowledgements import acknowledgements
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.lookup import ImageGroup, Place

SCHEMA = "image-audit-where/1"
_PULLABLE = {True: "can be pulled", None: "may be pulled: the registry did not answer", False: "deleted"}
_SHORT = 12  # digits of a secret id in texts


@dataclass(frozen=True, slots=True)
class SecretLocations:
    """A secret with all its images, those that can be pulled first."""

    secret_id: str
    groups: Sequence[ImageGroup]
    owners: Owners
    status: AcknowledgementStatus | None

    @property
    def worst(self) -> Place:
        """The most severe place."""
        places = (place for group in self.groups for place in group.places)
        return max(places, key=lambda place: Severity(place.severity).rank)

    def owner(self, group: ImageGroup) -> str | None:
        """Return the team that owns the repository of a group."""
        return self.owners.of(group.host, group.repository)


def short_id(secret_id: str) -> str:
    """Return the start of a secret id, which commands accept."""
    return secret_id[:_SHORT]


def secret_by_id(store: SweepStore, text: str) -> str:
    """Return the id of a secret. Raises UsageError if no secret or several secrets have an id that begins so.

    An unknown text is not shown: it may be a secret.
    """
    found = lookup.find_secrets(store, text)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{text!r}: several secrets have this id. Name one of {', '.join(found)}")
    raise UsageError(
        f"SECRET_ID: the store {store} has no secret with this id. Give a secret id of a sweep "
        f"(at least {lookup.LEAST_DIGITS} digits) or the id of a finding; `registry where --stdin` reads a secret"
    )


def secret_by_value(store: SweepStore, text: str) -> str:
    """Return the id of a secret by its value. The value is neither stored nor shown. Raises UsageError.

    White space around the value is optional.
    """
    for value in dict.fromkeys((text.removesuffix("\n").removesuffix("\r"), text.strip(), text)):
        secret_id = Secret(value, "", fingerprint=0).with_hmac(store.key, keep_text=False).hmac.hex()
        if value and lookup.find_secrets(store, secret_id):
            return secret_id
    raise UsageError(
        f"the store {store} has no finding with this value. Images that were not swept, and values that no rule "
        "matches, are not in the store"
    )


def locate(store: SweepStore, secret_id: str, policy: Policy) -> SecretLocations:
    """Return all locations of a secret of the store."""
    acknowledged = acknowledgements(store).get(secret_id)
    return SecretLocations(
        secret_id,
        lookup.images_with(store, secret_id),
        policy.owners,
        None if acknowledged is None else policy.status(acknowledged),
    )


def locations_text(found: SecretLocations) -> str:
    """Return the locations as text, one image per line, each with its first place."""
    worst = found.worst
    pullable = [group for group in found.groups if group.pullable is not False]
    images, deleted = (
        sum(len(group.images) for group in groups) for groups in (pullable, found.groups[len(pullable) :])
    )
    repositories = len({(group.host, group.repository) for group in pullable})
    lines = [
        f"{worst.severity}: {printable(worst.name)} {printable(worst.masked)}, secret {found.secret_id}",
        f"{plural(images, 'image')} not deleted, in {_repositories(repositories)}; {deleted} deleted",
    ]
    if found.status is not None:
        lines.append(acknowledgement_text(found.status))
    for group in found.groups:
        begin = f"{_PULLABLE[group.pullable]}: {printable(f'{group.host}/{group.repository}')}@"
        owner, kind = found.owner(group), "was" if group.is_untagged else "tags"
        end = f"{f' ({printable(owner)})' if owner else ''}\n    {_seen(group)}"
        lines += [f"{begin}{digest}{_tags(kind, tags)}{end}" for tags, digest in group.images]
    return "\n".join((*lines, ""))


def acknowledgement_text(status: AcknowledgementStatus) -> str:
    """Return one line about an acknowledgement."""
    own = status.acknowledgement
    until = f" until {own.until}" if own.until else ""
    lapsed = f" It no longer holds: {status.lapsed}." if status.lapsed else ""
    return printable(f"acknowledged by {own.author} on {own.created[:10]}{until}: {own.reason.rstrip('.')}.{lapsed}")


def locations_json(found: SecretLocations) -> dict[str, Any]:
    """Return the locations as JSON values: the schema `image-audit-where/1`, described in docs/registry.md."""
    return {**_secret(found), "images": list(_images(found))}


def locations_json_text(found: SecretLocations) -> Iterator[str]:
    """Yield the text of `locations_json`, in parts."""
    return document_text({**_secret(found), "images": _images(found)}.items())


def _secret(found: SecretLocations) -> dict[str, Any]:
    worst = found.worst
    return {
        "schema": SCHEMA,
        "secret_id": found.secret_id,
        "rule": worst.rule,
        "name": worst.name,
        "secret": worst.masked,
        "severity": worst.severity,
        "acknowledged": None if found.status is None else acknowledgement_json(found.status),
    }


def _images(found: SecretLocations) -> Iterator[dict[str, Any]]:
    for group in found.groups:
        owner, places = found.owner(group), list(_places(group))
        for tags, digest in group.images:
            yield {
                "registry": group.host,
                "repository": group.repository,
                "digest": digest,
                "platform": group.platform,
                "tags": [] if group.is_untagged else list(tags),
                "last_tags": list(tags) if group.is_untagged else [],
                "pullable": group.pullable,
                "owner": owner,
                "first_seen": group.first_seen,
                "last_seen": group.last_seen,
                "findings": places,
            }


def _places(group: ImageGroup) -> Iterator[dict[str, Any]]:
    for place in group.places:
        yield {
            "rule": place.rule,
            "severity": place.severity,
            "state": place.state,
            "path": place.path,
            "where": place.where,
            "line": place.line,
        }


def _tags(kind: str, tags: Sequence[str]) -> str:
    return printable(f" ({kind} {', '.join(tags)})") if tags else ""


def _seen(group: ImageGroup) -> str:
    """Return the first place of a group, and when its images were seen."""
    place = group.places[0]
    more = f" and {len(group.places) - 1} more" if len(group.places) > 1 else ""
    return f"{_location(place)}{more} ({place.state}), seen {group.first_seen[:10]} to {group.last_seen[:10]}"


def _location(place: Place) -> str:
    line = "" if place.line is None else f":{place.line}"
    return printable(f"{place.path if place.path is not None else place.where}{line}")


def _repositories(count: int) -> str:
    return "1 repository" if count == 1 else f"{count} repositories"
