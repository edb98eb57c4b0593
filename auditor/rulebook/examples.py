"""Templates of rule examples: filled when they are used, so that no file contains a token.

`{base62:30}` gives 30 random characters of that alphabet; `{crc32}` the checksum of the random piece before it, as
GitHub and npm write it. Other text in braces is kept. docs/writing-rules.md lists all names.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
import uuid
from collections.abc import Callable
from typing import Any
from zlib import crc32

from auditor.detect.checksums import (
    AZURE_SEEDS,
    BASE58,
    azure_pat_checksum,
    azure_secret_checksum,
    base58check,
    base62_crc32,
    crc16_xmodem,
    marvin32,
)

ALPHABETS = {
    "base62": string.digits + string.ascii_uppercase + string.ascii_lowercase,
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "base64": string.ascii_letters + string.digits + "+/",
    "base64url": string.ascii_letters + string.digits + "-_",
    "base32": string.ascii_uppercase + "234567",
    "base32lower": string.ascii_lowercase + "234567",
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "alpha": string.ascii_letters,
    "alnum": string.ascii_lowercase + string.digits,
    "ALNUM": string.ascii_uppercase + string.digits,
    "digits": string.digits,
    "word": string.ascii_letters + string.digits + "_",
    "bech32": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
    "base58": BASE58,
}
_FIELD = re.compile(r"\{(?P<name>[A-Za-z0-9_]+)(?::(?P<argument>[^{}]*))?\}")


def fill(template: str, seed: int = 0) -> str:
    """Fill one template. The same seed gives the same text. Raises ValueError on a malformed argument."""
    source = random.Random(seed)  # noqa: S311 - nothing here is secret
    previous = ""

    def field(match: re.Match[str]) -> str:
        nonlocal previous
        name, argument = match["name"], match["argument"]
        if name in ALPHABETS and argument:
            previous = _pick(source, ALPHABETS[name], int(argument))
            return previous
        if name == "crc32":
            return base62_crc32(previous)
        if name in MAKERS:
            return MAKERS[name](source, argument or "")
        return match[0]

    return _FIELD.sub(field, template)


def outline(template: str) -> str:
    """Return a template with `****` in place of random text, for display."""
    shown = _FIELD.sub(lambda match: "****" if _is_field(match) else match[0], template)
    return re.sub(r"\*{5,}", "****", shown)


def _is_field(match: re.Match[str]) -> bool:
    name = match["name"]
    return (name in ALPHABETS and bool(match["argument"])) or name == "crc32" or name in MAKERS


def _pick(source: random.Random, alphabet: str, length: int) -> str:
    return "".join(source.choice(alphabet) for _ in range(length))


def _uuid(source: random.Random, _: str) -> str:
    return str(uuid.UUID(int=source.getrandbits(128), version=4))


def _encode(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")


def _jwt(source: random.Random, claims: str) -> str:
    """`{jwt}`, or `{jwt:iss=x}` with one claim more."""
    body = {"sub": _pick(source, ALPHABETS["digits"], 10), "iat": 1700000000 + source.randrange(10**7)}
    body |= dict([claims.split("=", 1)]) if claims else {}
    return f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(body)}.{_pick(source, ALPHABETS['base64url'], 43)}"


def _base64_of(source: random.Random, template: str) -> str:
    """`{base64of:user:hex32}`: a text, encoded; `hexN` and `base62N` in it are drawn at random."""
    text = re.sub(r"(hex|base62)(\d+)", lambda m: _pick(source, ALPHABETS[m[1]], int(m[2])), template)
    return base64.b64encode(text.encode()).decode()


def _pem(source: random.Random, label: str) -> str:
    """`{pem:RSA PRIVATE KEY}`: the armour with random content of a key's length."""
    lines = [_pick(source, ALPHABETS["base64"], 64) for _ in range(12)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"))


def _aws_key_id(source: random.Random, prefix: str) -> str:
    """`{aws_key_id:AKIA}`: an access key ID that names a random account of twelve digits."""
    number = 1 << 79 | source.randrange(10**12) << 39 | source.getrandbits(39)
    return prefix + base64.b32encode(number.to_bytes(10, "big")).decode()


def _gitlab_routable(source: random.Random, argument: str) -> str:
    """`{gitlab_routable:glpat-}`, or `{gitlab_routable:glpat-:01}` in the form that states its version."""
    prefix, _, version = argument.partition(":")
    payload = f"o:{source.randrange(36, 1296)}\nu:{source.randrange(10**6)}".encode() + source.randbytes(16) + b"\x10"
    encoded = base64.urlsafe_b64encode(payload).decode().rstrip("=")
    text = f"{prefix}{encoded}.{version}{'.' if version else ''}{_base36(len(encoded)).rjust(2, '0')}"
    return text + _base36(crc32(text.encode())).rjust(7, "0")


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = (string.digits + string.ascii_lowercase)[digit] + digits
    return digits or "0"


def _pypi(source: random.Random, prefix: str) -> str:
    """`{pypi}`, or `{pypi:test.}`: a macaroon (version 2, binary) as PyPI and its test site issue them."""
    host = f"{prefix}pypi" + ".org"
    caveat = b"\x02" + _sized(f'[1, ["{_uuid(source, "")}"]]'.encode()) + b"\0"
    head = b"\x02\x01" + _sized(host.encode()) + b"\x02" + _sized(_uuid(source, "").encode()) + b"\0"
    macaroon = head + caveat + b"\0\x06" + _sized(source.randbytes(32))
    return "pypi-" + base64.urlsafe_b64encode(macaroon).decode().rstrip("=")


def _sized(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _base64_json(source: random.Random, kind: str) -> str:
    """`{base64_json:grafana-key}`: the JSON object that some tokens are, in base64."""
    key = _pick(source, ALPHABETS["base62"], 32)
    value = {
        "grafana-key": {"k": key, "n": "ci", "id": 1},
        "grafana-cloud": {"o": _pick(source, "123456789", 6), "n": "ci-token", "k": key, "m": {"r": "eu"}},
        "sentry": {"iat": 1700000000.5 + source.randrange(10**7), "url": "https://sentry.io", "org": "acme"},
        "mapbox": {"u": "acme", "a": _pick(source, ALPHABETS["alnum"], 25)},
    }[kind]
    return base64.b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")


def _supabase_jwt(source: random.Random, role: str) -> str:
    """`{supabase_jwt:service_role}`: the JSON Web Token that a Supabase project has for a role."""
    project = _pick(source, ALPHABETS["lower"], 20)
    body = {"iss": "supabase", "ref": project, "role": role, "iat": 1700000000, "exp": 2000000000}
    head = _encode({"alg": "HS256", "typ": "JWT"})
    return f"{head}.{_encode(body)}.{_pick(source, ALPHABETS['base64url'], 43)}"


def _grafana_service_account(source: random.Random, _: str) -> str:
    body = "glsa_" + _pick(source, ALPHABETS["base62"], 32)
    return f"{body}_{crc32(body.encode()).to_bytes(4, 'little').hex()}"


def _discord_bot(source: random.Random, _: str) -> str:
    account = str(source.randrange(10**17, 10**19)).encode()
    parts = (6, 38 if len(account) > 18 else 27)
    head = base64.urlsafe_b64encode(account).decode().rstrip("=")
    return ".".join((head, *(_pick(source, ALPHABETS["base64url"], size - 1) + "x" for size in parts)))


def _jira_pat(source: random.Random, _: str) -> str:
    return base64.b64encode(_pick(source, "123456789", 12).encode() + b":" + source.randbytes(20)).decode()


def _jfrog_reference(source: random.Random, _: str) -> str:
    text = f"reftkn:01:{_pick(source, '123456789', 10)}:{_pick(source, ALPHABETS['base62'], 27)}"
    return base64.b64encode(text.encode()).decode()


def _azure_key(source: random.Random, argument: str) -> str:
    """`{azure_key:+ASt:64}`: an identifiable key of so many bytes, with its signature and checksum."""
    signature, _, size = argument.partition(":")
    length = -(-int(size) * 8 // 6)
    text = _pick(source, ALPHABETS["base62"], length - 10) + signature + "A" * 6
    body = base64.b64decode(text + "=" * (-length % 4))[:-4]
    key = base64.b64encode(body + marvin32(body, AZURE_SEEDS[signature][0]).to_bytes(4, "little")).decode()
    return key.replace("+", "-").replace("/", "_") if signature == "AzFu" else key


def _azure_cask(source: random.Random, signature: str) -> str:
    """`{azure_cask:AZDO}`: a common annotated security key of a provider."""
    while True:
        head = _pick(source, ALPHABETS["base62"], 52) + "JQQJ99BAACAA" + _pick(source, ALPHABETS["base62"], 12)
        body = base64.b64decode(head + signature)
        tail = base64.b64encode(marvin32(body, "Default0").to_bytes(4, "little")[:3]).decode()
        if tail.isalnum():
            return head + signature + tail


def _azure_client_secret(source: random.Random, _: str) -> str:
    text = _pick(source, ALPHABETS["base62"], 3) + "8Q~" + _pick(source, ALPHABETS["base62"], 31)
    return text + azure_secret_checksum(text)


def _azure_devops_pat(source: random.Random, _: str) -> str:
    data = bytearray(source.randbytes(32))
    data[22], data[8], data[7], data[2] = (azure_pat_checksum(data) ^ 0xE0B9692D).to_bytes(4, "little")
    return base64.b32encode(data).decode().rstrip("=").lower()


def _wallet_key(source: random.Random, kind: str) -> str:
    """`{wallet_key:wif}`, `{wallet_key:wif-uncompressed}`, `{wallet_key:xprv}`: a key of a Bitcoin wallet."""
    key = source.randbytes(32)
    if kind == "xprv":
        return base58check(b"\x04\x88\xad\xe4" + bytes(9) + source.randbytes(32) + b"\0" + key)
    return base58check(b"\x80" + key + (b"\1" if kind == "wif" else b""))


def _stellar_seed(source: random.Random, _: str) -> str:
    data = b"\x90" + source.randbytes(32)
    return base64.b32encode(data + crc16_xmodem(data).to_bytes(2, "little")).decode()


def _sanctum(source: random.Random, _: str) -> str:
    body = _pick(source, ALPHABETS["base62"], 40)
    return f"{source.randrange(1, 10**5)}|{body}{crc32(body.encode()):08x}"


MAKERS: dict[str, Callable[[random.Random, str], str]] = {
    "uuid": _uuid,
    "jwt": _jwt,
    "base64of": _base64_of,
    "pem": _pem,
    "aws_key_id": _aws_key_id,
    "gitlab_routable": _gitlab_routable,
    "pypi": _pypi,
    "base64_json": _base64_json,
    "supabase_jwt": _supabase_jwt,
    "grafana_service_account": _grafana_service_account,
    "discord_bot": _discord_bot,
    "jira_pat": _jira_pat,
    "jfrog_reference": _jfrog_reference,
    "azure_key": _azure_key,
    "azure_cask": _azure_cask,
    "azure_client_secret": _azure_client_secret,
    "azure_devops_pat": _azure_devops_pat,
    "wallet_key": _wallet_key,
    "stellar_seed": _stellar_seed,
    "sanctum": _sanctum,
}
"""Makers of whole tokens, by their names in templates."""
