"""The known registries as doubles: lists, paging, token scopes, limits and error bodies as documented.

Sources: the pages that docs/registries.md names.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, unquote

from tests.registry.double import BASIC, PASSWORD, USER, Answer, Asked, Double, numbered

ACCESS_TOKEN = "an access token of the doubles"


class DistributionDouble(Double):
    """Docker's registry: the catalog in pages; an `n` above its own limit is refused."""

    most_tags = 100


class HarborDouble(Double):
    """Harbor: the catalog for administrators, projects and repositories by API, with the login as it is."""

    has_links = True
    """Whether Link headers arrive; a proxy may remove them."""

    token_path = "/service/token"
    service = "harbor-registry"
    scopes: frozenset[str] | None = frozenset({"repository:team/app:pull", "repository:team/web:pull"})

    def api(self, asked: Asked) -> Answer:
        if asked.login not in ("", BASIC):
            given = base64.b64decode(asked.login.partition(" ")[2]).decode()
            return self.error(401, "UNAUTHORIZED", f"unauthorized {asked.login} {given}")  # some repeat credentials
        projects = ["team", *(f"empty{number}" for number in range(105))] if asked.login else ["public"]
        if asked.path == "/api/v2.0/projects":
            return numbered(asked, [{"name": name, "project_id": 1} for name in projects], "page_size", total=True)
        project = asked.path.removeprefix("/api/v2.0/projects/").partition("/")[0]
        if not asked.path.endswith("/repositories") or project not in projects:
            return self.error(403, "FORBIDDEN", f"project {project} forbidden")
        names = [name for name in self.images if name.startswith(f"{project}/")]
        names += [f"team/many/app{number}" for number in range(250)] if project == "team" else []
        answer = numbered(asked, [{"name": name} for name in names], "page_size", total=True)
        return answer if self.has_links else Answer(answer.content, 200, {"X-Total-Count": str(len(names))})


class GitlabDouble(Double):
    """GitLab: no catalog; registry repositories of groups and projects by API, in pages by Link."""

    refusal: Answer | None = None
    """Answer to the repositories of the second project, instead of its list."""

    token_path = "/jwt/auth"
    service = "container_registry"
    scopes: frozenset[str] | None = frozenset()
    projects: Mapping[str, str] = {"7": "team/app", "8": "team/sub/web", "9": "team/off"}

    def api(self, asked: Asked) -> Answer:
        token, job = asked.headers.get("PRIVATE-TOKEN"), asked.headers.get("JOB-TOKEN")
        if token not in (PASSWORD, ACCESS_TOKEN) and job != ACCESS_TOKEN:
            return Answer({"message": "401 Unauthorized"}, 401)
        if asked.path == "/api/v4/projects":
            return self._keyset(asked)
        kind, name = asked.path.removeprefix("/api/v4/").removesuffix("/registry/repositories").split("/", 1)
        name = unquote(name)
        if kind == "groups":
            if job:
                return Answer({"error": "insufficient_scope", "error_description": "a job token opens no group"}, 403)
            found = [path for path in self.projects.values() if path.startswith(f"{name}/")]
        else:
            if self.refusal is not None and name == [*self.projects][1]:
                return self.refusal
            path = self.projects.get(name, name)
            if path == "team/off":
                return Answer({"message": "403 Forbidden"}, 403)
            found = [path] if path in self.projects.values() else []
        if not found:
            return Answer({"message": f"404 {kind[:-1].title()} Not Found"}, 404)
        paths = [image for path in found if path != "team/off" for image in (path, f"{path}/worker")]
        return numbered(asked, [{"id": 1, "path": path, "name": ""} for path in paths], "per_page")

    def _keyset(self, asked: Asked) -> Answer:
        """One project a page; the next page by the last id."""
        assert asked.query["pagination"] == "keyset" and asked.query["order_by"] == "id"
        ids = [key for key in self.projects if int(key) > int(asked.query.get("id_after", 0))]
        link = f'<{self.origin}/api/v4/projects?pagination=keyset&order_by=id&id_after={ids[0]}>; rel="next"'
        return Answer([{"id": int(ids[0])}], 200, {"Link": link} if len(ids) > 1 else {})


class DockerHubDouble(Double):
    """The Hub API: repositories of a namespace, pages by `next`; private ones with a token."""

    limited = False

    def api(self, asked: Asked) -> Answer:
        if asked.path == "/v2/auth/token":
            given = json.loads(asked.body)
            if given != {"identifier": USER, "secret": PASSWORD}:
                return Answer({"detail": f"Incorrect authentication credentials {given['secret']}"}, 401)
            return Answer({"access_token": ACCESS_TOKEN})
        if self.limited:
            return Answer({"detail": "Rate limit exceeded"}, 429, {"Retry-After": "7", "X-RateLimit-Remaining": "0"})
        if asked.path != "/v2/namespaces/acme/repositories":
            return Answer({"message": "object not found", "errinfo": {}}, 404)
        names = [f"app{number}" for number in range(120)]
        names += ["secret-app"] if asked.login == f"Bearer {ACCESS_TOKEN}" else []
        number, size = int(asked.query.get("page", 1)), int(asked.query["page_size"])
        page = names[(number - 1) * size : number * size]
        following = f"{self.origin}{asked.path}?page={number + 1}&page_size={size}"
        results = [{"name": name, "namespace": "acme"} for name in page]
        more = number * size < len(names)
        return Answer({"count": len(names), "next": following if more else None, "previous": None, "results": results})

    def answer(self, asked: Asked) -> Answer:
        return self.unauthorized() if asked.path == "/v2/" else self.api(asked)


class GithubDouble(Double):
    """The REST API of GitHub: container packages of organisations and users, with a token only."""

    limited_until: int | None = None

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/v2/":
            return self.unauthorized()
        if self.limited_until is not None:
            headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(self.limited_until)}
            self.limited_until = None
            return Answer({"message": "API rate limit exceeded", "documentation_url": "…"}, 403, headers)
        if asked.login != f"Bearer {ACCESS_TOKEN}":
            return Answer({"message": "Requires authentication", "documentation_url": "…"}, 401)
        kind, owner, _ = asked.path.removeprefix("/").split("/", 2)
        if (kind, owner) not in (("orgs", "acme"), ("users", "ada")):
            return Answer({"message": "Not Found", "status": "404"}, 404)
        assert asked.query["package_type"] == "container"
        names = [f"App{number}" for number in range(105)] + ["group/web"]
        return numbered(asked, [{"name": name, "package_type": "container"} for name in names], "per_page")


class QuayDouble(Double):
    """Quay: the catalog of the login; public repositories by API, whose pages have opaque tokens."""

    allows_anonymous = True
    token_path = "/v2/auth"
    service = "quay"
    images: Mapping[str, Sequence[str]] = {"team/app": ("1",), "other/tool": ("1",)}

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/v2/_catalog" and not asked.login:
            return Answer({"repositories": []})  # no challenge: anonymous users see an empty list
        return super().answer(asked)

    def api(self, asked: Asked) -> Answer:
        if asked.path != "/api/v1/repository" or asked.login:
            return Answer({"error_message": "Not Found", "error_type": "not_found", "title": "not_found"}, 404)
        if not self.allows_anonymous:
            return Answer({"message": "Anonymous access is not allowed"}, 401)
        if asked.query["namespace"] != "team":
            return Answer({"repositories": []})
        pages = [["pub0", "pub1"], ["pub2"]]
        number = 1 if asked.query.get("next_page") == "gAAA==" else 0
        found = [{"namespace": "team", "name": name, "is_public": True} for name in pages[number]]
        return Answer({"repositories": found, **({} if number else {"next_page": "gAAA=="})})


class EcrDouble(Double):
    """Amazon ECR: basic authentication, the catalog in pages with opaque `last`, throttling, tokens that expire."""

    expired = False
    throttled = 0

    def challenge(self, scope: str = "") -> str:
        return f'Basic realm="{self.origin}/",service="ecr.amazonaws.com"'

    def allows(self, asked: Asked, scope: str) -> bool:
        return asked.login == BASIC

    def answer(self, asked: Asked) -> Answer:
        if self.throttled and asked.path != "/v2/":
            self.throttled -= 1
            return self.error(429, "TOOMANYREQUESTS", "Rate exceeded")
        if self.expired and asked.login:
            message = "Your authorization token has expired. Reauthenticate and try again."
            return Answer({"errors": [{"code": "DENIED", "message": message}]}, 403)
        return super().answer(asked)


class AcrDouble(Double):
    """Azure ACR: refresh tokens of `az acr login`, the catalog by a token with the scope registry:catalog:*."""

    token_path = "/oauth2/token"
    service = "contoso.azurecr.io"

    def token(self, asked: Asked) -> Answer:
        if asked.method == "POST":
            given = dict(parse_qsl(asked.body.decode()))
            assert (given["grant_type"], given["refresh_token"]) == ("refresh_token", ACCESS_TOKEN)
            granted = super().token(Asked("GET", "", given, {"Authorization": BASIC}, b""))
            assert isinstance(granted.content, dict)
            return Answer({"access_token": granted.content["token"]})
        return super().token(asked)

    def error(self, status: int, code: str, message: str, **headers: str) -> Answer:
        detail = [{"Type": "registry", "Class": "", "Name": "catalog", "Action": "*"}]
        return Answer({"errors": [{"code": code, "message": message, "detail": detail}]}, status, headers)


class GoogleDouble(Double):
    """Google: `tags/list` names the children of a name; there is no catalog for a host."""

    token_path = "/v2/token"
    service = "double-docker.pkg.dev"

    def repository(self, asked: Asked, name: str) -> Answer:
        below = [image for image in self.images if image.startswith(f"{name}/")]
        if name not in self.images and not below:
            return Answer({"error": {"code": 403, "message": "Permission denied", "status": "PERMISSION_DENIED"}}, 403)
        children = sorted({image.removeprefix(f"{name}/").partition("/")[0] for image in below})
        tags = list(self.images.get(name, ()))
        manifests = {f"sha256:{number:064x}": {"tag": [tag]} for number, tag in enumerate(tags)}
        if "/tags/list" in asked.path:
            return Answer({"child": children, "manifest": manifests, "name": name, "tags": tags})
        return super().repository(asked, name)


class ArtifactoryDouble(Double):
    """Artifactory with the repository path method: a catalog for each repository, names without its key."""

    greeting: Mapping[str, str] = {"X-Artifactory-Id": "0123", "X-JFrog-Version": "Artifactory/7.90.1"}
    images: Mapping[str, Sequence[str]] = {
        "docker-local/app": ("1", "2", "3"),
        "docker-local/team/web": ("1",),
        "docker-remote/busybox": ("1",),
    }

    def catalog(self, asked: Asked) -> Answer:
        return self._error(400, "Unsupported docker repository request for 'v2'")

    def _error(self, status: int, message: str) -> Answer:
        return Answer({"errors": [{"status": status, "message": message}]}, status)

    def api(self, asked: Asked) -> Answer:
        if asked.login not in (BASIC, f"Bearer {ACCESS_TOKEN}"):
            return self._error(401, "Bad Credentials")
        if asked.path == "/artifactory/api/repositories":
            assert asked.query == {"packageType": "docker"}
            kinds = {"docker-local": "LOCAL", "docker-remote": "REMOTE", "docker": "VIRTUAL"}
            return Answer([{"key": key, "type": kind, "packageType": "Docker"} for key, kind in kinds.items()])
        key = asked.path.removeprefix("/artifactory/api/docker/").removesuffix("/v2/_catalog")
        names = [name.removeprefix(f"{key}/") for name in self.images if name.startswith(f"{key}/")]
        if not names:
            return self._error(404, f"No such repository: {key}")
        return Answer({"repositories": names})


class NexusDouble(Double):
    """Nexus with path-based routing: no catalog for the host; a component for each tag; errors in HTML."""

    greeting: Mapping[str, str] = {"Server": "Nexus/3.83.0-08 (COMMUNITY)"}
    images: Mapping[str, Sequence[str]] = {"docker-hosted/app": ("1", "2", "3"), "docker-hosted/team/web": ("1",)}

    def catalog(self, asked: Asked) -> Answer:
        return Answer("<!DOCTYPE html><title>404 - Nexus Repository Manager</title>", 404)

    def api(self, asked: Asked) -> Answer:
        if asked.login != BASIC:
            return Answer("<!DOCTYPE html><title>401</title>", 401)
        if asked.path == "/service/rest/v1/repositories":
            kinds = [("docker-hosted", "docker", "hosted"), ("proxy", "docker", "proxy"), ("pypi", "pypi", "hosted")]
            return Answer([{"name": name, "format": form, "type": kind} for name, form, kind in kinds])
        assert asked.path == "/service/rest/v1/components" and asked.query["repository"] == "docker-hosted"
        tags = [(name.removeprefix("docker-hosted/"), tag) for name, tags in self.images.items() for tag in tags]
        start = int(asked.query.get("continuationToken", 0))
        items = [{"name": name, "version": tag, "format": "docker"} for name, tag in tags[start : start + 2]]
        return Answer({"items": items, "continuationToken": str(start + 2) if start + 2 < len(tags) else None})
