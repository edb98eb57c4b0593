"""Artifactory: the catalog of a host or port that stands for one repository, else the catalog of each repository.

With the repository path method (`HOST/REPOSITORY/IMAGE`) no catalog covers the host. Source: JFrog REST API,
"Get Repositories" and "List Docker Repositories".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import quote

from auditor.core.errors import NotFound, Unauthorized, Unsupported
from auditor.registry.api_client import ApiClient, ApiDocument
from auditor.registry.authentication import login_header
from auditor.registry.client import Client
from auditor.registry.listing.greeting import Greeting
from auditor.registry.paging import Page
from auditor.registry.repository import repositories as catalog

_OWN = ("LOCAL", "FEDERATED")  # remote ones are caches, virtual ones repeat others


def recognizes(greeting: Greeting) -> bool:
    """Whether a header of Artifactory is present."""
    return greeting.has_header("x-artifactory-", "x-jfrog-")


def repositories(client: Client, prefix: str) -> Iterator[str]:
    """Yield the images of the host's repository, of the prefix's repository, or of all local ones.

    Raises NotFound, Unauthorized, Unreachable.
    """
    try:
        yield from list(catalog(client))
        return
    except (NotFound, Unauthorized, Unsupported):  # the path method is in use
        pass
    api = client.api(f"{client.origin}/artifactory/api/", _authorization(client))
    key = prefix.partition("/")[0]
    keys = [key] if key else list(api.names("repositories?packageType=docker", _local))
    for name in keys:
        yield from _of_repository(api, name)


def _authorization(client: Client) -> dict[str, str]:
    """Return the token in JF_ACCESS_TOKEN if JF_URL is this registry, else the stored login.

    Source of the variables: JFrog CLI, "Environment variables".
    """
    token = os.environ.get("JF_ACCESS_TOKEN")
    if token and os.environ.get("JF_URL", "").rstrip("/") == client.origin:
        return {"Authorization": f"Bearer {token}"}
    return login_header(client.login)


def _of_repository(api: ApiClient, key: str) -> Iterator[str]:
    def page(document: ApiDocument) -> Page:
        return [f"{key}/{name}" for name in document.elements("repositories")], document.next_page

    return api.names(f"docker/{quote(key, safe='')}/v2/_catalog", page)


def _local(document: ApiDocument) -> Page:
    return [item.get("key") for item in document.items() if item.get("type") in _OWN], ""
