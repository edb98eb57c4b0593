"""Certificates of one registry host, as Docker, Podman and containerd keep them: authorities and a client certificate.

    certs.d/HOST[:PORT]/*.crt            authorities, trusted besides the default ones
    certs.d/HOST[:PORT]/NAME.cert        client certificate, with its key in NAME.key
    certs.d/HOST[:PORT]/hosts.toml       containerd: paths under `ca` and `client`

Sources: docs.docker.com/engine/security/certificates, containers-certs.d(5), containerd docs/hosts.md.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from auditor.core.cache_folder import config_home
from auditor.core.dataclass import dataclass
from auditor.core.errors import UsageError

SYSTEM_FOLDER = Path("/etc")
_LARGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class HostCertificates:
    """Files of one host. `client` is a certificate and its key, None without one."""

    host: str
    authorities: tuple[Path, ...] = ()
    client: tuple[Path, Path] | None = None

    def load(self, context: ssl.SSLContext, *, with_client: bool) -> None:
        """Let a context trust the authorities and, `with_client`, present the client certificate. Raises UsageError."""
        for path in self.authorities:
            with self._named(path):
                context.load_verify_locations(path)
        if with_client and self.client is not None:
            with self._named(self.client[0]):
                context.load_cert_chain(*self.client, password=_refuse_password)

    @contextmanager
    def _named(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as exc:  # also ssl.SSLError
            raise UsageError(
                f"{path}: can't read this certificate or its key: {exc.strerror or exc}. "
                f"Correct the file or its permissions; it applies to the registry {self.host}."
            ) from exc


def find_certificates(host: str) -> HostCertificates:
    """Return the certificates of a host, with its port, from the first folder that is readable. Raises UsageError."""
    for folder in _folders(host):
        try:
            files = sorted(folder.iterdir())
        except OSError:  # absent, or for root alone, as of a Docker daemon
            continue
        hosts = folder / "hosts.toml"
        return _from_toml(host, hosts) if hosts in files else _from_names(host, files)
    return HostCertificates(host)


def _folders(host: str) -> Iterator[Path]:
    """Yield the folders of a host: those of the user, then those of the system."""
    user = config_home()
    for parent, tool in (
        (user, "containers"),
        (user, "docker"),
        (SYSTEM_FOLDER, "containers"),
        (SYSTEM_FOLDER, "docker"),
        (SYSTEM_FOLDER, "containerd"),
    ):
        yield parent / tool / "certs.d" / host
    if ":" in host:  # containerd's form for file systems without colons in names
        yield SYSTEM_FOLDER / "containerd" / "certs.d" / f"{host.replace(':', '_')}_"


def _from_names(host: str, files: Sequence[Path]) -> HostCertificates:
    client = next((path for path in files if path.suffix == ".cert"), None)
    if client is not None and client.with_suffix(".key") not in files:
        raise UsageError(f"{client}: the key of this client certificate is missing. Store it as {client.stem}.key.")
    return HostCertificates(
        host,
        tuple(path for path in files if path.suffix == ".crt"),
        None if client is None else (client, client.with_suffix(".key")),
    )


def _from_toml(host: str, path: Path) -> HostCertificates:
    """Read the keys `ca` and `client` at the top, and those of the host's own section."""
    import tomllib  # 1 ms, for a file that few hosts have

    try:
        with path.open("rb") as file:
            document = tomllib.loads(file.read(_LARGEST_FILE).decode())
    except (OSError, ValueError, RecursionError) as exc:
        raise UsageError(f"{path}: can't read the settings of the registry {host}: {exc}") from exc
    sections = [document]
    hosts = document.get("host")
    own = hosts.get(f"https://{host}") if isinstance(hosts, dict) else None
    if isinstance(own, dict):
        sections.append(own)
    authorities = [path.parent / name for section in sections for name in _texts(section.get("ca"))]
    clients = [pair for section in sections for pair in _clients(section.get("client"))]
    pair = (path.parent / clients[0][0], path.parent / clients[0][1]) if clients else None
    return HostCertificates(host, tuple(authorities), pair)


def _texts(value: object) -> list[str]:
    """Return the texts of a text or a list."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str) and item]


def _clients(value: object) -> Iterator[tuple[str, str]]:
    """Yield certificate and key of each item: a pair of paths, or one path to a file with both."""
    for item in value if isinstance(value, list) else [value]:
        match _texts(item):
            case [certificate, key, *_]:
                yield certificate, key
            case [both]:
                yield both, both


def _refuse_password() -> str:
    raise OSError(0, "the key is encrypted; store it without a passphrase")
