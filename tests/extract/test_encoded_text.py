"""Encoded parts of texts: base64, hex, percent signs, escapes."""

from __future__ import annotations

import base64
import json
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import textwrap
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from auditor.extract import base64_text
from auditor.extract.formats import format_of
from tests.extract.opened import decoded, opened
from tests.images import gzipped, layer, token

SECRET = token(21)
LINE = f"TOKEN={SECRET}"


def b64(data: bytes | str) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


KUBERNETES = f"""
apiVersion: v1
kind: Secret
metadata:
  name: planted
data:
  password: {b64("s3cr3t!")}
  short: {b64("Zq9#kk")}
  .env: {b64(LINE)}
"""

CASES = {
    "a kubernetes secret": (KUBERNETES, ("base64",)),
    "a whole file": (b64(LINE * 50), ("base64",)),
    "lines of 76": (base64.encodebytes((LINE + "\n").encode() * 50).decode(), ("base64",)),
    "lines of 64, indented": (
        "key: |\n  " + "\n  ".join(b64(LINE * 9)[at : at + 64] for at in range(0, 540, 64)),
        ("base64",),
    ),
    "URL-safe": ("x=" + base64.urlsafe_b64encode(f"{LINE} ~~~???>>>".encode()).decode().rstrip("="), ("base64",)),
    "base64 of base64": (b64(b64(LINE)), ("base64", "base64")),
    "base64 of gzip": (b64(gzipped(LINE.encode())), ("base64", "gzip")),
    "base64 of base64 of gzip, as helm keeps releases": (
        b64(b64(gzipped(LINE.encode()))),
        ("base64", "base64", "gzip"),
    ),
    "UTF-16 in base64, as PowerShell takes it": (
        b64(("$x = '" + LINE + "'").encode("utf-16-le")),
        ("base64", "utf-16le"),
    ),
    "UTF-8 that is not ASCII": (b64(f"password for host: {SECRET} — ключ"), ("base64",)),
    "hex": (LINE.encode().hex(), ("hex",)),
    "hex in capitals": ("0x" + LINE.encode().hex().upper(), ("hex",)),
    "a query": (f"POST /?body=a%3Db%26{quote(LINE, safe='')} HTTP/1.1", ("percent",)),
    "one percent sign": (f"curl -d token%3D{SECRET} x", ("percent",)),
    "a file in JSON": (json.dumps({"env": f"A=1\n{LINE}\nB=2\n"}), ("escapes",)),
    "JSON in JSON": (json.dumps({"a": json.dumps({"token": SECRET})}), ("escapes",)),
    "unicode escapes in JSON": ('{"a": "token\\u003d' + SECRET + '"}', ("escapes",)),
    "hexadecimal escapes in code": (
        "x = '" + "".join(f"\\x{byte:02x}" for byte in SECRET.encode()) + "'",
        ("escapes",),
    ),
    "a file in a string of code": (f'content = "A=1\\nexport {LINE}\\nB=2"', ("escapes",)),
}


@pytest.mark.parametrize("name", CASES)
def test_an_encoded_secret_is_seen(name: str) -> None:
    text, codings = CASES[name]
    for before in ("", "first line\nsecond: "):
        found = decoded(before + text if not text.startswith("{") else text)
        assert any(way == codings for _, way in found.ways(SECRET)), found.pieces


def test_the_line_is_that_of_the_outer_text() -> None:
    text = f"one\ntwo\nkey: {b64(LINE)}\nfour\nnested: {b64(b64(LINE))}\nsix\n a=%7B%22{SECRET}\n"
    assert {(p.decoded, p.line) for p in decoded(text).pieces} == {
        (("base64",), 3),
        (("base64",), 5),
        (("base64", "base64"), 5),
        (("percent",), 7),
    }


def test_a_short_value_keeps_the_name_before_it() -> None:
    assert b"password: s3cr3t!" in [piece.data for piece in decoded(KUBERNETES).pieces]
    (piece,) = decoded(f'{{"db_password": "{b64("correct horse battery")}"}}').pieces
    assert piece.data == b'db_password": "correct horse battery"'


def test_an_archive_in_base64_is_opened() -> None:
    found = decoded("archive: " + b64(gzipped(layer({"etc/.env": LINE}))))
    assert found.ways(SECRET) == [("etc/.env", ("base64", "gzip"))]


def private_key(kind: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey:
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP384R1()) if kind == "ec" else ed25519.Ed25519PrivateKey.generate()


KEYS = [
    ("rsa", PrivateFormat.PKCS8),
    ("rsa", PrivateFormat.TraditionalOpenSSL),
    ("ec", PrivateFormat.PKCS8),
    ("ec", PrivateFormat.TraditionalOpenSSL),
    ("ed25519", PrivateFormat.PKCS8),
]


@pytest.mark.parametrize(("kind", "form"), KEYS)
def test_a_private_key_without_armour_gets_it(kind: str, form: PrivateFormat) -> None:
    key = private_key(kind)
    der = key.private_bytes(Encoding.DER, form, NoEncryption())
    pem = key.private_bytes(Encoding.PEM, form, NoEncryption())
    assert [p.data for p in decoded(f"privateKey={b64(der)}\n").pieces] == [pem]
    java = '" +\n    "'.join(textwrap.wrap(b64(der), 64))
    php = "'\n    . '".join(textwrap.wrap(b64(der), 64))
    for text in (f'k = "{der.hex()}"', f"0x{der.hex().upper()}\n", f'String key = "{java}";', f"$key = '{php}';"):
        assert pem in [p.data for p in decoded(text).pieces], text[:20]
    assert [(p.data, p.decoded) for p in opened("etc/tls/server.key", der).pieces] == [(der, ("der",)), (pem, ("der",))]
    assert opened("server.key", der + b"\r\n").pieces[-1].data == pem
    assert [p.data for p in opened("a.bin", der + LINE.encode()).pieces] == [der + LINE.encode()]
    assert [p.data for p in opened("a.bin", der[:-1]).pieces] == [der[:-1]]
    locked = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"a"))
    assert opened("a.pk8", locked).pieces[-1].data.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert format_of("public.der", public) is None
    assert not any(b"PRIVATE" in p.data for p in decoded(f'"{public.hex()}" "{b64(public)}"').pieces)
    assert decoded(pem).pieces == ()
    assert pem.strip() in [p.data.strip() for p in decoded(f"client-key-data: {b64(pem)}").pieces]
    google = json.dumps({"type": "service_account", "private_key": pem.decode()})
    assert any(pem in p.data for p in decoded(google).pieces)
    assert any(pem in p.data for p in decoded("KEY='" + pem.decode().replace("\n", "\\n") + "'").pieces)


@pytest.mark.parametrize(
    "text",
    [
        "import os.path\nfrom collections.abc import Callable, AsyncIterator\n" * 20,
        "usr/lib/python3/dist/packages/some/long/path/without/dots\n" * 20,
        "someVeryLongCamelCaseIdentifierThatGoesOnAndOnAndOn = 1\n" * 20,
        "integrity sha512-" + b64(bytes(range(200, 256)) + bytes(8)) + "\n",
        "d41d8cd98f00b204e9800998ecf8427e da39a3ee5e6b4b0d3255bfef95601890afd80709\n",
        "printf('%d%s%20s 100%')\n",
        r'print("a\nb\nc")' + "\n",
        '{"version":3,"sources":["a.js"],"sourcesContent":["a\\nb\\nTOKEN=1"]}',
        "\0" + LINE.encode().hex(),
        "",
    ],
)
def test_ordinary_text_has_no_encoded_parts(text: str) -> None:
    assert decoded(text).pieces == ()


def test_ends_of_text_are_no_trouble() -> None:
    for text in ("A" * 24, "QUFB" * 6 + "=", "%", "%4", "\\", "{\\", "%3D", "M" * 25, "-----BEGIN ", "0x" + "41" * 16):
        decoded(text)
        decoded("{" + text)


def test_encoded_parts_are_limited_in_number_and_depth() -> None:
    many = decoded("\n".join(f"k: {b64(f'value number {n:09}')}" for n in range(50)), stretches=10)
    assert len(many.pieces) == 10 and many.notes[0][1].startswith("more than 10 encoded parts")
    deep = LINE
    for _ in range(6):
        deep = b64(deep)
    assert max(len(p.decoded) for p in decoded(deep).pieces) == 3


def first_bytes(items: Sequence[Any]) -> set[int]:
    """Bytes that a match of some items may begin with."""
    (kind, value), *rest = items
    if kind is op.LITERAL:
        return {value}
    if kind is op.IN:
        return set().union(
            *({member} if one is op.LITERAL else range(member[0], member[1] + 1) for one, member in value)
        )
    if kind is op.BRANCH:
        return set().union(*(first_bytes([*branch, *rest]) for branch in value[1]))
    if kind is op.SUBPATTERN:
        return first_bytes([*value[3], *rest])
    assert kind is op.MAX_REPEAT, kind
    return first_bytes(value[2]) | (set() if value[0] else first_bytes(rest))


def test_runs_are_skipped_by_a_byte_that_begins_no_match() -> None:
    likely, hexadecimal = ({*first_bytes(parser.parse(one.pattern))} for one in (base64_text._LIKELY, base64_text._HEX))
    assert likely == base64_text._FIRST_LIKELY
    assert hexadecimal | {*first_bytes(parser.parse(base64_text._HEX_KEY.pattern))} == base64_text._FIRST_HEX
