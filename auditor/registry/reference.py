"""What the user types after `scan`: targets, and the image references of the containers tools.

Sources: containers-transports(5) for the transports, distribution/reference for names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from auditor.core.digests import Digest
from auditor.core.errors import UsageError

TRANSPORTS = ("docker-daemon", "docker-archive", "oci-archive", "oci", "container")
ARCHIVE_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".oci")

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:(?P<host>{_HOST})/)?(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>[a-z0-9]+:[0-9a-f]+))?"
)
_LOGIN = re.compile(r"^[^/]*:[^/]*@(?=[^/]*/)")
"""What stands before the host of a URL, and in no reference."""
DOCKER_HUB = "docker.io"


@dataclass(frozen=True, slots=True)
class Reference:
    """An image in a registry: `host/repository:tag@digest`, completed as Docker does."""

    host: str
    repository: str
    tag: str | None
    digest: Digest | None

    @property
    def version(self) -> str:
        """What a manifest request names: the digest where there is one, else the tag."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tail = f"@{self.digest}" if self.digest else f":{self.version}"
        return f"{self.host}/{self.repository}{tail}"


def parse_reference(text: str) -> Reference:
    """Parse a registry reference. Raises UsageError where it is none."""
    match = _NAME.fullmatch(text)
    if not match:
        hint = "; names are lower case" if text != text.lower() and _NAME.fullmatch(text.lower()) else ""
        shown = _LOGIN.sub("", text)
        raise UsageError(f"{shown!r:.200} is no image reference{hint}; want HOST/REPO[:TAG|@DIGEST]")
    host, repository = match["host"], match["repository"]
    # A first part without a dot, a port or the name localhost is a folder on Docker Hub: distribution/reference.
    if host and not ("." in host or ":" in host or host == "localhost"):
        if not is_repository(host):
            raise UsageError(f"{text!r:.200} is no image reference; names are lower case")
        host, repository = None, f"{host}/{repository}"
    if host in (None, DOCKER_HUB, "index.docker.io"):
        host = DOCKER_HUB
        repository = repository if "/" in repository else f"library/{repository}"
    return Reference(host, repository, match["tag"], Digest(match["digest"]) if match["digest"] else None)


def is_repository(name: str) -> bool:
    """Whether a text names a repository, without its host: no other could be asked for."""
    return re.fullmatch(rf"{_PART}(?:/{_PART})*", name) is not None


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed target. `transport` is one of TRANSPORTS, `docker`, `-`, `path` or `name`; `tag` selects in archives."""

    text: str
    transport: str
    value: str
    tag: str | None = None


def parse_target(text: str) -> Target:
    """Say which transport a target means. Raises UsageError on an empty or impossible one."""
    if not text.strip() or "\0" in text:
        raise UsageError("the target is empty; name an image, an archive, a folder or -")
    if text == "-":
        return Target(text, "-", "")
    if text.startswith("docker://"):
        parse_reference(text.removeprefix("docker://"))
        return Target(text, "docker", text.removeprefix("docker://"))
    transport, colon, rest = text.partition(":")
    if colon and transport in TRANSPORTS:
        if not rest:
            raise UsageError(f"{text}: nothing after {transport}:")
        if transport in ("docker-archive", "oci", "oci-archive"):
            path, tag = _split_tag(rest)
            return Target(text, transport, path, tag)
        return Target(text, transport, rest)
    if Path(text).exists() or text.startswith(("/", "./", "../", "~")) or text.endswith(ARCHIVE_ENDINGS):
        return Target(text, "path", text)
    if not is_id(text):
        parse_reference(text)
    return Target(text, "name", text)


def is_id(text: str) -> bool:
    """Whether a name is, or may be, an image ID, whole or cut as docker prints it."""
    return re.fullmatch(r"(sha256:)?[0-9a-f]{12,64}", text) is not None


def _split_tag(text: str) -> tuple[str, str | None]:
    """Split `FILE[:TAG]`; a file whose own name holds the colon wins."""
    if Path(text).exists() or ":" not in text:
        return text, None
    candidates = [at for at, char in enumerate(text) if char == ":"]
    for at in candidates:
        if Path(text[:at]).exists():
            return text[:at], text[at + 1 :]
    path, _, tag = text.partition(":")
    return path, tag
