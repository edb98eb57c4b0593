"""GitLab: registry repositories of a group, a project, or of all projects of a user, by API v4.

The catalog of GitLab's registry is for administrators only. The API is at the token server, which receives the login in
any case. Sources: docs.gitlab.com/api/container_registry, /api/projects (keyset pagination), /cli (variables of glab),
/ci/variables/predefined_variables.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from auditor.core.errors import Forbidden, NotFound, Unauthorized
from auditor.registry.api_client import ApiClient, ApiDocument
from auditor.registry.client import Client
from auditor.registry.listing.greeting import Greeting
from auditor.registry.logins import Login
from auditor.registry.paging import Page

_TOKEN_PATH = "/jwt/auth"  # noqa: S105 - a path
_PROJECTS = "projects?min_access_level=20&simple=true&pagination=keyset&order_by=id&sort=asc&per_page=100"
_IMAGE_DEPTH = 2
"""Parts of an image's name behind its project. Source: docs.gitlab.com/user/packages/container_registry."""


def recognizes(greeting: Greeting) -> bool:
    """Whether the token server is GitLab's."""
    return greeting.realm_path.endswith(_TOKEN_PATH)


def repositories(client: Client, prefix: str) -> Iterator[str]:
    """Yield the repositories of the prefix's group or project, else of all projects with the Reporter role.

    Raises NotFound, Unauthorized, Unreachable.
    """
    base = Greeting.of(client).realm.partition("?")[0].removesuffix(_TOKEN_PATH)
    hint = (
        f"use a personal, group or project access token with the scope read_api, by `docker login {client.host}` or in "
        "GITLAB_TOKEN with GITLAB_HOST"
    )
    api = client.api(f"{base}/api/v4/", _token(client, base, os.environ), hint)
    return _of_prefix(api, prefix) if prefix else _of_all(api)


def _token(client: Client, base: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the header with the token: of glab or of a job for this GitLab, else the stored login's password.

    A token in a variable is sent only to the URL that the variable beside it names.
    """
    host = environment.get("GITLAB_HOST", "gitlab.com").rstrip("/")
    token, job = environment.get("GITLAB_TOKEN"), environment.get("CI_JOB_TOKEN")
    if token and base == (host if "://" in host else f"https://{host}"):
        return {"PRIVATE-TOKEN": token}
    if job and f"{base}/api/v4" == environment.get("CI_API_V4_URL"):
        return {"JOB-TOKEN": job}
    return _of_login(client.login)


def _of_login(login: Login) -> dict[str, str]:
    if not login.password:
        return {}
    return {"JOB-TOKEN" if login.user == "gitlab-ci-token" else "PRIVATE-TOKEN": login.password}


def _of_prefix(api: ApiClient, prefix: str) -> Iterator[str]:
    """Yield the repositories of a group, of a project, or of the project above a repository's name."""
    names = prefix.split("/")
    kinds = [("groups", prefix)]
    kinds += [("projects", "/".join(names[: len(names) - depth])) for depth in range(_IMAGE_DEPTH + 1)]
    failure: NotFound | Unauthorized | None = None
    for kind, path in kinds:
        if not path:
            continue
        try:
            yield from api.names(f"{kind}/{quote(path, safe='')}/registry/repositories?per_page=100", _paths)
        except NotFound as exc:
            failure = failure or exc
        except Unauthorized as exc:  # a job token opens no group
            failure = exc
        else:
            return
    raise failure or NotFound(f"{prefix}: no such group or project")


def _of_all(api: ApiClient) -> Iterator[str]:
    for project in api.names(_PROJECTS, lambda page: (page.texts("id"), page.next_page)):
        try:
            yield from api.names(f"projects/{project}/registry/repositories?per_page=100", _paths)
        except (NotFound, Forbidden):
            continue  # its registry is switched off


def _paths(document: ApiDocument) -> Page:
    return document.texts("path"), document.next_page
