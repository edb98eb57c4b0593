"""Certificates made at run time: an authority, a server on 127.0.0.1 with a name, and a client."""

from __future__ import annotations

import datetime
import functools
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SERVER_NAME = "registry.example.com"


@dataclass(frozen=True)
class Certificates:
    """Files in a folder: `ca.pem`, and `server` and `client`, each with `.pem` and `.key`."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "ca.pem"

    def server_context(self, client: ssl.VerifyMode = ssl.CERT_NONE) -> ssl.SSLContext:
        """A TLS server; `client` tells whether it wants a certificate of the client."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        context.load_verify_locations(self.authority)
        context.verify_mode = client
        return context


def make_certificates(folder: Path) -> Certificates:
    """Make an authority with a certificate for a server and one for a client."""
    folder.mkdir(exist_ok=True, parents=True)
    now = datetime.datetime.now(datetime.UTC)
    own = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {folder.name}")])
    start, end = now - datetime.timedelta(days=1), now + datetime.timedelta(days=1)
    builder = functools.partial(
        x509.CertificateBuilder, issuer_name=issuer, not_valid_before=start, not_valid_after=end
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(own.public_key())
    signed = (
        builder(subject_name=issuer, public_key=own.public_key(), serial_number=x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True)
        .sign(own, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(SERVER_NAME)]
        )
        certificate = (
            builder(subject_name=subject, public_key=key.public_key(), serial_number=x509.random_serial_number())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(names, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
            .sign(own, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return Certificates(folder)
