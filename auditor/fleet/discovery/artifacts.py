"""Signatures, attestations and SBOMs, which tools attach to images under tags made of a digest: they are no images."""

from __future__ import annotations

import re

from auditor.codec.descriptors import Descriptor
from auditor.codec.json_documents import canonical_keys, parse_object
from auditor.fleet.discovery.candidates import is_digest_tag
from auditor.images.image_builder import layers_and_config
from auditor.images.index import MANIFEST_KEYS
from auditor.registry.repository import Repository

_EMPTY = "application/vnd.oci.empty.v1+json"
_TYPES = re.compile(
    r"application/vnd\.(dev\.(cosign|sigstore)\.[\w.+-]+|dsse\.envelope\.v1\+json|in-toto\+json|cncf\.notary\.signature"
    r"|cyclonedx(\+(json|xml))?|syft\+json)|(application|text)/spdx(\+(json|xml))?|application/(jose\+json|cose)"
)
"""Media types of layers. Sources: cosign (pkg/types), sigstore (bundle), Notary (signature specification), IANA."""


def attached_to(repository: Repository, tag: str, manifest: Descriptor) -> str | None:
    """Return the digest that a manifest below a tag describes; None for an image or another artifact.

    Both must say so: the tag, and the media types of all layers. Raises NotFound, Damaged, Unreachable.
    """
    if not is_digest_tag(tag):
        return None
    label = f"manifest {manifest.digest}"
    document = parse_object(repository.document(manifest), label, repository.client.limits)
    layers, _ = layers_and_config(canonical_keys(document, MANIFEST_KEYS, label), label)
    types = {layer.media_type for layer in layers} - {_EMPTY}
    return f"sha256:{tag[7:71]}" if types and all(map(_TYPES.fullmatch, types)) else None
