"""DSSE envelopes: a payload with signatures over its type and its bytes.

Source: github.com/secure-systems-lab/dsse, protocol.md and envelope.md, version 1.0.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from auditor.attest.keys import Signer, Verifier
from auditor.codec.json_documents import parse_object
from auditor.core.errors import AttestationError, Damaged
from auditor.core.limits import Limits

MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"
"""Media type of an envelope as a blob in a registry: the one that cosign uses."""
IN_TOTO = "application/vnd.in-toto+json"
"""Type of a payload that is an in-toto Statement."""
_MAX_SIGNATURES = 100


def signed_envelope(payload: bytes, signer: Signer) -> bytes:
    """Return the envelope of an in-toto Statement, as JSON.

    The key id is empty, as in cosign's envelopes: Go's verifier skips a signature with a key id of another form.
    """
    signature = signer.sign(_signed_bytes(IN_TOTO, payload))
    document = {
        "payloadType": IN_TOTO,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": "", "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def verified_payload(envelope: bytes, verifier: Verifier, label: str, limits: Limits) -> bytes:
    """Return the in-toto Statement of an envelope. Raises AttestationError if the key made none of its signatures.

    The key id of a signature is only a hint, because it is not signed: every signature is tried.
    """
    try:
        document = parse_object(envelope, label, limits)
        kind, payload = document["payloadType"], _decoded(document["payload"])
        signatures = [_decoded(item["sig"]) for item in document["signatures"][:_MAX_SIGNATURES]]
    except Damaged as exc:
        raise AttestationError(str(exc)) from None
    except (KeyError, TypeError, ValueError):
        raise AttestationError(f"{label}: not a DSSE envelope") from None
    if kind != IN_TOTO:
        raise AttestationError(f"{label}: an envelope of type {kind!r:.100}, not of an in-toto Statement")
    if not any(verifier.accepts(_signed_bytes(IN_TOTO, payload), signature) for signature in signatures):
        raise AttestationError(f"{label}: not signed with this key")
    return payload


def _signed_bytes(kind: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def _decoded(text: Any) -> bytes:
    """Decode base64 in either alphabet, as the specification demands. Raises ValueError, TypeError."""
    if not isinstance(text, str):
        raise TypeError(text)
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error as exc:
        raise ValueError(exc) from None
