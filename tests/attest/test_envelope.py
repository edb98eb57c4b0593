"""DSSE envelopes: accepted as signed, refused after any change."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.attest.envelope import signed_envelope, verified_payload
from auditor.attest.statement import PREDICATE_TYPE, STATEMENT_TYPE, parse_statement
from auditor.core.errors import AttestationError
from auditor.core.limits import DEFAULT
from tests.attest.key_files import pair

SIGNER, VERIFIER = pair()
PAYLOAD = b'{"a": "\xc3\xbf>?"}'
ENVELOPE: dict[str, Any] = json.loads(signed_envelope(PAYLOAD, SIGNER))


def verified(document: Any) -> bytes:
    return verified_payload(json.dumps(document).encode(), VERIFIER, "attestation", DEFAULT)


def signature(**changes: Any) -> dict[str, Any]:
    return ENVELOPE | {"signatures": [ENVELOPE["signatures"][0] | changes]}


def url_safe(text: str) -> str:
    return text.replace("+", "-").replace("/", "_")


def test_the_payload_of_a_valid_envelope_is_returned() -> None:
    assert verified(ENVELOPE) == PAYLOAD


@pytest.mark.parametrize(
    "document",
    [
        signature(keyid=""),
        signature(keyid="another"),
        {**signature(sig=url_safe(ENVELOPE["signatures"][0]["sig"])), "payload": url_safe(ENVELOPE["payload"])},
        ENVELOPE | {"signatures": [{"sig": "AAAA"}, *ENVELOPE["signatures"]]},
        ENVELOPE | {"unknown": 1},
    ],
)
def test_key_ids_other_signatures_and_alphabets_do_not_matter(document: dict[str, Any]) -> None:
    assert verified(document) == PAYLOAD


@pytest.mark.parametrize(
    "document",
    [
        ENVELOPE | {"payload": base64.b64encode(PAYLOAD + b" ").decode()},
        ENVELOPE | {"payloadType": "application/json"},
        ENVELOPE | {"signatures": []},
        json.loads(signed_envelope(PAYLOAD, pair()[0])),
        signature(sig="not base64!"),
        signature(sig=None),
        ENVELOPE | {"signatures": {}},
        ENVELOPE | {"payload": 1},
        {},
        [],
        1,
    ],
    ids=[
        "payload",
        "type",
        "no signature",
        "another key",
        "no base64",
        "null",
        "no list",
        "a number",
        "an empty object",
        "a list",
        "1",
    ],  # each worker makes its own key, so the documents differ
)
def test_a_changed_or_malformed_envelope_is_refused(document: Any) -> None:
    with pytest.raises(AttestationError, match="attestation: "):
        verified(document)


def test_the_type_is_signed_with_the_payload() -> None:
    """A signature of the bytes alone, or of another split between type and payload, does not count."""
    forged: list[Callable[[], bytes]] = [
        lambda: SIGNER.sign(PAYLOAD),
        lambda: SIGNER.sign(b"DSSEv1 16 application/json %d %s" % (len(PAYLOAD), PAYLOAD)),
    ]
    for make in forged:
        with pytest.raises(AttestationError, match="not signed with this key"):
            verified(signature(sig=base64.b64encode(make()).decode()))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["predicate", "subject", "images", "digest", "sha256"]) | st.text(), inner)
    ),
    max_leaves=12,
)


@given(document=JSON, key=st.sampled_from([*ENVELOPE]), payload=JSON)
@settings(max_examples=40, deadline=None)
def test_any_document_is_refused_with_a_reason(document: Any, key: str, payload: Any) -> None:
    with pytest.raises(AttestationError):
        verified(document)
    with pytest.raises(AttestationError):
        verified(ENVELOPE | {key: document})
    statement = {"_type": STATEMENT_TYPE, "predicateType": PREDICATE_TYPE, "predicate": payload, "subject": document}
    with pytest.raises(AttestationError):
        parse_statement(json.dumps(statement).encode(), "attestation", DEFAULT)
