"""Keys of attestations: ECDSA P-256 or Ed25519, in PEM.

A private key is PKCS #8 or SEC 1 (RFC 5958, RFC 5915), plain or encrypted, or the file that `cosign generate-key-pair`
writes. Source of cosign's format: documentation of github.com/secure-systems-lab/go-securesystemslib/encrypted, scrypt
(RFC 7914) and NaCl's secretbox.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from auditor.core.dataclass import dataclass
from auditor.core.errors import UsageError

PASSPHRASE = "IMAGE_AUDIT_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
"""Environment variable with the passphrase of an encrypted private key."""
_MAX_FILE = 1 << 16
_MAX_SCRYPT = 1 << 28
"""Most bytes of memory that the key derivation of a file may ask for: cosign's own files need 64 MiB."""
_COSIGN = re.compile(
    rb"-----BEGIN ENCRYPTED (SIGSTORE|COSIGN) PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)"
    rb"-----END ENCRYPTED \1 PRIVATE KEY-----"
)
_ENCRYPTED = re.compile(rb"BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED")

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key. `key_id` identifies its public key."""

    private: PrivateKey = field(repr=False)

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key as SubjectPublicKeyInfo in DER, in hexadecimal."""
        return _key_id(self.private.public_key())

    def sign(self, data: bytes) -> bytes:
        """Return the signature: of ECDSA over SHA-256 and in DER, of Ed25519 as in RFC 8032."""
        match self.private:
            case ed25519.Ed25519PrivateKey():
                return self.private.sign(data)
            case _:
                return self.private.sign(data, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key."""

    public: PublicKey

    @property
    def key_id(self) -> str:
        """The `key_id` of its signer."""
        return _key_id(self.public)

    def accepts(self, data: bytes, signature: bytes) -> bool:
        """Whether the signature of `data` was made with the private key."""
        try:
            match self.public:
                case ed25519.Ed25519PublicKey():
                    self.public.verify(signature, data)
                case _:
                    self.public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def load_signer(path: Path) -> Signer:
    """Read a private key; the environment has the passphrase of an encrypted one. Raises UsageError."""
    data = _read(path)
    cosign = _COSIGN.search(data)
    if cosign:
        der = _decrypted(cosign[2], _passphrase(path), path)
        return Signer(_private(path, "not a private key", lambda: serialization.load_der_private_key(der, None)))
    if _ENCRYPTED.search(data):
        passphrase, problem = _passphrase(path), f"{PASSPHRASE} is not the passphrase of this key"
    else:
        passphrase, problem = None, "not a private key in PEM"
    return Signer(_private(path, problem, lambda: serialization.load_pem_private_key(data, passphrase)))


def load_verifier(path: Path) -> Verifier:
    """Read a public key. Raises UsageError."""
    data = _read(path)
    if b"PRIVATE KEY-----" in data:
        raise UsageError(f"--key {path}: --verify needs the public key: `openssl pkey -in {path} -pubout -out key.pub`")
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"--key {path}: not a public key in PEM") from None
    match key:
        case ed25519.Ed25519PublicKey():
            return Verifier(key)
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1):
            return Verifier(key)
    raise _other_kind(path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE + 1)
    except OSError as exc:
        raise UsageError(f"--key {path}: can't be read: {exc.strerror}") from None
    if len(data) > _MAX_FILE:
        raise UsageError(f"--key {path}: too large for a key")
    return data


def _passphrase(path: Path) -> bytes:
    value = os.environb.get(PASSPHRASE.encode())
    if value is None:
        raise UsageError(f"--key {path}: the key is encrypted. Set {PASSPHRASE} to its passphrase")
    return value


def _private(path: Path, problem: str, load: Callable[[], object]) -> PrivateKey:
    try:
        key = load()
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their texts may quote the file
        raise UsageError(f"--key {path}: {problem}") from None
    match key:
        case ed25519.Ed25519PrivateKey():
            return key
        case ec.EllipticCurvePrivateKey() if isinstance(key.curve, ec.SECP256R1):
            return key
    raise _other_kind(path)


def _other_kind(path: Path) -> UsageError:
    return UsageError(f"--key {path}: neither an ECDSA P-256 key nor an Ed25519 key. Use one of these")


def _decrypted(text: bytes, passphrase: bytes, path: Path) -> bytes:
    """Return the PKCS #8 key in DER of the base64 text in a file of cosign. Raises UsageError."""
    try:
        match json.loads(base64.b64decode(text)):
            case {
                "kdf": {"name": "scrypt", "params": {"N": int(n), "r": int(r), "p": int(p)}, "salt": str(salt)},
                "cipher": {"name": "nacl/secretbox", "nonce": str(nonce)},
                "ciphertext": str(sealed),
            } if 0 < 128 * n * r <= _MAX_SCRYPT and 0 < p <= 16:
                key = Scrypt(base64.b64decode(salt), SecretBox.KEY_SIZE, n, r, p).derive(passphrase)
                return SecretBox(key).decrypt(base64.b64decode(sealed), base64.b64decode(nonce))
    except CryptoError:
        raise UsageError(f"--key {path}: {PASSPHRASE} is not the passphrase of this key") from None
    except (ValueError, TypeError):
        pass
    raise UsageError(f"--key {path}: not in the form of `cosign generate-key-pair`. Write the key again with cosign")


def _key_id(key: PublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()
