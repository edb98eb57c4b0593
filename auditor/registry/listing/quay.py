"""Quay: the catalog for the login's repositories, and the API for the public ones of a namespace.

The catalog lists the repositories that the login may pull, and none to anonymous users. The API accepts OAuth access
tokens, not the robot accounts of `docker login`; public repositories need none. Sources: docs.quay.io/api,
Red Hat Quay API guide (`listRepos`: pages by the token under `next_page`).
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from auditor.core.errors import NotFound, Unauthorized
from auditor.registry.api_client import ApiDocument
from auditor.registry.client import Client
from auditor.registry.listing.greeting import Greeting
from auditor.registry.paging import Page
from auditor.registry.repository import repositories as catalog


def recognizes(greeting: Greeting) -> bool:
    """Whether the token server is Quay's."""
    return greeting.realm_path == "/v2/auth"


def repositories(client: Client, prefix: str) -> Iterator[str]:
    """Yield the repositories of the login, and the public ones of the prefix's namespace. Raises Unauthorized.

    A Quay without anonymous access refuses the list of the public ones; the catalog is then the whole list.
    """
    namespace = prefix.partition("/")[0]
    if client.login.user or not namespace:
        yield from catalog(client)
    if namespace:
        first = f"repository?namespace={quote(namespace, safe='')}&public=true"

        def page(document: ApiDocument) -> Page:
            names = [f"{namespace}/{name}" for name in document.texts("name", key="repositories")]
            token = document.text("next_page")
            return names, f"{first}&next_page={quote(token, safe='')}" if token else ""

        try:
            yield from client.api(f"{client.origin}/api/v1/", {}).names(first, page)
        except NotFound:
            return  # the namespace has nothing that is public
        except Unauthorized:
            if not client.login.user:
                raise
