"""The table of registry kinds: how each row is recognised, what every row promises, and its bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from auditor.core.errors import AuditError, BlockedAddress, Damaged, Unauthorized, UsageError
from auditor.core.limits import DEFAULT
from auditor.registry.client import Client
from auditor.registry.listing import docker_hub, github
from auditor.registry.listing.kinds import CATALOG, REGISTRY_KINDS, RegistryKind, list_repositories, registry_kind
from auditor.registry.reference import is_repository
from tests.hostile.wire import Registry, own_address
from tests.registry.conftest import LogIn, Start, listed
from tests.registry.double import PASSWORD, Answer, Asked, Double
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


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (DistributionDouble, "OCI distribution"), (HarborDouble, "Harbor"), (GitlabDouble, "GitLab"),
        (QuayDouble, "Quay"), (EcrDouble, "OCI distribution"), (AcrDouble, "OCI distribution"),
        (ArtifactoryDouble, "Artifactory"), (NexusDouble, "Nexus"),
    ],
)  # fmt: skip
def test_a_registry_is_recognised_by_its_answer(start: Start, kind: type[Double], name: str) -> None:
    assert registry_kind(Client(start(kind).address)).name == name


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("docker.io", "Docker Hub"), ("ghcr.io", "GitHub"), ("europe-docker.pkg.dev", "Google"), ("gcr.io", "Google"),
        ("eu.gcr.io", "Google"),
    ],
)  # fmt: skip
def test_a_hosted_service_is_recognised_by_its_name(host: str, name: str) -> None:
    assert registry_kind(Client(host)).name == name


def test_no_other_host_is_taken_for_a_hosted_service() -> None:
    for host in ("docker.io.example.com", "xghcr.io", "evil-gcr.io", "a.docker.pkg.dev.example.com", "docker.io:443"):
        assert not any(kind.hosts and kind.hosts.fullmatch(host) for kind in REGISTRY_KINDS)


DOUBLES: dict[str, tuple[type[Double], str]] = {
    "Docker Hub": (DockerHubDouble, "acme"), "GitHub": (GithubDouble, "acme"), "Google": (GoogleDouble, "team"),
    "GitLab": (GitlabDouble, "team"), "Harbor": (HarborDouble, "team"), "Quay": (QuayDouble, "team"),
    "Artifactory": (ArtifactoryDouble, "docker-local"), "Nexus": (NexusDouble, "docker-hosted"),
    "OCI distribution": (DistributionDouble, ""),
}  # fmt: skip
"""The double of each row of the table, with a prefix that it lists."""


@pytest.mark.parametrize("kind", [*REGISTRY_KINDS, CATALOG], ids=lambda kind: kind.name)
class TestEachKind:
    @pytest.fixture
    def double(self, start: Start, monkeypatch: pytest.MonkeyPatch, kind: RegistryKind) -> Double:
        double = start(DOUBLES[kind.name][0])
        for module in (docker_hub, github):
            monkeypatch.setattr(module, "API", double.origin)
        return double

    def test_it_lists_valid_names_below_a_prefix(self, double: Double, log_in: LogIn, kind: RegistryKind) -> None:
        prefix = DOUBLES[kind.name][1]
        log_in(double.address, ACCESS_TOKEN if kind.name == "GitHub" else PASSWORD)
        names = list(kind.repositories(Client(double.address), prefix))
        assert [name for name in names if name.startswith(prefix)]
        assert all(is_repository(name) for name in names)

    def test_a_wrong_login_is_one_line_without_it(self, double: Double, log_in: LogIn, kind: RegistryKind) -> None:
        log_in(double.address, "not-this-one")
        with pytest.raises(Unauthorized, match=r"HTTP 401.*docker login") as caught:
            list(kind.repositories(Client(double.address), DOUBLES[kind.name][1]))
        assert "not-this-one" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("realm", ["http://169.254.169.254", "http://[broken", "file:///etc", ""])
def test_a_realm_leads_to_no_blocked_address(start: Start, log_in: LogIn, realm: str) -> None:
    class Leading(GitlabDouble):
        def challenge(self, scope: str = "") -> str:
            return f'Bearer realm="{realm}/jwt/auth",service="container_registry"'

    double = start(Leading)
    log_in(double.address)
    with pytest.raises(AuditError):
        listed(double, "team")


def test_a_hidden_harbor_is_found_when_it_refuses_its_catalog(start: Start, log_in: LogIn) -> None:
    class Hidden(HarborDouble):
        token_path = "/auth"
        service = "sso"
        scopes: frozenset[str] | None = frozenset()

    double = start(Hidden)
    log_in(double.address)
    assert registry_kind(Client(double.address)) is CATALOG
    assert {"team/app", "team/web"} < set(listed(double, "team"))


def test_another_registry_that_refuses_its_catalog_is_no_harbor(start: Start, log_in: LogIn) -> None:
    class Refusing(Double):
        scopes: frozenset[str] | None = frozenset()

        def api(self, asked: Asked) -> Answer:
            return Answer("<html>", 200)

    double = start(Refusing)
    log_in(double.address)
    with pytest.raises(UsageError, match="UNAUTHORIZED authentication required"):
        listed(double, "team")


def test_an_api_is_no_way_into_the_own_network(start: Start) -> None:
    inside = start(GitlabDouble)
    challenge = f'Bearer realm="{inside.origin}/jwt/auth",service="container_registry"'
    outside = Registry({}, host=own_address(), login=challenge)
    with pytest.raises(BlockedAddress, match="a loopback address"):
        list(list_repositories(Client(outside.address, insecure=True), "team"))
    outside.close()
    assert inside.asked == []


def test_requests_of_an_api_keep_the_rate(start: Start, log_in: LogIn) -> None:
    double, clock = start(HarborDouble), VirtualClock()
    log_in(double.address)
    list(list_repositories(Client(double.address, rate=10, clock=clock), ""))
    assert len(double.asked) > 100 and clock.now() >= (len(double.asked) - 1) / 10


def test_a_list_is_bounded_over_all_projects(start: Start, log_in: LogIn) -> None:
    double = start(HarborDouble)
    log_in(double.address)
    client = Client(double.address, limits=replace(DEFAULT, registry_names=251))
    with pytest.raises(Damaged, match="registry-names"):
        list(list_repositories(client, ""))


def test_the_api_of_a_registry_leads_to_no_other_host(start: Start, log_in: LogIn) -> None:
    elsewhere = start(HarborDouble)
    double = start(HarborDouble)
    log_in(double.address)
    answer = double.api

    def leading(asked: object) -> object:
        found = answer(asked)  # type: ignore[arg-type]
        return type(found)(found.content, 200, {"Link": f'<{elsewhere.origin}/api/v2.0/projects>; rel="next"'})

    double.api = leading  # type: ignore[method-assign,assignment]
    with pytest.raises(Exception, match="at another host"):
        listed(double)
    assert elsewhere.asked == []
