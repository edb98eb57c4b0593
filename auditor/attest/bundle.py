"""Sigstore bundles: an envelope with a hint to its key, the form in which cosign attaches attestations by referrers.

Sources: github.com/sigstore/protobuf-specs, protos/sigstore_bundle.proto; github.com/sigstore/cosign, BUNDLE_SPEC.md.
"""

from __future__ import annotations

import base64
import json

from auditor.attest.statement import PREDICATE_TYPE
from auditor.codec.json_documents import parse_object
from auditor.core.errors import Damaged
from auditor.core.limits import Limits

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""Media type of a bundle, and artifact type of the manifest that holds it."""
BUNDLE_ANNOTATIONS = {
    "dev.sigstore.bundle.content": "dsse-envelope",
    "dev.sigstore.bundle.predicateType": PREDICATE_TYPE,
}


def bundle_of(envelope: bytes, key_id: str) -> bytes:
    """Return the bundle of an envelope that was signed with a key, without an entry of a transparency log."""
    hint = base64.b64encode(bytes.fromhex(key_id)).decode()
    document = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}},
        "dsseEnvelope": json.loads(envelope),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def envelope_of(bundle: bytes, label: str, limits: Limits) -> bytes:
    """Return the envelope in a bundle. Raises Damaged if it has none."""
    envelope = parse_object(bundle, label, limits).get("dsseEnvelope")
    if not isinstance(envelope, dict):
        raise Damaged(f"{label}: a bundle without a DSSE envelope")
    return json.dumps(envelope).encode()
