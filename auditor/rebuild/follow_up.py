"""Steps after flattening: secrets to rotate, and names that still lead to the leaking layers."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID, Digest
from auditor.core.errors import AuditError, ImageError
from auditor.core.finding import Confidence
from auditor.core.limits import Limits
from auditor.images import daemon, remote
from auditor.images.manifest import Origin
from auditor.images.source import Image
from auditor.images.transports import TRANSPORTS
from auditor.rebuild.flatten import FlattenedImage, leaking_versions
from auditor.rebuild.prove import is_removable
from auditor.rebuild.source_images import pushed_to
from auditor.registry.client import Client
from auditor.registry.reference import SIGNATURE_TAG, Reference, parse_reference
from auditor.registry.repository import Repository

_MAX_TAGS = 500


@dataclass(frozen=True, slots=True)
class RemainingCopy:
    """A name in an engine or registry that still leads to leaking layers, and the command that removes it."""

    place: str
    """`engine` or `registry`"""
    name: str
    command: str


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Steps left to the user. `rotate` lists the secrets, masked, with the URL to revoke each, where known."""

    rotate: tuple[str, ...]
    copies: tuple[RemainingCopy, ...]
    notes: tuple[str, ...]


def find_follow_up(
    images: Sequence[FlattenedImage], pushed: Reference | None, limits: Limits, *, insecure: bool
) -> FollowUp:
    """Search the engine and the registries for leaking layers. Notes name those that did not answer."""
    findings = [f for image in images for f in (*image.proof.removed, *image.proof.remaining)]
    certain = [finding for finding in findings if finding.confidence is not Confidence.LOW]
    secrets = (f"{f.name} {f.secret.masked}" + (f" at {f.revoke}" if f.revoke else "") for f in certain)
    rotate = tuple(dict.fromkeys(secrets))
    copies, notes = list[RemainingCopy](), list[str](_referring_artifacts(images, limits, insecure))
    if not any(image.proof.removed for image in images):
        return FollowUp(rotate, (), tuple(notes))
    leaks = _Leaks.of(images)
    try:
        copies += _copies_in_engine(leaks)
    except AuditError as exc:
        notes.append(f"The engine was not searched for other copies of the leaking layers: {exc}")
    for host, repository in dict.fromkeys(_repositories(images, pushed)):
        try:
            copies += _copies_in_registry(host, repository, leaks, limits, insecure)
        except AuditError as exc:
            notes.append(f"{host}/{repository} was not searched for other copies of the leaking layers: {exc}")
    if any(holder.place == "registry" for holder in copies):
        notes.append("After a deletion the registry keeps the bytes until its garbage collection has run.")
    notes.append("The build cache may hold the leaking layers too. Clear it with: docker builder prune")
    return FollowUp(rotate, tuple(copies), tuple(notes))


def _referring_artifacts(images: Sequence[FlattenedImage], limits: Limits, insecure: bool) -> Iterator[str]:
    """Yield notes on signatures, attestations and SBOMs of the old digests in the registry of the input."""
    digests_by_repository: dict[tuple[str, str], dict[str, None]] = {}
    for image in images:
        source = image.before.image
        if (transport := TRANSPORTS[source.transport]).in_registry:
            reference = parse_reference(transport.bare(source.target))
            old = [source.digest, *(item.index for item in source.index_entries)]
            digests_by_repository.setdefault((reference.host, reference.repository), {}).update(
                (d, None) for d in old if d
            )
    for (host, name), digests in digests_by_repository.items():
        repository = Repository(Client(host, path=name, insecure=insecure, limits=limits), name)
        try:
            tags = [tag for tag in repository.tags() if SIGNATURE_TAG.fullmatch(tag)]
            for digest in digests:
                found = [tag for tag in tags if tag.partition(".")[0] == digest.replace(":", "-")]
                found += [f"{item.digest} ({item.kind})" for item in repository.referrers(Digest(digest))]
                for item in found:
                    yield f"{host}/{name}: {item} refers to the old digest {digest}, not to the result"
        except AuditError as exc:
            yield f"{host}/{name} was not searched for signatures and attestations of the old digest: {exc}"


@dataclass(frozen=True, slots=True)
class _Leaks:
    """Leaking layers, and IDs of images with secrets in their history."""

    layers: frozenset[DiffID]
    images: frozenset[str]

    @classmethod
    def of(cls, images: Sequence[FlattenedImage]) -> _Leaks:
        layers = {i.before.records[v.layer].diff_id for i in images for v in leaking_versions(i.before)}
        leaking = [i.before.image for i in images if any(f.where and is_removable(f) for f in i.proof.removed)]
        return cls(frozenset(layers), frozenset(str(image.id) for image in leaking if image.id))

    def match_image(self, image_id: Digest | str | None, diff_ids: Sequence[DiffID | None]) -> bool:
        return str(image_id) in self.images or not self.layers.isdisjoint(d for d in diff_ids if d)


def _copies_in_engine(leaks: _Leaks) -> Iterator[RemainingCopy]:
    images = [image for image in daemon.tagged_images() if leaks.match_image(image.id, image.diff_ids)]
    for name in sorted(daemon.containers_of({image.id for image in images})):
        yield RemainingCopy("engine", f"container {name}", shlex.join(["docker", "rm", name]))
    for name in sorted(name for image in images for name in image.names or image.digests):
        yield RemainingCopy("engine", name, shlex.join(["docker", "rmi", name]))


def _repositories(images: Sequence[FlattenedImage], pushed: Reference | None) -> Iterator[tuple[str, str]]:
    for image in images:
        source = image.before.image
        if (transport := TRANSPORTS[source.transport]).in_registry:
            reference = parse_reference(transport.bare(source.target))
            yield reference.host, reference.repository
        elif pushed is not None:
            yield from ((found.host, found.repository) for found in pushed_to(source, pushed.host))
    if pushed is not None:
        yield pushed.host, pushed.repository


def _copies_in_registry(
    host: str, repository: str, leaks: _Leaks, limits: Limits, insecure: bool
) -> Iterator[RemainingCopy]:
    tags = Repository(Client(host, path=repository, insecure=insecure, limits=limits), repository).tags()
    for tag in tags[:_MAX_TAGS]:
        reference = Reference(host, repository, tag, None)
        try:
            found: tuple[Image, ...] = remote.read_images(
                reference, Origin(tag, "docker", None, limits), insecure=insecure
            )
        except ImageError:  # not an image, or deleted meanwhile
            continue
        if any(leaks.match_image(image.id, [layer.diff_id for layer in image.layers]) for image in found):
            yield RemainingCopy("registry", str(reference), shlex.join(["skopeo", "delete", f"docker://{reference}"]))
