"""Docker Hub: repositories of an organisation or user by the Hub API; the registry has no catalog.

Source: docs.docker.com/reference/api/hub: `POST /v2/auth/token`, `GET /v2/namespaces/NAME/repositories`. Pages by the
URL under `next`.
"""

from __future__ import annotations

from collections.abc import Iterator

from auditor.core.errors import Damaged, Unauthorized, UsageError
from auditor.registry.api_client import ApiDocument
from auditor.registry.client import Client
from auditor.registry.paging import Page

API = "https://hub.docker.com"
"""Belongs to Docker like the registry: the credentials of `docker login` are for both."""

_HINT = "run `docker login -u NAME` with a personal or organisation access token"


def repositories(client: Client, prefix: str) -> Iterator[str]:
    """Yield the repositories of a namespace. Raises UsageError without one, NotFound, Unauthorized, Unreachable."""
    if not prefix:
        raise UsageError(
            f"{client.host}: Docker Hub lists the repositories of one organisation or user. Name it as "
            f"{client.host}/NAME, or list repositories in a file and use --from FILE."
        )
    if "/" in prefix:  # repositories of Docker Hub have two parts
        yield prefix
        return
    api = client.api(API, _authorization(client), _HINT)
    yield from api.names(f"v2/namespaces/{prefix}/repositories?page_size=100", _page)


def _authorization(client: Client) -> dict[str, str]:
    """Exchange the stored login for a token of the API; without a login, the API lists public repositories."""
    login = client.login
    if login.identity and not login.password:
        raise Unauthorized(
            f"{client.host}: the stored login is an identity token, which the Hub API does not accept; {_HINT}"
        )
    if not login.user:
        return {}
    answer = client.api(API, {}, _HINT).post("v2/auth/token", {"identifier": login.user, "secret": login.password})
    token = answer.text("access_token")
    if not token:
        raise Unauthorized(f"{client.host}: the Hub API answers the login without a token")
    return {"Authorization": f"Bearer {token}"}


def _page(document: ApiDocument) -> Page:
    names = document.texts("namespace", "name", key="results")
    if "next" not in document.content:
        raise Damaged(f"{document.label}: the answer does not say whether there is a next page")
    return names, document.text("next")
