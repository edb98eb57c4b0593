"""Harbor: projects and their repositories by API v2.0. Its catalog is for system administrators only.

Source: Harbor's swagger.yaml, `listProjects` and `listRepositories`: pages by `Link` and `X-Total-Count`, at most 100
items a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from auditor.core.errors import NotFound
from auditor.registry.api_client import ApiClient, ApiDocument
from auditor.registry.authentication import login_header
from auditor.registry.client import Client
from auditor.registry.listing.greeting import Greeting
from auditor.registry.paging import Page
from auditor.registry.repository import repositories as catalog

_SIZE = 100
_DIGITS = 12
"""Digits of a total that are read: a larger one has another page in any case."""


def recognizes(greeting: Greeting) -> bool:
    """Whether the token service is Harbor's."""
    return greeting.service == "harbor-registry" or greeting.realm_path.endswith("/service/token")


def repositories(client: Client, prefix: str) -> Iterator[str]:
    """Yield the repositories of the projects that the login can see, or of the prefix's project.

    Uses the catalog of a registry without this API. Raises NotFound, Unauthorized, Unreachable.
    """
    # A project's name may consist of digits, as an id does.
    api = client.api(f"{client.origin}/api/v2.0/", {**login_header(client.login), "X-Is-Resource-Name": "true"})
    project = prefix.partition("/")[0]
    try:
        projects = [project] if project else list(_listed(api, "projects"))
    except NotFound:
        yield from catalog(client)
        return
    for name in projects:
        yield from _listed(api, f"projects/{quote(name, safe='')}/repositories")


def _listed(api: ApiClient, path: str) -> Iterator[str]:
    """Yield the names of projects, or the full names (`PROJECT/REPOSITORY`) of repositories.

    Without a Link header, which proxies may remove, the total number tells whether there is another page; without both,
    a full page does.
    """
    number = 0

    def page(document: ApiDocument) -> Page:
        nonlocal number
        number += 1
        names, total = document.texts("name"), document.headers.get("X-Total-Count", "")
        following = f"{path}?page={number + 1}&page_size={_SIZE}"
        has_more = int(total[:_DIGITS]) > number * _SIZE if total.isdecimal() else len(names) >= _SIZE
        return names, document.next_page or (following if has_more else "")

    return api.names(f"{path}?page=1&page_size={_SIZE}", page)
