"""Fixtures: doubles of registries, and an environment without credentials, certificates and proxies of the user."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from auditor.fleet.discovery.catalog import Scope, TagFilter, select_repositories
from auditor.registry.client import Client
from tests.registry.certificates import SERVER_NAME
from tests.registry.double import PASSWORD, USER, Double
from tests.transports.clock import VirtualClock

D = TypeVar("D", bound=Double)
Start = Callable[[type[Double]], Double]
LogIn = Callable[..., None]
_VARIABLES = (
    "CI_API_V4_URL", "CI_JOB_TOKEN", "DOCKER_AUTH_CONFIG", "GH_TOKEN", "GITHUB_TOKEN", "GITLAB_HOST", "GITLAB_TOKEN",
    "ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "JF_ACCESS_TOKEN", "JF_URL", "NO_PROXY", "REGISTRY_AUTH_FILE",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "XDG_RUNTIME_DIR",
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def start() -> Iterator[Callable[..., D]]:
    """Start doubles, with TLS where a context is given; they end with the test."""
    running: list[Double] = []

    def started(kind: type[D], context: ssl.SSLContext | None = None) -> D:
        double = kind(context)
        running.append(double)
        return double

    yield started
    for double in running:
        double.close()


@pytest.fixture
def give_name(monkeypatch: pytest.MonkeyPatch) -> Callable[[D], D]:
    """Give a double a host name that resolves to loopback: proxies do not apply to loopback itself."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host == SERVER_NAME else host, *rest, **more)

    def named(double: D) -> D:
        monkeypatch.setattr(socket, "getaddrinfo", resolved)
        double.address = f"{SERVER_NAME}:{double.address.rpartition(':')[2]}"
        double.origin = f"{double.origin.partition(':')[0]}://{double.address}"
        return double

    return named


@pytest.fixture
def log_in(tmp_path: Path) -> Callable[..., None]:
    """Store credentials as `docker login` does: of `USER`, or the given entry."""

    def stored(address: str, password: str = PASSWORD, **entry: Any) -> None:
        auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
        write(tmp_path / "docker/config.json", {"auths": {address: entry or {"auth": auth}}})

    return stored


def listed(double: Double, prefix: str = "") -> list[str]:
    """The repositories that a sweep of a double selects; its pauses take no time."""
    client = Client(double.address, clock=VirtualClock())
    scope = Scope(double.address, prefix)
    return [selection.name for selection in select_repositories(client, scope, TagFilter({}))]


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path
