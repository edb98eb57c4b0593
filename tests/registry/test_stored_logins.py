"""Credentials as docker, podman and continuous integration store them: which entry applies, and to which host."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from threading import Event

import pytest

from auditor.core.errors import Unauthorized
from auditor.registry import client as client_module
from auditor.registry.authentication import basic_authorization
from auditor.registry.client import Client
from auditor.registry.login_commands import login_command
from auditor.registry.logins import Login, stored_login
from auditor.registry.repository import Repository
from tests.registry.conftest import LogIn, Start, write
from tests.registry.double import BEARER, PASSWORD, USER, Answer, Asked, Double
from tests.transports.clock import VirtualClock

HOST = "registry.example.com"


def entry(user: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:password of {user}".encode()).decode()}


@pytest.fixture
def all_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The same host in every source, in the order in which they apply."""
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {HOST: entry("variable")}}))
    files = {
        "authfile": tmp_path / "auth.json", "docker": tmp_path / "docker/config.json",
        "runtime": tmp_path / "run/containers/auth.json", "config": tmp_path / "config/containers/auth.json",
    }  # fmt: skip
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(files["authfile"]))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    for name, path in files.items():
        write(path, {"auths": {HOST: entry(name)}})
    return files


def test_the_first_source_with_an_entry_applies(all_sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert stored_login(HOST).user == "variable"
    monkeypatch.delenv("DOCKER_AUTH_CONFIG")
    for name, path in all_sources.items():
        login = stored_login(HOST)
        assert (login.user, login.password) == (name, f"password of {name}")
        path.unlink()
    assert stored_login(HOST).user == ""


def test_a_source_without_an_entry_is_skipped(all_sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {"other.example.com": entry("other")}}))
    write(all_sources["authfile"], {})
    assert stored_login(HOST).user == "docker"
    assert stored_login("other.example.com").user == "other"


@pytest.mark.parametrize(
    ("path", "user"),
    [("", "host"), ("team/app", "team"), ("team/sub/app", "sub"), ("teams/app", "host"), ("team", "team")],
)
def test_the_longest_namespace_of_podman_applies(tmp_path: Path, path: str, user: str) -> None:
    auths = {f"{HOST}/team/sub": entry("sub"), f"{HOST}/team": entry("team"), HOST: entry("host")}
    write(tmp_path / "config/containers/auth.json", {"auths": auths})
    assert stored_login(HOST, path).user == user


def test_a_namespace_is_no_login_for_its_host(tmp_path: Path) -> None:
    write(tmp_path / "config/containers/auth.json", {"auths": {f"{HOST}/team": entry("team")}})
    assert stored_login(HOST).user == stored_login(HOST, "other/app").user == ""


def test_a_pull_uses_the_login_of_its_namespace(start: Start, tmp_path: Path) -> None:
    double = start(Double)
    own = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    auths = {f"{double.address}/team": own, double.address: entry("other")}
    write(tmp_path / "config/containers/auth.json", {"auths": auths})
    assert Repository(Client(double.address, path="team/app"), "team/app").tags() == ["1", "2", "3"]
    with pytest.raises(Unauthorized):
        Repository(Client(double.address, path="other/tool"), "other/tool").tags()


def test_tokens_are_kept_of_few_repositories(start: Start, log_in: LogIn, monkeypatch: pytest.MonkeyPatch) -> None:
    double = start(Double)
    log_in(double.address)
    monkeypatch.setattr(client_module, "_TOKENS", 2)
    client = Client(double.address)
    for _ in range(2):
        for name, tags in double.images.items():
            assert Repository(client, name).tags() == [*tags]
            assert 0 < len(client._tokens) <= 2


class _Renewed(Double):
    """A registry whose credentials expire: only those with `password` are valid. It answers others with `refusal`."""

    password = ""
    refusal = 401

    def answer(self, asked: Asked) -> Answer:
        if asked.login == basic_authorization(Login(USER, self.password)):
            return self.listed(asked, "tags", ["1"])
        return Answer({}, self.refusal if asked.login else 401, {"WWW-Authenticate": 'Basic realm="double"'})


class _Denying(_Renewed):
    refusal = 403


class _RenewedTokens(_Renewed):
    """The same with tokens, which expire with the credentials."""

    def answer(self, asked: Asked) -> Answer:
        token = base64.b64encode(self.password.encode()).decode()
        if asked.path == self.token_path:
            is_valid = asked.login == basic_authorization(Login(USER, self.password))
            return Answer({"token": token} if is_valid else {}, 200 if is_valid else 401)
        return self.listed(asked, "tags", ["1"]) if asked.login == f"{BEARER}{token}" else self.unauthorized()


@pytest.mark.parametrize("kind", [_Renewed, _Denying, _RenewedTokens])
def test_refused_credentials_are_read_again(start: Start, tmp_path: Path, kind: type[_Renewed]) -> None:
    double, clock = start(kind), VirtualClock()
    assert isinstance(double, _Renewed)
    client = Client(double.address, clock=clock)

    def tags(name: str, stored: str, valid: str) -> list[str]:
        auths = {double.address: {"username": USER, "password": stored}}
        write(tmp_path / "docker/config.json", {"auths": auths})
        double.password = valid
        return Repository(client, name).tags()

    assert tags("team/app", "first", "first") == tags("team/web", "first", "first") == ["1"]
    with pytest.raises(Unauthorized):
        tags("team/app", "second", "second")  # they were read less than a minute ago
    clock.sleep(3600, Event())
    assert tags("team/app", "second", "second") == tags("team/web", "second", "second") == ["1"]
    clock.sleep(3600, Event())
    with pytest.raises(Unauthorized):
        tags("team/app", "second", "third")


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_the_names_of_docker_hub_are_one(tmp_path: Path, key: str) -> None:
    write(tmp_path / "docker/config.json", {"auths": {key: entry("hub")}})
    assert stored_login("docker.io", "library/busybox").user == "hub"


@pytest.mark.parametrize("key", ["https://registry.example.com/v2/", "https://registry.example.com", f"{HOST}/v1/"])
def test_older_keys_of_docker_are_hosts(tmp_path: Path, key: str) -> None:
    write(tmp_path / "docker/config.json", {"auths": {key: entry("old")}})
    assert stored_login(HOST).user == "old"


def test_an_unreadable_variable_is_an_error_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", "{not json: my-password")
    with pytest.raises(Unauthorized, match="DOCKER_AUTH_CONFIG contains no JSON") as caught:
        stored_login(HOST)
    assert "my-password" not in str(caught.value)


@pytest.mark.parametrize("auth", [{}, {"auth": ""}])
def test_user_and_password_may_stand_in_clear(tmp_path: Path, auth: dict[str, str]) -> None:
    password = secrets.token_hex(8)
    auths = {HOST: {**auth, "username": "clear", "password": password}, "other.example.com": entry("encoded")}
    write(tmp_path / "docker/config.json", {"auths": auths})
    assert stored_login(HOST) == Login("clear", password)
    assert stored_login("other.example.com").user == "encoded"


def test_encoded_credentials_win_over_those_in_clear(tmp_path: Path) -> None:
    both = {**entry("encoded"), "username": "clear", "password": "another"}
    write(tmp_path / "docker/config.json", {"auths": {HOST: both}})
    assert stored_login(HOST).user == "encoded"


@pytest.mark.parametrize("place", ["docker/config.json", "auth.json", "config/containers/auth.json"])
@pytest.mark.parametrize("text", ["{auths: SECRET", "[]", '"SECRET"', "\xff", "[" * 9999])
def test_a_malformed_file_is_named_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, text: str
) -> None:
    path, secret = tmp_path / place, secrets.token_hex(8)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text.replace("SECRET", secret), encoding="latin-1")
    if place == "auth.json":
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
    with pytest.raises(Unauthorized) as caught:
        stored_login(HOST)
    message = f"{HOST}: can't read the stored credentials: {path} contains no JSON object; correct or remove it"
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["", "\n", "{}"])
def test_an_empty_file_has_no_login(tmp_path: Path, text: str) -> None:
    write(tmp_path / "docker/config.json", {}).write_text(text)
    assert stored_login(HOST) == Login()


def test_a_file_of_the_oldest_form_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_CONFIG")
    (tmp_path / ".dockercfg").write_text(f"auth = {entry('hub')['auth']}\nemail = hub@example.com\n")
    assert stored_login("docker.io").user == "hub"


@pytest.mark.parametrize(
    ("host", "command"),
    [
        ("registry.example.com:5000", "docker login registry.example.com:5000"),
        ("docker.io", "docker login"),
        ("contoso.azurecr.io", "az acr login --name contoso"),
        ("us-docker.pkg.dev", "gcloud auth configure-docker us-docker.pkg.dev"),
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "aws ecr get-login-password --region eu-west-1 | docker login --username AWS --password-stdin "
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        ),
        ("evil.example.com/x.azurecr.io", "docker login evil.example.com/x.azurecr.io"),
    ],
)
def test_errors_name_the_command_of_the_registry(host: str, command: str) -> None:
    assert login_command(host) == command
