"""Keys: which files are read, and what is said of others."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat

from auditor.attest.keys import PASSPHRASE as VARIABLE
from auditor.attest.keys import load_signer, load_verifier
from auditor.core.errors import UsageError
from tests.attest.key_files import PASSPHRASE, Key, cosign_form, ed, p256, pem, public_pem

SEC1 = PrivateFormat.TraditionalOpenSSL
FORMS: dict[str, tuple[Key, bytes]] = {
    "ECDSA": (key := p256(), pem(key)),
    "ECDSA, SEC 1": (key := p256(), pem(key, form=SEC1)),
    "Ed25519": (edwards := ed(), pem(edwards)),
    "encrypted ECDSA": (key := p256(), pem(key, PASSPHRASE)),
    "encrypted ECDSA, SEC 1": (key := p256(), pem(key, PASSPHRASE, SEC1)),
    "encrypted Ed25519": (edwards := ed(), pem(edwards, PASSPHRASE)),
    "cosign": (key := p256(), cosign_form(key)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_signature_of_the_private_key_is_accepted_by_the_public_one_alone(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, PASSPHRASE)
    key, data = FORMS[form]
    private, public, other = (tmp_path / name for name in ("private", "public", "other"))
    private.write_bytes(data)
    public.write_bytes(public_pem(key))
    other.write_bytes(public_pem(p256()))
    signer, verifier = load_signer(private), load_verifier(public)
    signature = signer.sign(b"text")
    assert verifier.accepts(b"text", signature) and verifier.key_id == signer.key_id
    assert not verifier.accepts(b"tex", signature) and not verifier.accepts(b"text", b"")
    assert not load_verifier(other).accepts(b"text", signature)


@pytest.mark.parametrize("form", [form for form in FORMS if form.startswith(("encrypted", "cosign"))])
def test_an_encrypted_key_needs_its_passphrase(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_bytes(FORMS[form][1])
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UsageError, match=f"is encrypted. Set {VARIABLE}"):
        load_signer(path)
    monkeypatch.setenv(VARIABLE, "wrong words")
    with pytest.raises(UsageError, match=f"{VARIABLE} is not (its|the) passphrase") as caught:
        load_signer(path)
    assert "wrong words" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pem(rsa.generate_private_key(65537, 1024)), "neither an ECDSA P-256 key nor an Ed25519 key"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "neither an ECDSA P-256 key nor an Ed25519 key"),
        (b"no key", "not a private key"),
        (b"x" * 70_000, "too large"),
        (cosign_form(p256(), n=1 << 40), "not in the form of"),
        (cosign_form(p256())[:80] + b"\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----", "not in the form of"),
    ],
)
def test_other_files_are_refused(data: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, PASSPHRASE)
    path = tmp_path / "key"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=message):
        load_signer(path)


def test_public_keys_of_other_kinds_and_private_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    for data, message in (
        (pem(p256()), "needs the public key"),
        (cosign_form(p256()), "needs the public key"),
        (public_pem(rsa.generate_private_key(65537, 1024)), "neither an ECDSA P-256 key nor an Ed25519 key"),
        (b"no key", "not a public key"),
    ):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=message):
            load_verifier(path)
    with pytest.raises(UsageError, match="can't be read"):
        load_verifier(tmp_path / "missing")


def test_a_signer_shows_no_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(pem(p256()))
    assert repr(load_signer(path)) == "Signer()"
