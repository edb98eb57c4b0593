"""Attestations in a registry, attached to the manifest that they are about.

An envelope is attached twice, as clients look in one of two places:

    referrers   a Sigstore bundle in an artifact manifest with `subject`; where the registry has no referrers API, it is
                also listed in the index with the tag `sha256-HEX`. Source: OCI distribution-spec v1.1, "Referrers
                Tag Schema"
    cosign tag  a layer of the image with the tag `sha256-HEX.att`, which cosign and Kyverno read.
                Source: github.com/sigstore/cosign, specs/SIGNATURE_SPEC.md and specs/ATTESTATION_SPEC.md

A new attestation replaces those of the same predicate type and key, except for statements of later audits: it is put in
their place in a list, and referrers are deleted if the registry allows it. Others are kept.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from auditor.attest.bundle import BUNDLE_ANNOTATIONS, BUNDLE_TYPE, bundle_of, envelope_of
from auditor.attest.envelope import MEDIA_TYPE
from auditor.attest.statement import PREDICATE_TYPE, utc_time
from auditor.attest.verification import CLOCK_SKEW, Candidate, EnvelopeReader
from auditor.codec.descriptors import INDEXES, MANIFESTS, Descriptor, parse_descriptors, strings
from auditor.codec.hashing import sha256
from auditor.codec.json_documents import DocumentBudget, parse_object
from auditor.core.clock import timestamp
from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.errors import AttestationError, AuditError, Damaged, NotFound, Unauthorized
from auditor.core.limits import Limits
from auditor.registry.push import Pusher
from auditor.registry.reference import Reference
from auditor.registry.repository import Repository, referrers_tag

_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_KEY_ID = "example.image-audit.key-id"
_KINDS = (BUNDLE_TYPE, _EMPTY_TYPE)
"""Artifact types of bundles; the second one is of those that cosign 2 lists in an index."""
_CREATED = "org.opencontainers.image.created"
"""Annotation with a time; cosign sets it too, to the time of the attachment."""
_MAX_ATTESTATIONS = 100
"""Most envelopes, and manifests with envelopes, that a verification reads for one image."""
_MAX_DELETED = 20
"""Most replaced referrers that an attachment deletes."""


@dataclass(frozen=True, slots=True)
class AttestationStore:
    """Attestations of one repository."""

    repository: Repository

    @staticmethod
    def prepare(pusher: Pusher) -> None:
        """Push the blob that all attestations share. Some registries lose a blob that two threads push at once."""
        pusher.blob(sha256(_EMPTY), _EMPTY)

    def attach(self, pusher: Pusher, subject: Digest, envelope: bytes, key_id: str, finished: str) -> None:
        """Attach an envelope to a manifest; `pusher` pushes to the same repository, `finished` ends the audit.

        Raises NotFound, Unauthorized, Unreachable, Damaged.
        """
        target = self.repository.resolve(self._reference(None, subject))
        self._attach_referrer(pusher, target, bundle_of(envelope, key_id), key_id, finished)
        if subject.algorithm == "sha256":  # cosign has no tags for others
            self._attach_for_cosign(pusher, subject, envelope, key_id, finished)

    def candidates(self, subject: Digest) -> list[Candidate]:
        """Return the attestations of a manifest. A limit holds for all that is read of them.

        Raises Unauthorized, Unreachable, Damaged; reads raise AttestationError or Damaged beyond the limit too.
        """
        reader = _LimitedReader(self.repository, self._name(subject))
        found = [
            _candidate(referrer.descriptor, partial(reader.manifest, referrer.descriptor))
            for referrer in self.repository.referrers(subject)
            if referrer.kind in _KINDS and _may_be_own(referrer.descriptor.annotations)
        ]
        layers = filter(_has_envelope, self._items(_cosign_tag(subject), "layers"))
        return [*found, *(_candidate(layer, partial(reader.layer, layer)) for layer in layers)]

    def _attach_referrer(self, pusher: Pusher, target: Descriptor, bundle: bytes, key_id: str, finished: str) -> None:
        annotations = {**BUNDLE_ANNOTATIONS, _KEY_ID: key_id, _CREATED: finished}
        for data in (bundle, _EMPTY):
            pusher.blob(sha256(data), data)
        manifest = _encoded({
            "schemaVersion": 2,
            "mediaType": MANIFESTS[0],
            "artifactType": BUNDLE_TYPE,
            "config": _descriptor(_EMPTY, _EMPTY_TYPE),
            "layers": [_descriptor(bundle, BUNDLE_TYPE)],
            "subject": {"mediaType": target.media_type, "digest": target.digest, "size": target.size},
            "annotations": annotations,
        })  # fmt: skip
        headers = pusher.manifest(manifest, sha256(manifest))
        if "OCI-Subject" in headers:
            self._delete_replaced(target.digest, sha256(manifest), key_id, finished)
            return
        listed = {**_descriptor(manifest, MANIFESTS[0], annotations), "artifactType": BUNDLE_TYPE}
        tag = referrers_tag(target.digest)
        kept = self._kept(tag, "manifests", key_id, finished)
        if kept is not None:
            index = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": [*kept, listed]}
            pusher.manifest(_encoded(index), tag)

    def _kept(self, tag: str, key: str, key_id: str, finished: str) -> list[Mapping[str, Any]] | None:
        """Return the items under a key of a tag's manifest that a new statement does not replace.

        None if one of them is of a later audit with the same key, so that the new one is not needed.
        """
        items = self._items(tag, key)
        own = [_is_own(item.annotations, key_id) for item in items]
        if any(mine and _is_later(item.annotations, finished) for item, mine in zip(items, own, strict=True)):
            return None
        return [item.raw for item, mine in zip(items, own, strict=True) if not mine]

    def _delete_replaced(self, subject: Digest, own: Digest, key_id: str, finished: str) -> None:
        """Delete the own referrers that a new one replaces, where the registry allows it; others stay."""

        def is_replaced(annotations: Mapping[str, str]) -> bool:
            return _is_own(annotations, key_id) and not _is_later(annotations, finished)

        with suppress(AuditError):  # those that stay are harmless: a verification begins with the newest one
            listed = [item.descriptor for item in self.repository.referrers(subject) if item.digest != own]
            budget = DocumentBudget(self._name(subject), self.repository.client.limits)
            for item in [item for item in listed if is_replaced(item.annotations)][:_MAX_DELETED]:
                # The list is not signed; a registry must not choose what is deleted.
                annotations = self._bundle_annotations(item, subject, budget)
                if annotations is not None and is_replaced(annotations) and not self._delete(item.digest):
                    break

    def _bundle_annotations(
        self, item: Descriptor, subject: Digest, budget: DocumentBudget
    ) -> Mapping[str, str] | None:
        """Return the annotations of a manifest; None unless it holds a bundle about the subject."""
        try:
            data = self.repository.document(item)
        except NotFound:
            return None
        match parse_object(budget.add(data), item.digest, self.repository.client.limits):
            case {"artifactType": str(kind), "subject": {"digest": str(digest)}, "annotations": dict(annotations)}:
                return strings(annotations) if kind == BUNDLE_TYPE and digest == subject else None
        return None

    def _delete(self, digest: Digest) -> bool:
        name = self.repository.name
        path, scope = f"{name}/manifests/{digest}", f"repository:{name}:pull,push,delete"
        return self.repository.client.call("DELETE", path, scope).status in (200, 202, 204, 404)

    def _attach_for_cosign(self, pusher: Pusher, subject: Digest, envelope: bytes, key_id: str, finished: str) -> None:
        annotations = {
            "dev.cosignproject.cosign/signature": "",
            "predicateType": PREDICATE_TYPE,
            _KEY_ID: key_id,
            _CREATED: finished,
        }
        tag = _cosign_tag(subject)
        kept = self._kept(tag, "layers", key_id, finished)
        if kept is None:
            return
        layers = [*kept, _descriptor(envelope, MEDIA_TYPE, annotations)]
        rootfs = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
        config = _encoded({"architecture": "", "os": "", "rootfs": rootfs, "config": {}})
        for data in (envelope, config):
            pusher.blob(sha256(data), data)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFESTS[0],
            "config": _descriptor(config, _CONFIG_TYPE),
            "layers": layers,
        }
        pusher.manifest(_encoded(manifest), tag)

    def _items(self, tag: str, key: str) -> list[Descriptor]:
        """Return the descriptors under a key of a tag's manifest, none without the tag."""
        try:
            found = self.repository.resolve(self._reference(tag, None))
        except (NotFound, Unauthorized):  # some registries answer 401 for a missing tag
            return []
        return _listed(self.repository.document(found), found.digest, key, self.repository.client.limits)

    def _reference(self, tag: str | None, digest: Digest | None) -> Reference:
        return Reference(self.repository.client.host, self.repository.name, tag, digest)

    def _name(self, subject: Digest) -> str:
        return f"{self.repository.client.host}/{self.repository.name}@{subject}"


class _LimitedReader:
    """Reads the envelopes of one image, within limits on the number and the bytes of the documents."""

    def __init__(self, repository: Repository, label: str) -> None:
        self._repository, self._label, self._limits = repository, label, repository.client.limits
        self._budget = DocumentBudget(f"{label}: attestations", self._limits)
        self._count = Counter[str]()

    def manifest(self, manifest: Descriptor) -> Iterator[tuple[str, bytes | None]]:
        """Yield the envelopes of a manifest, without those of another predicate type."""
        data = self._document(manifest, "manifests")
        try:
            layers = [] if data is None else _listed(data, manifest.digest, "layers", self._limits)
        except Damaged:
            data = None
        if data is None:
            yield f"attestation {manifest.digest}", None
            return
        for layer in filter(_has_envelope, layers):
            yield from self.layer(layer)

    def layer(self, layer: Descriptor) -> Iterator[tuple[str, bytes | None]]:
        """Yield one envelope."""
        data = self._document(layer, "envelopes")
        if data is not None and layer.media_type == BUNDLE_TYPE:
            try:
                data = envelope_of(data, layer.digest, self._limits)
            except Damaged:
                data = None
        yield f"attestation {layer.digest}", data

    def _document(self, descriptor: Descriptor, kind: str) -> bytes | None:
        """Fetch a document; None if it is missing or damaged. Raises AttestationError, Damaged beyond the limits."""
        self._count[kind] += 1
        if self._count[kind] > _MAX_ATTESTATIONS:
            raise AttestationError(
                f"{self._label}: more than {_MAX_ATTESTATIONS} attestations may be the newest. Delete old ones"
            )
        try:
            data = self._repository.document(descriptor)
        except (NotFound, Damaged):
            return None
        return self._budget.add(data)


def _candidate(descriptor: Descriptor, read: EnvelopeReader) -> Candidate:
    key_id, created = descriptor.annotations.get(_KEY_ID), _created(descriptor.annotations)
    return Candidate(f"attestation {descriptor.digest}", key_id, created, read)


def _listed(document: bytes, label: str, key: str, limits: Limits) -> list[Descriptor]:
    """Return the well-formed descriptors under a key of a manifest. Raises Damaged."""
    items = parse_object(document, label, limits).get(key)
    return parse_descriptors(items, label, []) if isinstance(items, list) and items else []


def _has_envelope(layer: Descriptor) -> bool:
    return layer.media_type in (MEDIA_TYPE, BUNDLE_TYPE) and _may_be_own(layer.annotations)


def _may_be_own(annotations: Mapping[str, str]) -> bool:
    """Whether the annotations of an attestation name the predicate type of image-audit, or none."""
    names = ("predicateType", "dev.sigstore.bundle.predicateType")
    return all(annotations.get(name, PREDICATE_TYPE) == PREDICATE_TYPE for name in names)


def _is_own(annotations: Mapping[str, str], key_id: str) -> bool:
    """Whether annotations are those of an attestation by `attach` with a key."""
    return annotations.get(_KEY_ID) == key_id and _may_be_own(annotations)


def _is_later(annotations: Mapping[str, str], finished: str) -> bool:
    """Whether an attestation is of a later audit. A time beyond the clock skew comes from a wrong clock."""
    created = _created(annotations)
    return created is not None and finished < created <= timestamp(datetime.fromisoformat(finished) + CLOCK_SKEW)


def _created(annotations: Mapping[str, str]) -> str | None:
    with suppress(ValueError, OverflowError):
        return utc_time(annotations.get(_CREATED, ""))
    return None


def _cosign_tag(subject: Digest) -> str:
    return f"{referrers_tag(subject)}.att"


def _descriptor(data: bytes, media_type: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    more = {"annotations": dict(annotations)} if annotations else {}
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
