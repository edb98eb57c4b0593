"""Offline checks of the structure of a secret: checksums, encodings, embedded fields.

A check returns True for a valid structure, False for a broken one (a near miss or a dummy), and None for a variant of
the secret without a structure to test.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Callable
from typing import Any
from zlib import crc32

from auditor.detect.checksums import (
    AZURE_SEEDS,
    BASE58,
    azure_pat_checksum,
    azure_secret_checksum,
    base58_checksum,
    base62_crc32,
    crc16_xmodem,
    marvin32,
)

Check = Callable[[str], bool | None]


def _total(check: Check) -> Check:
    """Return False for a secret that the check can't decode."""

    @functools.wraps(check)
    def total(text: str) -> bool | None:
        try:
            return check(text)
        except (ValueError, IndexError, RecursionError):
            return False

    return total


def github_checksum(token: str) -> bool | None:
    """Test GitHub and npm tokens: six base-62 digits at the end are the CRC-32 of the text after the prefix."""
    body = token.rpartition("_")[2]
    return base62_crc32(body[:-6]) == body[-6:]


def grafana_checksum(token: str) -> bool | None:
    """Test Grafana service account tokens: after the last `_`, the CRC-32 of the text before it in little-endian hex.

    grafana/grafana, pkg/components/satokengen.
    """
    body, _, digits = token.rpartition("_")
    return crc32(body.encode()).to_bytes(4, "little").hex() == digits.lower()


@_total
def gitlab_checksum(token: str) -> bool | None:
    """Test GitLab routable tokens: seven base-36 digits at the end are the CRC-32 of the text before, prefix included.

    gitlab-org/gitlab, lib/authn/token_field/generator/routable_token.rb.
    """
    starts = {0, token.find("gl")}
    return any(crc32(token[start:-7].encode()) == int(token[-7:], 36) for start in starts if start >= 0)


@_total
def aws_access_key_id(key: str) -> bool | None:
    """Test AWS access key IDs: base32 with the account number, of twelve digits, in 40 bits.

    Keys from before 2019, which start with AKIAI or AKIAJ, do not contain the account.
    """
    number = int.from_bytes(base64.b32decode(key[4:])[:6], "big")
    if not number >> 47:
        return None
    return (number >> 7) & (1 << 40) - 1 < 10**12


@_total
def macaroon(token: str) -> bool | None:
    """Test PyPI tokens: macaroons in binary form, version 2, with fields of type, length and value, the signature last.

    go-macaroon and libmacaroons, doc/format.txt.
    """
    text = token.partition("-")[2]
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    position, kind = 1, 0
    while position < len(data):
        kind, position = data[position], position + 1
        if kind:  # 0 ends a section and has neither length nor value
            shift = size = 0
            while position < len(data):
                size |= (data[position] & 0x7F) << shift
                shift, position = shift + 7, position + 1
                if data[position - 1] < 0x80:
                    break
            position += size
            if kind == 6:
                return size == 32 and position == len(data)
    return False


@_total
def azure_key(key: str) -> bool | None:
    """Test Azure identifiable keys: a signature of four characters and a Marvin hash of the bytes before it at the end.

    microsoft/security-utilities, IdentifiableMetadata. For some signatures not every seed is public.
    """
    signature = key.rstrip("=")[-10:-6]
    data = base64.b64decode(key, altchars=b"-_" if signature == "AzFu" else None, validate=True)
    body, end = data[:-4], int.from_bytes(data[-4:], "little")
    if any(marvin32(body, seed) == end for seed in AZURE_SEEDS.get(signature, ())):
        return True
    return None if signature in ("AzSe", "AzCa", "AZEG") else False


@_total
def azure_cask(key: str) -> bool | None:
    """Test common annotated security keys: the first bytes of a Marvin hash of the text before at the end.

    microsoft/security-utilities, IdentifiableSecrets. A second encoding of the hash exists, so no key fails.
    """
    end = marvin32(base64.b64decode(key[:80]), "Default0").to_bytes(4, "little")
    return True if base64.b64encode(end[:3]).decode() == key[80:84] else None


def azure_client_secret(secret: str) -> bool | None:
    """Test client secrets of Entra ID from 2022 on, which end in three characters of a Marvin hash."""
    return azure_secret_checksum(secret[:-3]) == secret[-3:] if secret[3:6] == "8Q~" else None


@_total
def azure_devops_pat(token: str) -> bool | None:
    """Test old Azure DevOps tokens: base32 with a CRC-32 spread over four bytes (security-utilities, SEC101/102)."""
    data = base64.b32decode(token.upper() + "====")
    end = int.from_bytes((data[22], data[8], data[7], data[2]), "little")
    return azure_pat_checksum(data) ^ end in (0xE0B9692D, 0x1019F92E)


def base64_json(token: str) -> bool | None:
    """Test Grafana cloud tokens and old API keys: a JSON object in base64, which begins with `eyJ`."""
    return isinstance(_json(token[token.find("eyJ") :]), dict)


def sentry_org_token(token: str) -> bool | None:
    """Test Sentry organization tokens: a JSON object with the time of issue. getsentry/rfcs, 0091."""
    value = _json(token.removeprefix("sntrys_").rpartition("_")[0])
    return isinstance(value, dict) and "iat" in value


@_total
def mapbox_token(token: str) -> bool | None:
    """Test Mapbox tokens: the middle part is a JSON object with the account name in `u`."""
    value = _json(token.split(".")[1])
    return isinstance(value, dict) and "u" in value


def _json(text: str) -> Any:
    """Decode a JSON value in base64, standard or URL-safe; None where it is invalid."""
    try:
        return json.loads(
            base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if _is_url_safe(text) else None)
        )
    except (ValueError, RecursionError):
        return None


def _is_url_safe(text: str) -> bool:
    return "-" in text or "_" in text


@_total
def discord_token(token: str) -> bool | None:
    """Test Discord bot tokens: the first part is the account number in base64. Discord, API reference, snowflakes."""
    head = token.partition(".")[0]
    return base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)).isdigit()


def _decodes_to(pattern: bytes) -> Check:
    """Return a check for base64 of bytes that match a pattern."""
    compiled = re.compile(pattern, re.DOTALL)

    @_total
    def check(text: str) -> bool | None:
        return bool(compiled.fullmatch(base64.b64decode(text, validate=True)))

    return check


def jwt(token: str) -> bool | None:
    """Test JSON Web Tokens: the header is a JSON object with `alg`, in base64url. RFC 7519."""
    try:
        head = token.partition(".")[0]
        value = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "alg" in value


def docker_auth(text: str) -> bool | None:
    """Test `auth` of a Docker config: `user:password` in base64, with or without padding. Docker CLI, config.json."""
    try:
        padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
        user, colon, password = base64.b64decode(padded, validate=True).decode().partition(":")
    except ValueError:
        return False
    return bool(user and colon and password)


@_total
def base58_key(text: str) -> bool | None:
    """Test keys of Bitcoin wallets in base58: four bytes at the end are a checksum of those before."""
    number = 0
    for char in text:
        number = number * 58 + BASE58.index(char)
    data = number.to_bytes(-(-number.bit_length() // 8), "big")
    return base58_checksum(data[:-4]) == data[-4:]


@_total
def stellar_seed(text: str) -> bool | None:
    """Test secret seeds of Stellar accounts: two bytes at the end are a CRC-16 of those before. SEP-23."""
    data = base64.b32decode(text)
    return crc16_xmodem(data[:-2]).to_bytes(2, "little") == data[-2:]


def sanctum_token(text: str) -> bool | None:
    """Test tokens of Laravel Sanctum: eight hexadecimal digits at the end are the CRC-32 of the 40 characters before.

    laravel/sanctum, HasApiTokens.
    """
    body = text.partition("|")[2]
    return f"{crc32(body[:-8].encode()):08x}" == body[-8:]


CHECKS: dict[str, Check] = {
    "github-checksum": github_checksum,
    "grafana-checksum": grafana_checksum,
    "gitlab-checksum": gitlab_checksum,
    "aws-access-key-id": aws_access_key_id,
    "macaroon": macaroon,
    "azure-key": azure_key,
    "azure-cask": azure_cask,
    "azure-client-secret": azure_client_secret,
    "azure-devops-pat": azure_devops_pat,
    "base64-json": base64_json,
    "sentry-org-token": sentry_org_token,
    "mapbox-token": mapbox_token,
    "discord-token": discord_token,
    "base58-key": base58_key,
    "stellar-seed": stellar_seed,
    "sanctum-token": sanctum_token,
    # Atlassian Data Center: twelve digits, a colon, twenty random bytes.
    "jira-pat": _decodes_to(rb"[0-9]{12}:.{20}"),
    # JFrog: prefix, version, expiry time, random letters.
    "jfrog-reference-token": _decodes_to(rb"reftkn:[0-9]{2}:[0-9]{10}:[0-9A-Za-z]+"),
    # Elasticsearch, "Create API key": `encoded` is the base64 of an ID, a colon and a key.
    "elastic-api-key": _decodes_to(rb"[\w-]{20}:[\w-]{22}"),
    "jwt": jwt,
    "docker-auth": docker_auth,
}
