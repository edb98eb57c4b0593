"""Plan of a registry: secrets to revoke, tags to rebuild, digests to delete.

A secret that an acknowledgement covers needs no work. Revocation comes first, because anyone may have pulled an image
before its digest is deleted.
"""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.fleet.remediation.open_secrets import OpenSecret, host_of, open_secrets, repository_of
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import image_list, queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import FindingRow, ImageRow, SweepRow


@dataclass(frozen=True, slots=True)
class Revocation:
    """A secret to revoke, at the page `url` if its rule names one."""

    secret: OpenSecret
    url: str | None


@dataclass(frozen=True, slots=True)
class Rebuild:
    """A tag that names images with secrets. `visible` and `hidden` are numbers of distinct secrets.

    A tag with hidden secrets only can be flattened; a visible secret needs a change of the build.
    """

    host: str
    repository: str
    tag: str
    owner: str | None
    digests: tuple[str, ...]
    platforms: tuple[str, ...]
    secrets: tuple[str, ...]
    hidden: int
    visible: int

    @property
    def command(self) -> str | None:
        """Command that flattens the image and moves the tag; None if a secret is visible or the index has platforms."""
        if self.visible or len(self.digests) > 1:
            return None
        name = f"{self.host}/{self.repository}:{self.tag}"
        return f"image-audit flatten {shlex.quote(f'docker://{name}')} --excise --push {shlex.quote(name)} --force"


@dataclass(frozen=True, slots=True)
class Deletion:
    """A digest with secrets. `tags` name it now: rebuild them first. `last_tags` named it last."""

    host: str
    repository: str
    digest: str
    platform: str | None
    owner: str | None
    secrets: tuple[str, ...]
    tags: tuple[str, ...]
    last_tags: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """Command that deletes the digest, if the registry allows it."""
        return f"skopeo delete {shlex.quote(f'docker://{self.host}/{self.repository}@{self.digest}')}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Work on the images of a sweep, on the day `today`.

    `acknowledged` are the secrets that need none, `failed` the references that were not audited, with reasons, and
    `partial` the images that were not read in full.
    """

    sweep: SweepRow
    today: datetime.date
    owner: str | None
    revoke: tuple[Revocation, ...]
    rebuild: tuple[Rebuild, ...]
    delete: tuple[Deletion, ...]
    acknowledged: tuple[OpenSecret, ...]
    failed: tuple[tuple[str, str], ...]
    partial: tuple[ImageRow, ...]


def make_plan(store: SweepStore, sweep: SweepRow, policy: Policy, owner: str | None = None) -> Plan:
    """Return the plan of a sweep; with `owner`, for the repositories of one team."""
    host = host_of(sweep)
    secrets, failed = open_secrets(store, sweep, policy), queries.failures(store, sweep.id)
    if owner is not None:
        secrets = tuple(_of_owner(secrets, owner, host, policy))
        failed = [one for one in failed if policy.owners.of(host, repository_of(one[0])) == owner]
    to_do = [secret for secret in secrets if not secret.is_acknowledged]
    by_image: dict[int, list[FindingRow]] = {}
    for secret in to_do:
        for row in secret.findings:
            by_image.setdefault(row.image, []).append(row)
    work = _Work(host, policy, by_image)
    seen = [image for image in image_list.each_image(store, sweep) if image.id in by_image or image.skipped]
    untagged = [row for row in image_list.withdrawn(store, sweep.id) if not row.is_deleted]
    images = [image for image in seen if image.id in by_image]
    withdrawn = [row for row in untagged if row.image.id in by_image]
    partial = [image for image in (*seen, *(row.image for row in untagged)) if image.skipped]
    if owner is not None:
        partial = [image for image in partial if policy.owners.of(host, image.repository) == owner]
    return Plan(
        sweep,
        policy.today,
        owner,
        tuple(Revocation(secret, url) for secret, url in _with_urls(store, to_do)),
        tuple(work.rebuilds(images)),
        (
            *(work.deletion(row.image, (), row.tags) for row in withdrawn),
            *(work.deletion(image, image.tags, ()) for image in images),
        ),
        tuple(secret for secret in secrets if secret.is_acknowledged),
        tuple(failed),
        tuple(partial),
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """Work on images; `findings` are those of each image that need work."""

    host: str
    policy: Policy
    findings: dict[int, list[FindingRow]]

    def rebuilds(self, images: Iterable[ImageRow]) -> list[Rebuild]:
        """Return the tags to rebuild, sorted."""
        by_tag: dict[tuple[str, str], list[ImageRow]] = {}
        for image in images:
            for tag in image.tags:
                by_tag.setdefault((image.repository, tag), []).append(image)
        return [self._rebuild(repository, tag, own) for (repository, tag), own in sorted(by_tag.items())]

    def deletion(self, image: ImageRow, tags: tuple[str, ...], last_tags: tuple[str, ...]) -> Deletion:
        """Return the deletion of an image."""
        owner = self.policy.owners.of(self.host, image.repository)
        secrets = _secret_ids(self.findings[image.id])
        return Deletion(self.host, image.repository, image.digest, image.platform, owner, secrets, tags, last_tags)

    def _rebuild(self, repository: str, tag: str, images: Sequence[ImageRow]) -> Rebuild:
        rows = [row for image in images for row in self.findings[image.id]]
        visible = {row.secret for row in rows if row.hidden_in is None}
        return Rebuild(
            self.host,
            repository,
            tag,
            self.policy.owners.of(self.host, repository),
            tuple(image.digest for image in images),
            tuple(image.platform or "" for image in images),
            _secret_ids(rows),
            hidden=len({row.secret for row in rows} - visible),
            visible=len(visible),
        )


def _of_owner(secrets: Iterable[OpenSecret], owner: str, host: str, policy: Policy) -> Iterable[OpenSecret]:
    """Yield the secrets in repositories of an owner, with their findings there."""
    for secret in secrets:
        rows = tuple(row for row in secret.findings if policy.owners.of(host, row.repository) == owner)
        if rows:
            yield OpenSecret(
                secret.secret_id, rows, secret.first_seen, secret.due, secret.is_overdue, secret.owners, secret.status
            )


def _with_urls(store: SweepStore, secrets: Iterable[OpenSecret]) -> Iterable[tuple[OpenSecret, str | None]]:
    """Yield each secret with the page that revokes it, from the report of an image that holds it."""
    reports: dict[int, dict[str, Any]] = {}
    for secret in secrets:
        row = secret.worst
        if row.image not in reports:
            reports[row.image] = {
                finding: group["revoke"]
                for group in queries.report(store, row.image).get("secrets", ())
                for finding in group["findings"]
            }
        yield secret, reports[row.image].get(row.id)


def _secret_ids(rows: Iterable[FindingRow]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.secret for row in rows))
