"""GitHub container registry: packages of an organisation or user by the REST API.

Source: docs.github.com/rest/packages/packages: `package_type=container`, 100 items a page, pages by `Link`. The API
requires a personal access token (classic) with the scope `read:packages`, which `docker login ghcr.io` takes too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from auditor.core.errors import NotFound, UsageError
from auditor.registry.api_client import ApiDocument
from auditor.registry.client import Client
from auditor.registry.paging import Page

API = "https://api.github.com"
"""Belongs to GitHub like the registry: the credentials of `docker login` are for both."""

_TOKENS = ("GH_TOKEN", "GITHUB_TOKEN")  # in this order: cli.github.com/manual/gh_help_environment


def repositories(client: Client, prefix: str) -> Iterator[str]:
    """Yield the repositories of an owner. Raises UsageError without one, NotFound, Unauthorized, Unreachable."""
    owner = prefix.partition("/")[0]
    if not owner:
        raise UsageError(
            f"{client.host}: GitHub lists the repositories of one owner. Name it as {client.host}/OWNER, or list "
            "repositories in a file and use --from FILE."
        )
    token = next(filter(None, map(os.environ.get, _TOKENS)), client.login.password)
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    hint = (
        f"use a personal access token (classic) with the scope read:packages, by `docker login {client.host}` or in "
        "GH_TOKEN"
    )
    api = client.api(API, {**headers, "Authorization": f"Bearer {token}"} if token else headers, hint)

    def page(document: ApiDocument) -> Page:
        return [f"{owner}/{name}".lower() for name in document.texts("name")], document.next_page

    query = "packages?package_type=container&per_page=100"
    try:
        yield from api.names(f"orgs/{owner}/{query}", page)
    except NotFound:
        yield from api.names(f"users/{owner}/{query}", page)
