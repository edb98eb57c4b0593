"""The offline checks: what a provider's own generator writes passes, one character less or another does not."""

from __future__ import annotations

import pytest

from auditor.detect.checksums import (
    AZURE_SEEDS,
    azure_pat_checksum,
    azure_secret_checksum,
    base62_crc32,
    marvin32,
)
from auditor.detect.rules import CHECKS
from auditor.rulebook.examples import fill

SEEDS = range(25)

WHOLE = [
    ("github-checksum", "ghp_{base62:30}{crc32}"),
    ("github-checksum", "npm_{base62:30}{crc32}"),
    ("github-checksum", "vcp_{base62:50}{crc32}"),
    ("grafana-checksum", "{grafana_service_account}"),
    ("gitlab-checksum", "{gitlab_routable:glpat-}"),
    ("gitlab-checksum", "{gitlab_routable:glpat-:01}"),
    ("gitlab-checksum", "{gitlab_routable:ACME-glrt-t1_}"),
    ("aws-access-key-id", "{aws_key_id:AKIA}"),
    ("aws-access-key-id", "{aws_key_id:ASIA}"),
    ("macaroon", "{pypi}"),
    ("macaroon", "{pypi:test.}"),
    ("base64-json", "glc_{base64_json:grafana-cloud}"),
    ("base64-json", "{base64_json:grafana-key}"),
    ("sentry-org-token", "sntrys_{base64_json:sentry}_{base64:43}"),
    ("mapbox-token", "sk.{base64_json:mapbox}.{base64url:22}"),
    ("discord-token", "{discord_bot}"),
    ("jira-pat", "{jira_pat}"),
    ("base58-key", "{wallet_key:wif}"),
    ("base58-key", "{wallet_key:wif-uncompressed}"),
    ("base58-key", "{wallet_key:xprv}"),
    ("stellar-seed", "{stellar_seed}"),
    ("sanctum-token", "{sanctum}"),
    ("jfrog-reference-token", "{jfrog_reference}"),
    ("elastic-api-key", "{base64of:base6220:base6222}"),
    ("azure-client-secret", "{azure_client_secret}"),
    ("azure-devops-pat", "{azure_devops_pat}"),
    ("azure-cask", "{azure_cask:AZDO}"),
    ("azure-cask", "{azure_cask:ACOG}"),
    ("jwt", "{jwt}"),
    ("jwt", "{supabase_jwt:service_role}"),
    *(("azure-key", f"{{azure_key:{signature}:{size}}}") for signature, size in [
        ("+ASt", 64), ("ACDb", 64), ("+ABa", 64), ("+AMC", 64), ("APIM", 64), ("AzFu", 40), ("AzSe", 39),
        ("+ACR", 39), ("+AEh", 32), ("+ASb", 32), ("+ARm", 32), ("AIoT", 32), ("AZEG", 32), ("AzCa", 32),
    ]),
]  # fmt: skip

BROKEN = [
    ("github-checksum", "ghp_{base62:36}"),
    ("github-checksum", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("grafana-checksum", "glsa_{base62:32}_{hex:8}"),
    ("gitlab-checksum", "glpat-{base64url:36}.0z{alnum:7}"),
    ("aws-access-key-id", "AKIA777777777777{base32:4}"),
    ("macaroon", "pypi-AgEIcHlwaS5vcmc{base64url:150}"),
    ("macaroon", "pypi-AgEIcHlwaS5vcmc*"),
    ("base64-json", "glc_eyJ{base62:120}"),
    ("sentry-org-token", "sntrys_eyJ{base62:120}_{base64:43}"),
    ("mapbox-token", "sk.eyJ{base62:80}.{base62:22}"),
    ("discord-token", "M{base62:23}.{base64url:6}.{base64url:27}"),
    ("jira-pat", "ND{base62:42}"),
    ("base58-key", "K{base58:51}"),
    ("base58-key", "K0{base58:50}"),
    ("base58-key", ""),
    ("stellar-seed", "SA{base32:54}"),
    ("sanctum-token", "12|{base62:40}{hex:8}"),
    ("jfrog-reference-token", "cmVmdGtu{base62:56}"),
    ("elastic-api-key", "{base62:58}=="),
    ("azure-client-secret", "{base62:3}8Q~{base62:34}"),
    ("azure-devops-pat", "{base32lower:52}"),
    ("azure-key", "{base62:76}+ASt{base62:5}A=="),
    ("azure-key", "{base62:33}AIoTA{base62:5}="),
    ("jwt", "eyJ{base62:30}.eyJ{base62:30}.{base62:43}"),
]

UNTESTED = [
    ("aws-access-key-id", "AKIAI{base32:15}"),  # from before 2019
    ("azure-client-secret", "{base62:3}7Q~{base62:31}"),  # from before 2022
    ("azure-key", "{base62:42}AzSeA{base62:5}"),  # not every seed is public
    ("azure-cask", "{base62:52}JQQJ99BAACAA{base62:12}AZDO{base62:4}"),
]


@pytest.mark.parametrize(("check", "template"), WHOLE)
def test_what_the_providers_generator_writes_passes(check: str, template: str) -> None:
    assert [CHECKS[check](fill(template, seed)) for seed in SEEDS] == [True] * len(SEEDS)


@pytest.mark.parametrize(("check", "template"), BROKEN)
def test_a_dummy_fails(check: str, template: str) -> None:
    passed = [CHECKS[check](fill(template, seed)) for seed in SEEDS]
    # A signature of 18 bits or more: none of these few random ones holds by chance.
    assert passed == [False] * len(SEEDS)


@pytest.mark.parametrize(("check", "template"), UNTESTED)
def test_a_kind_that_carries_nothing_to_test_stays_unjudged(check: str, template: str) -> None:
    assert {CHECKS[check](fill(template, seed)) for seed in SEEDS} == {None}


@pytest.mark.parametrize("check", ["github-checksum", "grafana-checksum", "gitlab-checksum", "azure-devops-pat"])
def test_each_character_counts(check: str) -> None:
    template = next(template for name, template in WHOLE if name == check)
    token = fill(template)
    body = range(token.find("_") + 1 or len("glpat-"), len(token)) if check != "azure-devops-pat" else range(51)
    for at in body:
        for other in "a5" if token[at].isdigit() else "3b":
            if other != token[at]:
                assert CHECKS[check](token[:at] + other + token[at + 1 :]) is False, at


def test_gitlab_sees_a_token_behind_other_text() -> None:
    assert CHECKS["gitlab-checksum"]("my-" + fill("{gitlab_routable:glpat-}"))


def test_the_hash_is_marvin() -> None:
    # The one example that microsoft/security-utilities publishes of a client secret, SEC101/156.
    secret = "zzz8Q~" + "z" * 31
    assert azure_secret_checksum(secret) == "blP"
    assert marvin32(b"", "Default0") != marvin32(b"\0", "Default0")


def test_every_seed_is_tried() -> None:
    import base64

    for seed in AZURE_SEEDS["ACDb"]:
        body = base64.b64decode("A" * 76 + "ACDb")
        key = base64.b64encode(body + marvin32(body, seed).to_bytes(4, "little")).decode()
        assert CHECKS["azure-key"](key)


def test_the_second_kind_of_azure_devops_token() -> None:
    import base64

    data = bytearray(range(32))
    data[22], data[8], data[7], data[2] = (azure_pat_checksum(data) ^ 0x1019F92E).to_bytes(4, "little")
    assert CHECKS["azure-devops-pat"](base64.b32encode(data).decode().rstrip("=").lower())


def test_the_checksum_has_six_digits() -> None:
    assert base62_crc32("") == "000000"


@pytest.mark.parametrize("check", sorted(CHECKS))
@pytest.mark.parametrize("text", ["", "_", ".", "::", "=" * 88, "é" * 90, "A" * 84, "eyJ", "a.b.c", "glpat-"])
def test_nonsense_never_raises(check: str, text: str) -> None:
    try:
        assert CHECKS[check](text) in (True, False, None)
    except (ValueError, IndexError) as exc:
        pytest.fail(f"{check} raises {exc!r} on {text!r}")
