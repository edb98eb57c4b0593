"""Keys are judged by what they hold, not by their labels."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from auditor.detect.examples import fill
from auditor.detect.key_checks import base64_secret, basic_login, pgp_private_key, private_key

KEYS: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey] = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}
FORMATS = [form.PrivateFormat.TraditionalOpenSSL, form.PrivateFormat.PKCS8, form.PrivateFormat.OpenSSH]


def written(kind: str, how: form.PrivateFormat, guard: form.KeySerializationEncryption) -> str:
    return KEYS[kind].private_bytes(form.Encoding.PEM, how, guard).decode()


# Ed25519 has no traditional form.
@pytest.mark.parametrize(("kind", "how"), [(k, h) for k in KEYS for h in FORMATS[k == "ed25519" :]])
def test_a_real_key_passes_however_its_lines_are_broken(kind: str, how: form.PrivateFormat) -> None:
    text = written(kind, how, form.NoEncryption())
    for way in (
        text,
        text.strip(),
        text.replace("\n", "\\n"),
        text.replace("\n", "\r\n"),
        text.replace("\n", '\\n" +\n  "'),
    ):
        assert private_key(way) is True


@pytest.mark.parametrize("kind", KEYS)
def test_an_encrypted_key_passes(kind: str) -> None:
    assert private_key(written(kind, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"guard"))) is True


def test_a_clipped_key_and_an_unknown_one_stay_unjudged() -> None:
    text = written("rsa", form.PrivateFormat.PKCS8, form.NoEncryption())
    assert private_key(text[:800]) is None
    assert private_key(fill("{pem:PRIVATE KEY}", 7)) is None


@pytest.mark.parametrize(
    "body", ["MIIEpAIBAAKCAQEA" + "x" * 48, "A" * 64, "not base64!", "MIIEpAIBAAKCAQEA" + "qT7" * 30]
)
def test_a_dummy_fails(body: str) -> None:
    assert private_key(f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----") is False


def test_an_openpgp_secret_key_packet_passes() -> None:
    packet = base64.b64encode(bytes([0x95, 0x03, 0x98, *range(100)])).decode()
    block = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{}\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----"
    assert pgp_private_key(block.format(packet)) is True
    assert pgp_private_key(block.format("?")) is False


def test_basic_credentials_need_a_user_and_a_real_password() -> None:
    assert basic_login(base64.b64encode(b"deploy:hunter2Gz9").decode()) is True
    for text in (b"deploy", b"deploy:", b"user:changeme"):
        assert basic_login(base64.b64encode(text).decode()) is False
    assert basic_login("no base64") is False


def test_a_kubernetes_value_must_hold_more_than_a_placeholder() -> None:
    assert base64_secret(base64.b64encode(b"hunter2Gz9").decode()) is True
    assert base64_secret(base64.b64encode(b"changeme").decode()) is False
    assert base64_secret(base64.b64encode(bytes(range(130, 170))).decode()) is None
