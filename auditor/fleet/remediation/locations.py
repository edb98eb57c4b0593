"""Every location of one secret, as text and JSON: `registry where`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

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
from auditor.fleet.store.lookup import HoldingImage, ImageGroup, Place

SCHEMA = "image-audit-where/1"
_PULLABLE = {True: "can be pulled", None: "may be pulled: the registry did not answer", False: "deleted"}
_SHORT = 12  # digits of a secret id in texts


@dataclass(frozen=True, slots=True)
class SecretLocations:
    """A secret with all its images, those that can be pulled first."""

    secret_id: str
    images: Sequence[HoldingImage]
    owners: Owners
    status: AcknowledgementStatus | None

    def by_group(self) -> Iterator[tuple[ImageGroup, Iterator[HoldingImage]]]:
        """Yield the images in order, those of a group that follow each other at once."""
        return groupby(self.images, key=attrgetter("group"))

    @property
    def worst(self) -> Place:
        """The most severe place."""
        places = (place for group, _ in self.by_group() for place in group.places)
        return max(places, key=lambda place: Severity(place.severity).rank)


def short_id(secret_id: str) -> str:
    """Return the start of a secret id, which commands accept."""
    return secret_id[:_SHORT]


def secret_by_id(store: SweepStore, text: str) -> str:
    """Return the id of a secret. Raises UsageError if no secret or several secrets have an id that begins so."""
    found = lookup.find_secrets(store, text)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{printable(text)[:40]!r}: several secrets have this id. Name one of {', '.join(found)}")
    raise UsageError(
        f"{printable(text)[:40]!r}: the store {store} has no such secret. Give a secret id of a sweep "
        f"(at least {lookup.LEAST_DIGITS} digits) or the id of a finding"
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
    pullable = [image for image in found.images if image.pullable is not False]
    repositories = len({(image.group.host, image.group.repository) for image in pullable})
    lines = [
        f"{worst.severity}: {printable(worst.name)} {printable(worst.masked)}, secret {found.secret_id}",
        f"{plural(len(pullable), 'image')} not deleted, in {_repositories(repositories)}; "
        f"{len(found.images) - len(pullable)} deleted",
    ]
    if found.status is not None:
        lines.append(acknowledgement_text(found.status))
    for group, images in found.by_group():
        owner = found.owners.of(group.host, group.repository)
        place = group.places[0]
        more = f" and {len(group.places) - 1} more" if len(group.places) > 1 else ""
        name, shown_owner = printable(f"{group.host}/{group.repository}"), f" ({printable(owner)})" if owner else ""
        seen = f"seen {group.first_seen[:10]} to {group.last_seen[:10]}"
        end = f"{shown_owner}\n    {_location(place)}{more} ({place.state}), {seen}"
        lines += [f"{_PULLABLE[image.pullable]}: {name}@{image.digest}{_tags(image)}{end}" for image in images]
    return "".join(f"{line}\n" for line in lines)


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
    for group, images in found.by_group():
        owner, places = found.owners.of(group.host, group.repository), list(_places(group))
        yield from (_image(image, owner, places) for image in images)


def _image(image: HoldingImage, owner: str | None, places: list[dict[str, Any]]) -> dict[str, Any]:
    group = image.group
    return {
        "registry": group.host,
        "repository": group.repository,
        "digest": image.digest,
        "platform": group.platform,
        "tags": list(image.tags),
        "last_tags": list(image.last_tags),
        "pullable": image.pullable,
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


def _tags(image: HoldingImage) -> str:
    tags = f" (tags {', '.join(image.tags)})" if image.tags else ""
    last = f" (was {', '.join(image.last_tags)})" if image.last_tags else ""
    return printable(tags + last)


def _location(place: Place) -> str:
    line = "" if place.line is None else f":{place.line}"
    return printable(f"{place.path if place.path is not None else place.where}{line}")


def _repositories(count: int) -> str:
    return "1 repository" if count == 1 else f"{count} repositories"
