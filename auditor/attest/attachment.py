"""Attestations in a registry, attached to the manifest that they are about.

An envelope is attached twice, as clients look in one of two places:

    referrers   a Sigstore bundle in an artifact manifest with `subject`; where the registry has no referrers API, it is
                also listed in the index with the tag `sha256-HEX`. Source: OCI distribution-spec v1.1, "Referrers
                Tag Schema"
    cosign tag  a layer of the image with the tag `sha256-HEX.att`, which cosign and Kyverno read.
                Source: github.com/sigstore/cosign, specs/SIGNATURE_SPEC.md and specs/ATTESTATION_SPEC.md

A new attestation replaces the one of the same predicate type and key where a list is rewritten; others are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from auditor.attest.bundle import BUNDLE_ANNOTATIONS, BUNDLE_TYPE, bundle_of, envelope_of
from auditor.attest.envelope import MEDIA_TYPE
from auditor.attest.statement import PREDICATE_TYPE
from auditor.codec.descriptors import INDEXES, MANIFESTS, Descriptor, parse_descriptors
from auditor.codec.hashing import sha256
from auditor.codec.json_documents import parse_object
from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.errors import AttestationError, Damaged, NotFound, Unauthorized
from auditor.registry.push import Pusher
from auditor.registry.reference import Reference
from auditor.registry.repository import Repository, referrers_tag

_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_KEY_ID = "example.image-audit.key-id"
_KINDS = (BUNDLE_TYPE, _EMPTY_TYPE)
"""Artifact types of bundles; the second one is of those that cosign 2 lists in an index."""
_MAX_ENVELOPES = 100
"""Most envelopes, and manifests with envelopes, that a verification reads for one image."""


@dataclass(frozen=True, slots=True)
class AttestationStore:
    """Attestations of one repository."""

    repository: Repository

    @staticmethod
    def prepare(pusher: Pusher) -> None:
        """Push the blob that all attestations share. Some registries lose a blob that two threads push at once."""
        pusher.blob(sha256(_EMPTY), _EMPTY)

    def attach(self, pusher: Pusher, subject: Digest, envelope: bytes, key_id: str) -> None:
        """Attach an envelope to a manifest; `pusher` pushes to the same repository.

        Raises NotFound, Unauthorized, Unreachable, Damaged.
        """
        target = self.repository.resolve(self._reference(None, subject))
        self._attach_referrer(pusher, target, bundle_of(envelope, key_id), key_id)
        if subject.algorithm == "sha256":  # cosign has no tags for others
            self._attach_for_cosign(pusher, subject, envelope, key_id)

    def envelopes(self, subject: Digest) -> Iterator[tuple[str, bytes]]:
        """Yield the envelopes attached to a manifest, each once and with a label; damaged ones are left out.

        Raises AttestationError beyond a limit, Unauthorized, Unreachable.
        """
        layers = dict[Digest, Descriptor]()
        for number, manifest in enumerate(self._manifests(subject)):
            layers |= {layer.digest: layer for layer in self._layers(manifest)}
            if max(number, len(layers)) > _MAX_ENVELOPES:
                raise AttestationError(f"{self._name(subject)}: more than {_MAX_ENVELOPES} attestations")
        for digest, layer in layers.items():
            with suppress(NotFound, Damaged):
                yield f"attestation {digest}", self._envelope(layer)

    def _envelope(self, layer: Descriptor) -> bytes:
        data = self.repository.document(layer)
        if layer.media_type == MEDIA_TYPE:
            return data
        return envelope_of(data, layer.digest, self.repository.client.limits)

    def _attach_referrer(self, pusher: Pusher, target: Descriptor, bundle: bytes, key_id: str) -> None:
        annotations = {**BUNDLE_ANNOTATIONS, _KEY_ID: key_id}
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
            return
        listed = {**_descriptor(manifest, MANIFESTS[0], annotations), "artifactType": BUNDLE_TYPE}
        tag = referrers_tag(target.digest)
        kept = [item.raw for item in self._items(tag, "manifests") if item.annotations != annotations]
        index = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": [*kept, listed]}
        pusher.manifest(_encoded(index), tag)

    def _attach_for_cosign(self, pusher: Pusher, subject: Digest, envelope: bytes, key_id: str) -> None:
        annotations = {"dev.cosignproject.cosign/signature": "", "predicateType": PREDICATE_TYPE, _KEY_ID: key_id}
        tag = _cosign_tag(subject)
        kept = [item.raw for item in self._items(tag, "layers") if item.annotations != annotations]
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
        found = self._tagged(tag)
        return [] if found is None else self._listed(found, key)

    def _tagged(self, tag: str) -> Descriptor | None:
        with suppress(NotFound, Unauthorized):  # some registries answer 401 for a missing tag
            return self.repository.resolve(self._reference(tag, None))
        return None

    def _listed(self, manifest: Descriptor, key: str) -> list[Descriptor]:
        """Return the well-formed descriptors under a key of a manifest."""
        document = parse_object(self.repository.document(manifest), manifest.digest, self.repository.client.limits)
        items = document.get(key)
        return parse_descriptors(items, manifest.digest, []) if isinstance(items, list) and items else []

    def _manifests(self, subject: Digest) -> Iterator[Descriptor]:
        """Yield the manifests that may hold attestations of a subject."""
        for referrer in self.repository.referrers(subject):
            if referrer.kind in _KINDS and _may_be_own(referrer.descriptor):
                yield referrer.descriptor
        if found := self._tagged(_cosign_tag(subject)):
            yield found

    def _layers(self, manifest: Descriptor) -> list[Descriptor]:
        """Return the envelopes of a manifest, without those of another predicate type; none of a damaged manifest."""
        try:
            layers = self._listed(manifest, "layers")
        except (NotFound, Damaged):
            return []
        return [layer for layer in layers if layer.media_type in (MEDIA_TYPE, BUNDLE_TYPE) and _may_be_own(layer)]

    def _reference(self, tag: str | None, digest: Digest | None) -> Reference:
        return Reference(self.repository.client.host, self.repository.name, tag, digest)

    def _name(self, subject: Digest) -> str:
        return f"{self.repository.client.host}/{self.repository.name}@{subject}"


def _may_be_own(descriptor: Descriptor) -> bool:
    """Whether the annotations of an attestation name the predicate type of image-audit, or none."""
    names = ("predicateType", "dev.sigstore.bundle.predicateType")
    return all(descriptor.annotations.get(name, PREDICATE_TYPE) == PREDICATE_TYPE for name in names)


def _cosign_tag(subject: Digest) -> str:
    return f"{referrers_tag(subject)}.att"


def _descriptor(data: bytes, media_type: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    more = {"annotations": dict(annotations)} if annotations else {}
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
