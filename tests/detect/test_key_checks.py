"""Keys are judged by what they hold, not by their labels."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from auditor.detect.key_checks import base64_secret, basic_login, pgp_private_key, private_key
from auditor.detect.key_forms import is_der_key
from auditor.rulebook.examples import fill
from bench.work import counted
from tests.hostile import key_material as made

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


LARGE = {
    "rsa": ("RSA PRIVATE KEY", made.rsa(16384)),
    "rsa in pkcs8": ("PRIVATE KEY", made.rsa_pkcs8(16384)),
    "dsa": ("DSA PRIVATE KEY", made.dsa(16384)),
    "dsa in pkcs8": ("PRIVATE KEY", made.dsa_pkcs8(16384)),
    "dh": ("PRIVATE KEY", made.dh_pkcs8(16384)),
    "ec": ("EC PRIVATE KEY", made.ec()),
    "ec in pkcs8": ("PRIVATE KEY", made.ec_pkcs8()),
    "ed25519": ("PRIVATE KEY", made.ed25519()),
    "openssh": ("OPENSSH PRIVATE KEY", made.openssh(16384)),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_key_is_read_by_its_form_and_never_loaded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: object, **__: object) -> None:
        pytest.fail("a key was loaded: its numbers may take seconds")

    for name in ("load_der_private_key", "load_pem_private_key", "load_ssh_private_key"):
        monkeypatch.setattr(form, name, loaded)
    label, key = LARGE[kind]
    assert private_key(made.pem(label, key).decode()) is True
    assert private_key(made.pem(label, key[:-9] + b"another.!").decode()) is (True if kind in PLAIN_TAIL else None)


PLAIN_TAIL = ("rsa", "rsa in pkcs8", "dsa", "dsa in pkcs8", "dh", "ec", "ec in pkcs8", "ed25519")
"""Kinds whose last bytes are those of a number, of which any will do."""


def test_an_rsa_modulus_is_the_product_of_its_primes() -> None:
    n, *rest = made.rsa_numbers(1024, 1)
    good, bad = (made.sequence(made.integer(0), *map(made.integer, (modulus, *rest))) for modulus in (n, n + 2))
    assert is_der_key(good) and not is_der_key(bad)
    assert not is_der_key(made.sequence(made.integer(0), *map(made.integer, (n, *rest[:-1], 0))))


@pytest.mark.parametrize(
    "data",
    [b"", b"0", b"0\x80", b"0\x84\xff\xff\xff\xff", b"0\x89" + bytes(20), made.sequence(), made.rsa(1024) * 2,
     made.sequence(*[made.integer(1)] * 1000), made.pkcs8(made.sequence(), b"x"), made.pkcs8(b"", made.rsa(512)),
     made.pkcs8(made.sequence(made.oid(made.ED25519)), b"\4\4abcd"), made.sequence(made.integer(2), made.tlv(4, b"x"))],
)  # fmt: skip
def test_what_has_not_the_form_of_a_key_is_none(data: bytes) -> None:
    assert not is_der_key(data)


def test_a_key_between_long_blanks_is_read_once() -> None:
    text = made.pem("PRIVATE KEY", made.ec_pkcs8()).decode()
    blank = " " * 8000
    work = counted(lambda: private_key(text.replace("\n", f"{blank}\n{blank}")))
    assert private_key(text.replace("\n", f"{blank}\n{blank}")) is True
    assert work.total < 2000


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
