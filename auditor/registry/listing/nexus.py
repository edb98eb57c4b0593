"""Nexus Repository: the catalog of a connector, else the components of the hosted Docker repositories.

With path-based routing (`HOST/REPOSITORY/IMAGE`) no catalog covers the host. Source: help.sonatype.com, "Repositories
API" and "Components API": pages by `continuationToken`.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from auditor.core.errors import NotFound, Unauthorized, Unsupported
from auditor.registry.api_client import ApiClient, ApiDocument
from auditor.registry.authentication import login_header
from auditor.registry.client import Client
from auditor.registry.listing.greeting import Greeting
from auditor.registry.paging import Page
from auditor.registry.repository import repositories as catalog


def recognizes(greeting: Greeting) -> bool:
    """Whether the server or its challenge names Nexus."""
    return greeting.headers.get("Server", "").startswith("Nexus/") or greeting.realm.startswith("Sonatype Nexus")


def repositories(client: Client, prefix: str) -> Iterator[str]:
    """Yield the images of the connector's repository, of the prefix's repository, or of all hosted ones.

    Raises NotFound, Unauthorized, Unreachable.
    """
    try:
        yield from list(catalog(client))
        return
    except (NotFound, Unauthorized, Unsupported):  # path-based routing is in use
        pass
    api = client.api(f"{client.origin}/service/rest/v1/", login_header(client.login))
    name = prefix.partition("/")[0]
    names = [name] if name else list(api.names("repositories", _hosted))
    for each in names:
        yield from dict.fromkeys(_of_repository(api, each))  # a component is a tag


def _of_repository(api: ApiClient, name: str) -> Iterator[str]:
    first = f"components?repository={quote(name, safe='')}"

    def page(document: ApiDocument) -> Page:
        token = document.text("continuationToken")
        following = f"{first}&continuationToken={quote(token, safe='')}" if token else ""
        return [f"{name}/{found}" for found in document.texts("name", key="items")], following

    return api.names(first, page)


def _hosted(document: ApiDocument) -> Page:
    found = [item for item in document.items() if (item.get("format"), item.get("type")) == ("docker", "hosted")]
    return [item.get("name") for item in found], ""
