"""Each known registry, as a double: how its repositories and tags are listed, and what its errors say."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

import pytest

from auditor.core.errors import Damaged, Temporary, Unauthorized, UsageError
from auditor.registry.client import Client
from auditor.registry.listing import docker_hub, github, google
from auditor.registry.listing.kinds import list_repositories
from auditor.registry.repository import Repository
from auditor.registry.retry import TRIES
from tests.registry.conftest import LogIn, Start, listed, write
from tests.registry.double import Answer, Asked, Double
from tests.registry.doubles import (
    ACCESS_TOKEN,
    AcrDouble,
    ArtifactoryDouble,
    DistributionDouble,
    DockerHubDouble,
    EcrDouble,
    GithubDouble,
    GitlabDouble,
    GoogleDouble,
    HarborDouble,
    NexusDouble,
    QuayDouble,
)
from tests.transports.clock import VirtualClock


@pytest.mark.parametrize("kind", [DistributionDouble, EcrDouble, AcrDouble])
def test_a_catalog_and_tags_are_read_to_the_last_page(start: Start, log_in: LogIn, kind: type[Double]) -> None:
    double = start(kind)
    log_in(double.address)
    assert listed(double) == ["other/tool", "team/app", "team/web"]
    assert listed(double, "team") == ["team/app", "team/web"]
    assert Repository(Client(double.address), "team/app").tags() == ["1", "2", "3"]


class TestHarbor:
    def test_all_projects_of_the_login_are_listed(self, start: Start, log_in: LogIn) -> None:
        double = start(HarborDouble)
        log_in(double.address)
        found = listed(double)
        assert len(found) == 252 and {"team/app", "team/web", "team/many/app249"} < set(found)
        assert "/v2/_catalog" not in double.paths()
        assert double.paths("/projects").count("/api/v2.0/projects") == 2

    @pytest.mark.parametrize("has_links", [True, False])
    def test_a_prefix_asks_for_its_project_alone(self, start: Start, log_in: LogIn, *, has_links: bool) -> None:
        double = start(HarborDouble)
        double.has_links = has_links  # type: ignore[attr-defined]
        log_in(double.address)
        assert len(listed(double, "team/many")) == 250
        assert set(double.paths("/api/")) == {"/api/v2.0/projects/team/repositories"}

    def test_a_repository_of_a_closed_project_may_be_named(self, start: Start, log_in: LogIn) -> None:
        double = start(HarborDouble)
        log_in(double.address)
        double.images = {**double.images, "closed/app": ("1",)}
        double.scopes = frozenset({"repository:closed/app:pull"})
        assert listed(double, "closed/app") == ["closed/app"]

    def test_a_refused_project_is_an_error_that_says_what_to_do(self, start: Start, log_in: LogIn) -> None:
        double = start(HarborDouble)
        log_in(double.address)
        with pytest.raises(UsageError) as caught:
            listed(double, "closed")
        for part in ("HTTP 403: FORBIDDEN project closed forbidden", f"docker login {double.address}", "--from FILE"):
            assert part in str(caught.value)

    @pytest.mark.parametrize("has_links", [True, False])
    def test_without_a_total_a_full_page_has_a_next_one(self, start: Start, log_in: LogIn, *, has_links: bool) -> None:
        double = start(HarborDouble)
        double.has_links = has_links  # type: ignore[attr-defined]
        own = double.api

        def without_total(asked: Asked) -> Answer:
            answer = own(asked)
            headers = {name: value for name, value in answer.headers.items() if name != "X-Total-Count"}
            return Answer(answer.content, answer.status, headers)

        double.api = without_total  # type: ignore[method-assign]
        log_in(double.address)
        assert len(listed(double, "team/many")) == 250

    def test_a_project_without_its_list_is_an_error(self, start: Start, log_in: LogIn) -> None:
        double = start(HarborDouble)
        own = double.api
        double.api = lambda asked: Answer({"errors": []}) if "/empty7/" in asked.path else own(asked)  # type: ignore[method-assign]
        log_in(double.address)
        with pytest.raises(Damaged, match="projects/empty7/repositories: the answer has no list"):
            listed(double)


class TestGitlab:
    @pytest.mark.parametrize(
        ("prefix", "count"), [("", 4), ("team", 4), ("team/sub", 2), ("team/app", 2), ("team/app/worker", 1)]
    )
    def test_a_group_a_project_or_all_are_listed(self, start: Start, log_in: LogIn, prefix: str, count: int) -> None:
        double = start(GitlabDouble)
        log_in(double.address)
        found = listed(double, prefix)
        assert len(found) == count and all(name.startswith(prefix) for name in found)
        assert all(asked.headers["PRIVATE-TOKEN"] for asked in double.asked if "/api/" in asked.path)

    @pytest.mark.parametrize(
        ("status", "content", "reason"),
        [
            (401, {"error": "invalid_token", "error_description": "Token was revoked."}, "HTTP 401: Token was revoked"),
            (403, {"error": "insufficient_scope", "error_description": "higher privileges"}, "HTTP 403: higher privil"),
        ],
    )
    def test_a_token_that_is_refused_on_the_way_ends_the_list(
        self, start: Start, log_in: LogIn, status: int, content: object, reason: str
    ) -> None:
        double = start(GitlabDouble)
        log_in(double.address)
        double.refusal = Answer(content, status)  # type: ignore[attr-defined]
        with pytest.raises(UsageError, match=reason):
            listed(double)

    @pytest.mark.parametrize("status", [403, 404])
    def test_a_project_without_a_registry_has_no_repositories(self, start: Start, log_in: LogIn, status: int) -> None:
        double = start(GitlabDouble)
        log_in(double.address)
        double.refusal = Answer({"message": f"{status} refused"}, status)  # type: ignore[attr-defined]
        assert listed(double) == ["team/app", "team/app/worker"]

    @pytest.mark.parametrize("content", [{"message": "maintenance"}, [{"id": 1, "name": "web"}]])
    def test_a_project_without_its_list_is_an_error(self, start: Start, log_in: LogIn, content: object) -> None:
        double = start(GitlabDouble)
        log_in(double.address)
        double.refusal = Answer(content)  # type: ignore[attr-defined]
        with pytest.raises(Damaged, match="projects/8/registry/repositories: the answer has"):
            listed(double)

    def test_a_job_lists_its_own_project(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        double = start(GitlabDouble)
        monkeypatch.setenv("CI_API_V4_URL", f"{double.origin}/api/v4")
        monkeypatch.setenv("CI_JOB_TOKEN", ACCESS_TOKEN)
        assert listed(double, "team/app") == ["team/app", "team/app/worker"]

    @pytest.mark.parametrize("name", ["GITLAB_HOST", "CI_API_V4_URL"])
    def test_a_token_in_a_variable_goes_to_no_other_host(
        self, start: Start, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        double = start(GitlabDouble)
        for variable in ("GITLAB_TOKEN", "CI_JOB_TOKEN"):
            monkeypatch.setenv(variable, ACCESS_TOKEN)
        monkeypatch.setenv(name, "https://gitlab.example.com")
        with pytest.raises(UsageError, match="read_api"):
            listed(double, "team")
        assert not [asked for asked in double.asked if ACCESS_TOKEN in str(asked.headers)]

    def test_the_token_of_glab_is_used_for_its_host(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        double = start(GitlabDouble)
        monkeypatch.setenv("GITLAB_TOKEN", ACCESS_TOKEN)
        monkeypatch.setenv("GITLAB_HOST", double.origin)
        assert listed(double, "team/sub") == ["team/sub/web", "team/sub/web/worker"]


class TestDockerHub:
    @pytest.fixture
    def hub(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> Double:
        double = start(DockerHubDouble)
        monkeypatch.setattr(docker_hub, "API", double.origin)
        return double

    def test_a_namespace_is_listed_without_and_with_a_login(self, hub: Double, log_in: LogIn) -> None:
        assert len(list(docker_hub.repositories(Client(hub.address), "acme"))) == 120
        log_in(hub.address)
        found = list(docker_hub.repositories(Client(hub.address), "acme"))
        assert len(found) == 121 and "acme/secret-app" in found

    @pytest.mark.parametrize(
        "content",
        [{"message": "error", "results": None}, {"next": None}, {"next": 2, "results": []}, {"results": [{}]}],
    )
    def test_a_page_without_its_list_is_an_error(self, hub: Double, content: object) -> None:
        own = hub.api
        hub.api = lambda asked: Answer(content) if asked.query["page"] == "2" else own(asked)  # type: ignore[method-assign]
        first = "v2/namespaces/acme/repositories?page=1&page_size=100"
        with pytest.raises(Damaged, match="v2/namespaces/acme/repositories: the answer"):
            list(Client(hub.address).api(hub.origin, {}).names(first, docker_hub._page))

    def test_a_wrong_password_is_an_error_without_it(self, hub: Double, log_in: LogIn) -> None:
        log_in(hub.address, "not this one")
        with pytest.raises(Unauthorized, match="Incorrect authentication credentials") as caught:
            list(docker_hub.repositories(Client(hub.address), "acme"))
        assert "not this one" not in str(caught.value) and "docker login -u NAME" in str(caught.value)

    def test_a_short_user_name_leaves_the_words_of_an_error_as_they_are(self, hub: Double, log_in: LogIn) -> None:
        password = secrets.token_hex(8)
        log_in(hub.address, auth=base64.b64encode(f"u:{password}".encode()).decode())
        with pytest.raises(Unauthorized, match=r"Incorrect authentication credentials \*\*\*\*") as caught:
            list(docker_hub.repositories(Client(hub.address), "acme"))
        assert password not in str(caught.value)

    def test_a_rate_limit_is_waited_for(self, hub: Double) -> None:
        assert isinstance(hub, DockerHubDouble)
        hub.limited, clock = True, VirtualClock()
        with pytest.raises(Exception, match=r"Rate limit exceeded.*--rate N"):
            list(docker_hub.repositories(Client(hub.address, clock=clock), "acme"))
        assert clock.pauses == [7.0] * 4

    def test_the_registry_needs_a_name_and_takes_a_repository_as_it_is(self) -> None:
        with pytest.raises(UsageError, match=r"docker\.io/NAME"):
            list(list_repositories(Client("docker.io"), ""))
        assert list(list_repositories(Client("docker.io"), "library/busybox")) == ["library/busybox"]


class TestGithub:
    @pytest.fixture
    def api(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> Double:
        double = start(GithubDouble)
        monkeypatch.setattr(github, "API", double.origin)
        return double

    @pytest.mark.parametrize("owner", ["acme", "ada"])
    def test_packages_of_organisations_and_users_are_repositories(
        self, api: Double, monkeypatch: pytest.MonkeyPatch, owner: str
    ) -> None:
        monkeypatch.setenv("GH_TOKEN", ACCESS_TOKEN)
        found = list(github.repositories(Client(api.address), owner))
        assert len(found) == 106 and {f"{owner}/app0", f"{owner}/group/web"} < set(found)

    def test_the_password_of_docker_login_is_a_token_too(self, api: Double, log_in: LogIn) -> None:
        log_in(api.address, ACCESS_TOKEN)
        assert len(list(github.repositories(Client(api.address), "acme"))) == 106

    def test_without_a_token_the_error_names_the_scope(self, api: Double) -> None:
        with pytest.raises(Unauthorized, match=r"Requires authentication.*read:packages"):
            list(github.repositories(Client(api.address), "acme"))

    def test_a_used_up_rate_limit_is_waited_for_until_its_end(
        self, api: Double, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert isinstance(api, GithubDouble)
        monkeypatch.setenv("GITHUB_TOKEN", ACCESS_TOKEN)
        clock = VirtualClock()
        api.limited_until = int(clock.date()) + 42
        assert len(list(github.repositories(Client(api.address, clock=clock), "acme"))) == 106
        assert clock.pauses == [42.0]

    def test_an_owner_is_required(self) -> None:
        with pytest.raises(UsageError, match=r"ghcr\.io/OWNER"):
            list(list_repositories(Client("ghcr.io"), ""))


class TestQuay:
    def test_the_catalog_of_the_login_and_public_repositories_are_listed(self, start: Start, log_in: LogIn) -> None:
        double = start(QuayDouble)
        log_in(double.address)
        assert listed(double, "team") == ["team/app", "team/pub0", "team/pub1", "team/pub2"]
        assert listed(double) == ["other/tool", "team/app"]

    def test_without_a_login_only_public_ones_are(self, start: Start) -> None:
        assert listed(start(QuayDouble), "team") == ["team/pub0", "team/pub1", "team/pub2"]

    @pytest.mark.parametrize("status", [429, 503])
    @pytest.mark.parametrize("number", range(1, 4))
    def test_no_repository_is_lost_by_a_temporary_failure_of_a_greeting(
        self, start: Start, log_in: LogIn, number: int, status: int
    ) -> None:
        class Busy(QuayDouble):
            def answer(self, asked: Asked) -> Answer:
                if asked.path == "/v2/" and self.paths().count("/v2/") == number:
                    return self.error(status, "TOOMANYREQUESTS", "too many requests")
                return super().answer(asked)

        double = start(Busy)
        log_in(double.address)
        assert listed(double, "team") == ["team/app", "team/pub0", "team/pub1", "team/pub2"]
        assert double.paths().count("/v2/") == 3 + (number > 1)  # the first one asks for plain HTTP

    def test_a_greeting_that_never_comes_is_an_error(self, start: Start) -> None:
        class Busy(QuayDouble):
            def answer(self, asked: Asked) -> Answer:
                return self.error(503, "UNAVAILABLE", "try again later")

        double, clock = start(Busy), VirtualClock()
        client = Client(double.address, clock=clock)
        for request in (client.ping, lambda: client.authenticate("registry:catalog:*")):
            with pytest.raises(Temporary, match="HTTP 503: UNAVAILABLE try again later for /v2/"):
                request()
        assert len(clock.pauses) == 2 * (TRIES - 1)

    def test_without_anonymous_access_the_catalog_is_the_list(self, start: Start, log_in: LogIn) -> None:
        double = start(QuayDouble)
        double.allows_anonymous = False  # type: ignore[attr-defined]
        with pytest.raises(UsageError, match="Anonymous access is not allowed"):
            listed(double, "team")
        log_in(double.address)
        assert listed(double, "team") == ["team/app"]


class TestGoogle:
    def test_children_are_followed(self, start: Start, log_in: LogIn) -> None:
        double = start(GoogleDouble)
        double.images = {"acme/images/app": ("1",), "acme/images/app/worker": ("1",), "acme/images/web": ("1", "2")}
        log_in(double.address)
        found = list(google.repositories(Client(double.address), "acme/images"))
        assert sorted(found) == ["acme/images/app", "acme/images/app/worker", "acme/images/web"]

    @pytest.mark.parametrize("content", [{}, {"child": "app", "tags": []}, {"child": [1]}])
    def test_an_answer_without_children_is_an_error(self, start: Start, log_in: LogIn, content: object) -> None:
        double = start(GoogleDouble)
        double.repository = lambda *_: Answer(content)  # type: ignore[method-assign]
        log_in(double.address)
        with pytest.raises(Damaged, match=r"acme/images: the answer has (no list of children|a child whose)"):
            list(google.repositories(Client(double.address), "acme/images"))

    def test_a_refusal_is_one_line(self, start: Start, log_in: LogIn) -> None:
        double = start(GoogleDouble)
        log_in(double.address)
        with pytest.raises(Unauthorized, match="HTTP 403: Permission denied"):
            list(google.repositories(Client(double.address), "none/images"))

    def test_a_project_is_required(self) -> None:
        with pytest.raises(UsageError, match="PROJECT/REPOSITORY"):
            list(list_repositories(Client("us-docker.pkg.dev"), ""))


class TestArtifactory:
    @pytest.mark.parametrize(
        ("prefix", "found"),
        [
            ("", ["docker-local/app", "docker-local/team/web"]),
            ("docker-local/team", ["docker-local/team/web"]),
            ("docker-remote", ["docker-remote/busybox"]),
        ],
    )
    def test_the_catalogs_of_repositories_are_joined(
        self, start: Start, log_in: LogIn, prefix: str, found: list[str]
    ) -> None:
        double = start(ArtifactoryDouble)
        log_in(double.address)
        assert listed(double, prefix) == found

    @pytest.mark.parametrize(("url", "works"), [("{}/", True), ("https://other.example.com", False)])
    def test_the_token_of_jfrog_goes_to_its_url_only(
        self, start: Start, monkeypatch: pytest.MonkeyPatch, url: str, works: bool
    ) -> None:
        double = start(ArtifactoryDouble)
        monkeypatch.setenv("JF_ACCESS_TOKEN", ACCESS_TOKEN)
        monkeypatch.setenv("JF_URL", url.format(double.origin))
        if works:
            assert "docker-local/app" in listed(double)
        else:
            with pytest.raises(UsageError, match="HTTP 401: Bad Credentials"):
                listed(double)
            assert not [asked for asked in double.asked if ACCESS_TOKEN in asked.login]

    def test_a_catalog_whose_links_lack_the_repository_is_read_to_the_end(self, start: Start, log_in: LogIn) -> None:
        double = start(ArtifactoryDouble)
        own = double.api

        def paged(asked: Asked) -> Answer:
            if "_catalog" not in asked.path:
                return own(asked)
            if asked.query.get("last") == "app":
                return Answer({"repositories": ["team/web"]})
            return Answer({"repositories": ["app"]}, 200, {"Link": '</v2/_catalog?last=app&n=1>; rel="next"'})

        double.api = paged  # type: ignore[method-assign]
        log_in(double.address)
        assert listed(double, "docker-local") == ["docker-local/app", "docker-local/team/web"]

    def test_a_host_for_one_repository_has_a_catalog(self, start: Start, log_in: LogIn) -> None:
        class Subdomain(ArtifactoryDouble):
            catalog = Double.catalog

        double = start(Subdomain)
        log_in(double.address)
        assert "docker-local/app" in listed(double) and not double.paths("/artifactory/")


class TestNexus:
    def test_components_are_listed_once(self, start: Start, log_in: LogIn) -> None:
        double = start(NexusDouble)
        log_in(double.address)
        assert listed(double) == ["docker-hosted/app", "docker-hosted/team/web"]
        assert len(double.paths("/components")) == 2

    @pytest.mark.parametrize("content", [{"message": "rate"}, {"items": [], "continuationToken": 3}, {"items": [{}]}])
    def test_a_page_without_its_list_is_an_error(self, start: Start, log_in: LogIn, content: object) -> None:
        double = start(NexusDouble)
        own = double.api
        double.api = lambda asked: Answer(content) if "continuationToken" in asked.query else own(asked)  # type: ignore[method-assign]
        log_in(double.address)
        with pytest.raises(Damaged, match="components: the answer has"):
            listed(double)

    def test_an_error_in_html_is_the_status(self, start: Start, log_in: LogIn) -> None:
        double = start(NexusDouble)
        double.api = lambda _: Answer("<!DOCTYPE html><title>401</title>", 401)  # type: ignore[method-assign,assignment]
        log_in(double.address)
        with pytest.raises(UsageError, match="HTTP 401: Unauthorized for repositories") as caught:
            listed(double)
        assert "<" not in str(caught.value)


class TestEcr:
    def test_throttling_is_retried(self, start: Start, log_in: LogIn) -> None:
        double = start(EcrDouble)
        assert isinstance(double, EcrDouble)
        log_in(double.address)
        double.throttled = 3
        assert len(listed(double)) == 3

    def test_an_expired_token_is_said(self, start: Start, log_in: LogIn) -> None:
        double = start(EcrDouble)
        assert isinstance(double, EcrDouble)
        log_in(double.address)
        double.expired = True
        with pytest.raises(UsageError, match="authorization token has expired"):
            listed(double)


def test_azure_takes_the_refresh_token_of_its_tool(start: Start, log_in: LogIn) -> None:
    double = start(AcrDouble)
    log_in(double.address, identitytoken=ACCESS_TOKEN)
    assert len(listed(double)) == 3


def test_an_open_registry_needs_no_readable_login(start: Start, tmp_path: Path) -> None:
    class Open(Double):
        def allows(self, asked: Asked, scope: str) -> bool:
            return True

        def answer(self, asked: Asked) -> Answer:
            return Answer({}) if asked.path == "/v2/" else super().answer(asked)

    write(tmp_path / "docker/config.json", {"credsStore": "not-installed"})
    assert len(listed(start(Open))) == 3


def test_a_wrong_login_is_one_line_with_the_reason_of_the_token_server(start: Start, log_in: LogIn) -> None:
    double = start(DistributionDouble)
    log_in(double.address, "not this one")
    with pytest.raises(UsageError, match="HTTP 401: incorrect username or password; run `docker login") as caught:
        listed(double)
    assert "not this one" not in str(caught.value)
