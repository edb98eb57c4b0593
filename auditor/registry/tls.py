"""TLS of connections: which authorities they trust, and the certificates of a registry's host.

The environment names authorities as for other tools: REQUESTS_CA_BUNDLE, SSL_CERT_FILE (OpenSSL's), CURL_CA_BUNDLE.
Without them those of certifi are trusted: slim images have no certificates of their own.
"""

from __future__ import annotations

import functools
import os
import ssl
from dataclasses import replace
from pathlib import Path

import certifi
from urllib3.util.ssl_ import create_urllib3_context

from auditor.core.dataclass import dataclass
from auditor.core.errors import UsageError
from auditor.registry.address_guard import is_loopback, origin_of
from auditor.registry.host_certificates import HostCertificates, find_certificates

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")


def default_context(_origin: str = "") -> ssl.SSLContext:
    """Return a context that trusts the authorities of the environment, or else those of certifi. Raises UsageError."""
    return _trust(create_urllib3_context(), _bundle())


@functools.cache
def provider_context() -> ssl.SSLContext:
    """Return the context for providers, which trusts the authorities of the system and those of certifi."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


@dataclass(frozen=True, slots=True)
class RegistryTls:
    """TLS of the connections of one registry, which answers at `server`: to itself, its token server and its storage.

    `ca` is a file of certificates that replace the default ones and the authorities of the host.
    """

    server: str
    certificates: HostCertificates
    ca: Path | None

    @classmethod
    def of_host(cls, host: str, server: str, ca: Path | None) -> RegistryTls:
        """Return the TLS of a host. Raises UsageError if one of its certificates is unreadable."""
        certificates = find_certificates(host)
        if ca is not None:
            certificates = replace(certificates, authorities=())
        tls = cls(server, certificates, ca)
        if certificates.authorities or certificates.client:
            tls.context(f"https://{server}")
        return tls

    def is_own(self, origin: str) -> bool:
        """Whether an origin is that of the registry itself. Raises ValueError on a bad port."""
        return origin_of(origin)[1:] == origin_of(f"{origin.partition(':')[0]}://{self.server}")[1:]

    def context(self, origin: str) -> ssl.SSLContext:
        """Return a context for an origin; only the registry itself receives the client certificate. Raises UsageError.

        Certificates of loopback are not verified, as in Docker, unless authorities were named for the registry.
        """
        has_own = self.ca is not None or bool(self.certificates.authorities)
        verified = has_own or not is_loopback(origin.partition("://")[2])
        context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if verified else ssl.CERT_NONE)
        self.certificates.load(context, with_client=self.is_own(origin))
        return _trust(context, str(self.ca or _bundle())) if verified else context


def _bundle() -> str:
    """Return the file or folder of authorities."""
    return next((place for name in _CA_VARIABLES if (place := os.environ.get(name))), None) or certifi.where()


def _trust(context: ssl.SSLContext, place: str) -> ssl.SSLContext:
    """Let a context trust the authorities of a file or folder; return it."""
    is_folder = Path(place).is_dir()
    try:
        context.load_verify_locations(None if is_folder else place, place if is_folder else None)
    except OSError as exc:  # also ssl.SSLError
        raise UsageError(f"{place}: can't read these certificates: {exc.strerror or exc}. Correct the path.") from exc
    return context
