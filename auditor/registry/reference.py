"""Image references, `HOST/REPO[:TAG|@DIGEST]`. Source of the grammar: github.com/distribution/reference."""

from __future__ import annotations

import re

from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.errors import UsageError

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:(?P<host>{_HOST})/)?(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>[a-z0-9]+:[0-9a-f]+))?"
)
_USERINFO = re.compile(r"^[^/]*:[^/]*@(?=[^/]*/)")
"""`user:password@` before the host, as in a URL; a reference has none."""

DOCKER_HUB = "docker.io"
SIGNATURE_TAG = re.compile(r"sha256-[0-9a-f]{64}(\.[a-z]+)?")
"""Tags of artifacts that refer to a digest: cosign's `.sig`, `.att`, `.sbom`; without ending the OCI referrers tag."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An image in a registry: `host/repository:tag@digest`, with Docker's defaults filled in."""

    host: str
    repository: str
    tag: str | None
    digest: Digest | None

    @property
    def version(self) -> str:
        """Tag or digest for a manifest request; the digest takes precedence."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tail = f"@{self.digest}" if self.digest else f":{self.version}"
        return f"{self.host}/{self.repository}{tail}"


def parse_reference(text: str) -> Reference:
    """Parse a registry reference. Raises UsageError on malformed text."""
    match = _NAME.fullmatch(text)
    if not match:
        hint = "; names are lower case" if text != text.lower() and _NAME.fullmatch(text.lower()) else ""
        shown = _USERINFO.sub("", text)
        raise UsageError(f"{shown!r:.200} is not an image reference{hint}; expected HOST/REPO[:TAG|@DIGEST]")
    host, repository = match["host"], match["repository"]
    # A first component without a dot or a port, other than localhost, is a namespace on Docker Hub.
    if host and not ("." in host or ":" in host or host == "localhost"):
        if not is_repository(host):
            raise UsageError(f"{text!r:.200} is not an image reference; names are lower case")
        host, repository = None, f"{host}/{repository}"
    if host in (None, DOCKER_HUB, "index.docker.io"):
        host = DOCKER_HUB
        repository = repository if "/" in repository else f"library/{repository}"
    return Reference(host, repository, match["tag"], Digest(match["digest"]) if match["digest"] else None)


def is_repository(name: str) -> bool:
    """Whether a text is a valid repository name, without a host."""
    return re.fullmatch(rf"{_PART}(?:/{_PART})*", name) is not None
