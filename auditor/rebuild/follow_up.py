"""What flattening can't do: the old layers still lie in the engine and in registries, under other names."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditor.core.digests import DiffID, Digest
from auditor.core.errors import AuditError, ImageError
from auditor.core.finding import Confidence
from auditor.core.limits import Limits
from auditor.images import daemon
from auditor.images.manifest import Origin
from auditor.images.source import Image
from auditor.images.transports import TRANSPORTS
from auditor.rebuild.flatten import FlattenedImage, leaking_versions
from auditor.rebuild.prove import is_removable
from auditor.rebuild.source_images import SIGNATURE_TAG, pushed_to
from auditor.registry.reference import Reference, parse_reference

_MAX_TAGS = 500


@dataclass(frozen=True, slots=True)
class RemainingCopy:
    """A name under which what was removed can still be had, and the command that removes it."""

    place: str
    """`engine` or `registry`"""
    name: str
    command: str


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What is left to do. `rotate` names the secrets, masked, with the place to revoke each, where one is known."""

    rotate: tuple[str, ...]
    copies: tuple[RemainingCopy, ...]
    notes: tuple[str, ...]


def find_follow_up(
    images: Sequence[FlattenedImage], pushed: Reference | None, limits: Limits, *, insecure: bool
) -> FollowUp:
    """Look for what still holds the leaking layers. The notes say which engine or registry did not answer."""
    findings = [f for image in images for f in (*image.proof.removed, *image.proof.remaining)]
    sure = [finding for finding in findings if finding.confidence is not Confidence.LOW]
    rotate = tuple(dict.fromkeys(f"{f.name} {f.secret.masked}" + (f" at {f.revoke}" if f.revoke else "") for f in sure))
    copies, notes = list[RemainingCopy](), list[str](_referring_artifacts(images, limits, insecure))
    if not any(image.proof.removed for image in images):
        return FollowUp(rotate, (), tuple(notes))
    leaks = _Leaks.of(images)
    try:
        copies += _in_engine(leaks)
    except AuditError as exc:
        notes.append(f"The engine was not asked what else holds the leaking layers: {exc}")
    for host, repository in dict.fromkeys(_repositories(images, pushed)):
        try:
            copies += _in_registry(host, repository, leaks, limits, insecure)
        except AuditError as exc:
            notes.append(f"{host}/{repository} was not asked what else holds the leaking layers: {exc}")
    if any(holder.place == "registry" for holder in copies):
        notes.append("After a deletion the registry keeps the bytes until its garbage collection runs.")
    notes.append("The build cache may hold the leaking layers too: docker builder prune")
    return FollowUp(rotate, tuple(copies), tuple(notes))


def _referring_artifacts(images: Sequence[FlattenedImage], limits: Limits, insecure: bool) -> Iterator[str]:
    """Name what refers to the old digests in the registry that they came from: signatures, attestations, SBOMs."""
    from auditor.registry.client import Client
    from auditor.registry.repository import Repository

    wanted: dict[tuple[str, str], dict[str, None]] = {}
    for image in images:
        source = image.before.image
        if (transport := TRANSPORTS[source.transport]).in_registry:
            reference = parse_reference(transport.bare(source.target))
            old = [source.digest, *(item.index for item in source.listed)]
            wanted.setdefault((reference.host, reference.repository), {}).update((d, None) for d in old if d)
    for (host, name), digests in wanted.items():
        repository = Repository(Client(host, insecure=insecure, limits=limits), name)
        try:
            tags = [tag for tag in repository.tags() if SIGNATURE_TAG.fullmatch(tag)]
            for digest in digests:
                found = [tag for tag in tags if tag.partition(".")[0] == digest.replace(":", "-")]
                found += [f"{item.digest} ({item.kind})" for item in repository.referrers(Digest(digest))]
                for item in found:
                    yield f"{host}/{name}: {item} refers to the old digest {digest}, and not to the result"
        except AuditError as exc:
            yield f"{host}/{name} was not asked what refers to the old digest, as signatures do: {exc}"


@dataclass(frozen=True, slots=True)
class _Leaks:
    """The layers that leak, and the images whose own history does."""

    layers: frozenset[DiffID]
    images: frozenset[str]

    @classmethod
    def of(cls, images: Sequence[FlattenedImage]) -> _Leaks:
        layers = {i.before.records[v.layer].diff_id for i in images for v in leaking_versions(i.before)}
        leaking = [i.before.image for i in images if any(f.where and is_removable(f) for f in i.proof.removed)]
        return cls(frozenset(layers), frozenset(str(image.id) for image in leaking if image.id))

    def match_image(self, image_id: Digest | str | None, diff_ids: Sequence[DiffID | None]) -> bool:
        return str(image_id) in self.images or not self.layers.isdisjoint(d for d in diff_ids if d)


def _in_engine(leaks: _Leaks) -> Iterator[RemainingCopy]:
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


def _in_registry(host: str, repository: str, leaks: _Leaks, limits: Limits, insecure: bool) -> Iterator[RemainingCopy]:
    from auditor.images import remote
    from auditor.registry.client import Client
    from auditor.registry.repository import Repository

    tags = Repository(Client(host, insecure=insecure, limits=limits), repository).tags()
    for tag in tags[:_MAX_TAGS]:
        reference = Reference(host, repository, tag, None)
        try:
            found: tuple[Image, ...] = remote.read_images(
                reference, Origin(tag, "docker", None, limits), insecure=insecure
            )
        except ImageError:  # a tag that is no image, or is gone by now
            continue
        if any(leaks.match_image(image.id, [layer.diff_id for layer in image.layers]) for image in found):
            yield RemainingCopy("registry", str(reference), shlex.join(["skopeo", "delete", f"docker://{reference}"]))
