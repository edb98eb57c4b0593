"""Key files made at run time: PEM, encrypted PEM, and the form of cosign."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.secret import SecretBox

from auditor.attest.keys import Signer, Verifier

PASSPHRASE = "open sesame"
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def ed() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def pem(
    key: Key, passphrase: str | None = None, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8
) -> bytes:
    encryption = (
        serialization.NoEncryption()
        if passphrase is None
        else serialization.BestAvailableEncryption(passphrase.encode())
    )
    return key.private_bytes(serialization.Encoding.PEM, form, encryption)


def public_pem(key: Key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def cosign_form(key: Key, passphrase: str = PASSPHRASE, n: int = 1024) -> bytes:
    """As `cosign generate-key-pair` writes it, with a cheaper derivation."""
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    salt = b"s" * 32
    sealed = SecretBox(Scrypt(salt, 32, min(n, 1024), 8, 1).derive(passphrase.encode())).encrypt(der)
    document = {
        "kdf": {"name": "scrypt", "params": {"N": n, "r": 8, "p": 1}, "salt": base64.b64encode(salt).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(sealed.nonce).decode()},
        "ciphertext": base64.b64encode(sealed.ciphertext).decode(),
    }
    text = base64.encodebytes(json.dumps(document).encode()).decode()
    kind = "ENCRYPTED SIGSTORE PRIVATE KEY"
    return f"-----BEGIN {kind}-----\n{text}-----END {kind}-----\n".encode()


def written(folder: Path, key: Key | None = None) -> tuple[Path, Path]:
    """Write a private and a public key; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    key = key or p256()
    private, public = folder / "key.pem", folder / "key.pub"
    private.write_bytes(pem(key))
    public.write_bytes(public_pem(key))
    return private, public


def pair() -> tuple[Signer, Verifier]:
    key = p256()
    return Signer(key), Verifier(key.public_key())
