"""The kinds of registries, and how each lists its repositories. Facts and sources: docs/registries.md.

A registry is recognised by its host name, or else by its response to `/v2/` without credentials.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from auditor.core.dataclass import dataclass
from auditor.core.errors import Damaged, ImageError, NotFound, Unauthorized, Unreachable, Unsupported
from auditor.core.limits import limit_note
from auditor.registry.client import Client
from auditor.registry.listing import artifactory, docker_hub, github, gitlab, google, harbor, nexus, quay
from auditor.registry.listing.greeting import Greeting
from auditor.registry.repository import repositories


@dataclass(frozen=True, slots=True)
class RegistryKind:
    """Kind of registry.

    `hosts` matches the host names of a hosted service. `recognizes` decides by the response of others, None for kinds
    without a mark of their own. `repositories` yields names of repositories, at least all those below a prefix.
    """

    name: str
    hosts: re.Pattern[str] | None
    recognizes: Callable[[Greeting], bool] | None
    repositories: Callable[[Client, str], Iterator[str]]


def _catalog(client: Client, prefix: str) -> Iterator[str]:
    """Yield the catalog. If the registry refuses it, try the API of Harbor, which a proxy may hide."""
    try:
        yield from repositories(client)
    except (NotFound, Unauthorized, Unsupported) as refusal:
        try:
            found = list(harbor.repositories(client, prefix))
        except (ImageError, Unreachable):
            found = []
        if not found:
            raise refusal from None
        yield from found


REGISTRY_KINDS = (
    RegistryKind("Docker Hub", re.compile(r"docker\.io"), None, docker_hub.repositories),
    RegistryKind("GitHub", re.compile(r"ghcr\.io"), None, github.repositories),
    RegistryKind("Google", re.compile(r"[a-z0-9-]+-docker\.pkg\.dev|([a-z]+\.)?gcr\.io"), None, google.repositories),
    RegistryKind("GitLab", None, gitlab.recognizes, gitlab.repositories),
    RegistryKind("Harbor", None, harbor.recognizes, harbor.repositories),
    RegistryKind("Quay", None, quay.recognizes, quay.repositories),
    RegistryKind("Artifactory", None, artifactory.recognizes, artifactory.repositories),
    RegistryKind("Nexus", None, nexus.recognizes, nexus.repositories),
)
CATALOG = RegistryKind("OCI distribution", None, None, _catalog)
"""All others: Docker's registry, Amazon ECR, Azure ACR, and unknown ones."""


def registry_kind(client: Client) -> RegistryKind:
    """Return the kind of a registry. Raises Unreachable if it does not answer."""
    for kind in REGISTRY_KINDS:
        if kind.hosts is not None and kind.hosts.fullmatch(client.host):
            return kind
    greeting = Greeting.of(client)
    return next((kind for kind in REGISTRY_KINDS if kind.recognizes and kind.recognizes(greeting)), CATALOG)


def list_repositories(client: Client, prefix: str) -> Iterator[str]:
    """Yield the repositories of a registry, at least those below a prefix; a name may occur twice.

    Raises NotFound or Unauthorized if the registry refuses the list, UsageError if it needs a prefix, Damaged
    beyond the limits, and Unreachable.
    """
    most = client.limits.registry_names
    for count, name in enumerate(registry_kind(client).repositories(client, prefix)):
        if count >= most:
            raise Damaged(f"{client.host}: more than {most} repositories {limit_note('registry-names')}")
        yield name
