"""Documents are stored without the texts that another source has, and restored byte for byte."""

from __future__ import annotations

import json

import pytest

from auditor.codec.text_references import joined_document, literal_text, split_document, strings_of

DOCUMENT = {
    "config": {"Env": ["PATH=/bin", "TOKEN=a <secret> & more"], "Labels": {"né": '\u2028 \x01 " \\ é 🔑'}},
    "history": [{"created": "2026-01-01T00:00:00.5Z", "empty_layer": True, "created_by": "RUN x", "author": "me"}],
}
TEXTS = ("PATH=/bin", "TOKEN=a <secret> & more", "né", '\u2028 \x01 " \\ é 🔑', "RUN x")


def go(value: object) -> str:
    """Write JSON as Go does."""
    text = json.dumps(value, ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


@pytest.mark.parametrize("written", [go(DOCUMENT), json.dumps(DOCUMENT), json.dumps(DOCUMENT, ensure_ascii=False)])
def test_a_document_is_restored_byte_for_byte_and_stored_without_the_known_texts(written: str) -> None:
    document = written.encode()
    pieces = split_document(document, TEXTS)
    assert joined_document(pieces, TEXTS) == document
    stored = json.dumps(pieces)
    assert not [text for text in ("PATH", "secret", "RUN", "né", "n\\u00e9") if text in stored]
    assert '"author": "me"' in literal_text(pieces) and "author=me" in literal_text(pieces)


@pytest.mark.parametrize("document", [b"", b"no json \xff\x00", b'"', b'{"a": "\\', b'["\\ud800", "\xed\xa0\x80"]'])
def test_any_bytes_are_restored(document: bytes) -> None:
    assert joined_document(split_document(document, TEXTS), TEXTS) == document


def test_other_texts_restore_another_document_or_none() -> None:
    pieces = split_document(go(DOCUMENT).encode(), TEXTS)
    assert joined_document(pieces, TEXTS[::-1]) != go(DOCUMENT).encode()
    with pytest.raises(LookupError):
        joined_document(pieces, TEXTS[:1])


def test_strings_are_values_and_keys_at_any_depth() -> None:
    nested: object = "deep"
    for _ in range(5000):
        nested = [nested]
    assert set(strings_of({"a": ["b", 1, None, {"c": True}], "d": nested})) == {"a", "b", "c", "d", "deep"}
