"""Real engines, real registries and the containers tools: what they write gives the same findings."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli, docker, require
from tests.images import Built, image, layer, story, token

SECRET = token(11)
NAME = f"image-audit-test-{os.getpid()}"  # two runs may share an engine
POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


def run(*arguments: object, **more: Any) -> str:
    done = subprocess.run([str(a) for a in arguments], capture_output=True, check=False, **more)
    assert done.returncode == 0, done.stderr.decode()
    out: bytes = done.stdout
    return out.decode()


def load(built: Built, folder: Path) -> None:
    docker("load", "-i", str(built.docker_archive(folder / "load.tar")))


@pytest.fixture(scope="module")
def base(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A base image with a shell: busybox is what every Debian has at hand, statically linked."""
    require(shutil.which("busybox") is not None, "busybox")
    folder = tmp_path_factory.mktemp("base")
    shell = Path(str(shutil.which("busybox"))).read_bytes()
    from tests.images import file, symlink
    from tests.images import folder as directory

    names = ("sh", "ls", "rm", "cat", "mkdir", "sleep", "chmod")
    built = image(
        layer(
            directory("bin"),
            directory("tmp", mode=0o1777),
            file("bin/busybox", shell, mode=0o755),
            *(symlink(f"bin/{name}", "busybox") for name in names),
            file("run", NAME),  # two runs that commit in the same second would have the same layers
        ),
        config={"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        names=(f"{NAME}/base:1",),
    )
    load(built, folder)
    yield f"{NAME}/base:1"
    docker("rmi", "-f", f"{NAME}/base:1")


@pytest.fixture(scope="module")
def layer2(base: str) -> Iterator[str]:
    """The story, word for word, on a real engine."""
    for name in ("c1", "c2"):
        subprocess.run(["docker", "rm", "-f", f"{NAME}-{name}"], capture_output=True, check=False)
    docker(
        "run", "--network", "none", "--name", f"{NAME}-c1", base, "sh", "-c", f'echo "my secret {SECRET}" > /secret.txt'
    )
    docker("commit", f"{NAME}-c1", f"{NAME}/layer1")
    docker(
        "run",
        "--network",
        "none",
        "--name",
        f"{NAME}-c2",
        f"{NAME}/layer1",
        "sh",
        "-c",
        "echo x > /secret2.txt; rm /secret.txt",
    )
    docker("commit", f"{NAME}-c2", f"{NAME}/layer2")
    yield f"{NAME}/layer2"
    docker("rm", "-f", f"{NAME}-c1", f"{NAME}-c2")
    docker("rmi", "-f", f"{NAME}/layer2", f"{NAME}/layer1")


@pytest.fixture
def with_engine(cli: Cli, engine: str) -> Cli:
    cli.environment["DOCKER_HOST"] = engine
    return cli


def scan(cli: Cli, target: object, *more: object) -> dict[str, Any]:
    done = cli("scan", target, "--format", "json", *more)
    assert done.status == 1, done.err
    assert SECRET not in done.out
    return done.json


def ids(report: dict[str, Any]) -> list[str]:
    return [finding["id"] for finding in report["findings"]]


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
class TestStory:
    def test_the_report_says_who_added_the_secret_and_who_deleted_it(self, with_engine: Cli, layer2: str) -> None:
        report = scan(with_engine, layer2)
        (finding,) = [f for f in report["findings"] if f["path"]]
        assert (finding["path"], finding["rule"], finding["state"], finding["line"]) == (
            "/secret.txt",
            "github-pat",
            "deleted",
            1,
        )
        assert (finding["added_in"], finding["hidden_in"]) == (1, 2)
        assert "echo" in finding["added_by"] and "rm /secret.txt" in finding["hidden_by"]
        assert finding["check"] == "passed" and finding["severity"] == "critical"
        assert report["image"]["transport"] == "docker-daemon"
        assert report["flatten"]["recommended"] and "image-audit flatten" in report["flatten"]["commands"][0]

    def test_the_table_tells_the_same_and_masks(self, with_engine: Cli, layer2: str) -> None:
        done = with_engine("scan", layer2)
        assert done.status == 1
        words = " ".join(done.out.split())
        assert "added in layer 1" in words and "deleted in layer 2" in words and "still recoverable" in words
        assert SECRET not in done.out and "ghp_****" + SECRET[-4:] in done.out
        # Commands stay whole, to be copied.
        assert max(len(line) for line in done.out.splitlines() if "image-audit " not in line) <= 80

    def test_recover_prints_the_file(self, with_engine: Cli, layer2: str) -> None:
        done = with_engine("recover", layer2, "/secret.txt")
        assert (done.status, done.out) == (0, f"my secret {SECRET}\n")

    def test_the_base_is_known_from_the_engine(self, with_engine: Cli, layer2: str) -> None:
        image_ = scan(with_engine, layer2)["image"]
        assert image_["base"] == {"name": f"{NAME}/layer1:latest", "known_by": "engine", "layers": 2}
        named = scan(with_engine, layer2, "--base", f"{NAME}/base:1")["image"]
        assert named["base"]["known_by"] == "option"
        assert [item["inherited"] for item in named["layers"]] == [True, False, False]

    def test_a_base_that_is_none_is_said(self, with_engine: Cli, layer2: str) -> None:
        done = with_engine("scan", f"{NAME}/base:1", "--base", layer2)
        assert done.status == 2 and "is not built on" in done.err

    def test_by_id_and_by_transport(self, with_engine: Cli, layer2: str) -> None:
        want = ids(scan(with_engine, layer2))
        image_id = docker("image", "inspect", "-f", "{{.Id}}", layer2)
        for target in (image_id, image_id[7:19], f"docker-daemon:{layer2}", f"docker-daemon:{layer2}:latest"):
            assert ids(scan(with_engine, target)) == want

    def test_history_shows_what_each_layer_does(self, with_engine: Cli, layer2: str) -> None:
        done = with_engine("history", layer2, "--format", "json")
        layers = done.json["images"][0]["layers"]
        assert [(item["added"], item["overwritten"], item["deleted"]) for item in layers[1:]] == [(1, 0, 0), (1, 0, 1)]
        assert layers[1]["hidden_bytes"] == len(f"my secret {SECRET}\n")
        assert SECRET not in done.out and SECRET not in with_engine("history", layer2).out


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
class TestForms:
    def test_docker_save_and_its_gzip(self, with_engine: Cli, layer2: str, tmp_path: Path) -> None:
        want = ids(scan(with_engine, layer2))
        saved = tmp_path / "saved.tar"
        docker("save", layer2, "-o", str(saved))
        run("gzip", "-k", saved)
        assert ids(scan(with_engine, saved)) == want
        assert ids(scan(with_engine, f"{saved}.gz")) == want
        with saved.open("rb") as stream:
            done = with_engine("scan", "-", "--format", "json", stdin=stream)
        assert ids(done.json) == want

    @pytest.mark.tools
    def test_skopeo_and_podman(self, with_engine: Cli, layer2: str, tmp_path: Path) -> None:
        require(shutil.which("skopeo") is not None and shutil.which("podman") is not None, "skopeo or podman")
        want = ids(scan(with_engine, layer2))
        policy = tmp_path / "policy.json"
        policy.write_text(json.dumps(POLICY))
        saved = tmp_path / "saved.tar"
        docker("save", layer2, "-o", str(saved))
        copy = ("skopeo", "--policy", policy, "--tmpdir", tmp_path, "copy", f"docker-archive:{saved}")
        for name, form in (
            ("gzip", ()),
            ("zstd", ("--dest-compress-format", "zstd")),
            ("zstd:chunked", ("--dest-compress-format", "zstd:chunked")),
        ):
            target = f"oci:{tmp_path}/{name.replace(':', '-')}"
            run(*copy, target + ":tag", "--dest-compress", *form)
            assert ids(scan(with_engine, target + ":tag")) == want, name
        run(*copy, f"oci-archive:{tmp_path}/oci.tar:tag")
        assert ids(scan(with_engine, f"oci-archive:{tmp_path}/oci.tar")) == want
        run(*copy, f"docker-archive:{tmp_path}/old.tar:planted:1")
        assert ids(scan(with_engine, f"docker-archive:{tmp_path}/old.tar")) == want
        podman = ("podman", "--root", tmp_path / "storage", "--runroot", tmp_path / "run", "--storage-driver", "vfs")
        run(*podman, "load", "-i", saved)
        name = run(*podman, "images", "--format", "{{.Id}}").split()[0]
        for kind in ("docker-archive", "oci-archive"):
            run(*podman, "save", "--format", kind, "-o", tmp_path / f"podman-{kind}.tar", name)
            assert ids(scan(with_engine, tmp_path / f"podman-{kind}.tar")) == want, kind

    @pytest.mark.registry
    def test_a_registry(self, with_engine: Cli, layer2: str, registry: str) -> None:
        want = ids(scan(with_engine, layer2))
        docker("tag", layer2, f"{registry}/team/app:1")
        docker("push", f"{registry}/team/app:1")
        report = scan(with_engine, f"docker://{registry}/team/app:1")
        assert ids(report) == want
        assert report["image"]["digest"].startswith("sha256:")
        by_digest = f"docker://{registry}/team/app@{report['image']['digest']}"
        assert ids(scan(with_engine, by_digest)) == want
        docker("rmi", f"{registry}/team/app:1")
        # The engine lacks it now, so the bare name means the registry.
        assert scan(with_engine, f"{registry}/team/app:1")["image"]["transport"] == "docker"

    @pytest.mark.registry
    def test_a_registry_that_wants_a_login(
        self, with_engine: Cli, layer2: str, start_registry: Any, tmp_path: Path
    ) -> None:
        require(shutil.which("htpasswd") is not None, "htpasswd")
        passwords = tmp_path / "htpasswd"
        passwords.write_text(run("htpasswd", "-nbB", "user", "open sesame"))
        address = start_registry(f"auth:\n  htpasswd: {{realm: lab, path: {passwords}}}\n")
        target = f"docker://{address}/team/app:1"
        refused = with_engine("scan", target)
        assert refused.status == 2 and f"docker login {address}" in refused.err
        config = Path(with_engine.environment["DOCKER_CONFIG"])
        environment = {**os.environ, "DOCKER_CONFIG": str(config)}
        run("docker", "login", "-u", "user", "--password-stdin", address, input=b"open sesame", env=environment)
        docker("tag", layer2, f"{address}/team/app:1")
        run("docker", "push", f"{address}/team/app:1", env=environment)
        assert ids(scan(with_engine, target)) == ids(scan(with_engine, layer2))
        docker("rmi", f"{address}/team/app:1")
        missing = with_engine("scan", f"docker://{address}/team/none:1")
        assert missing.status == 2 and "no such image" in missing.err


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
class TestContainer:
    def test_a_secret_in_the_writable_layer_alone(self, with_engine: Cli, layer2: str) -> None:
        name, secret = f"{NAME}-written", token(12)
        with contextlib.suppress(subprocess.CalledProcessError):
            docker("rm", "-f", name)
        command = f"mkdir -p /app/deep; echo {secret} > /app/deep/key; rm /secret2.txt; chmod 700 /tmp"
        docker("run", "--network", "none", "--name", name, layer2, "sh", "-c", command)
        try:
            done = with_engine("scan", f"container:{name}", "--format", "json")
            assert done.status == 1, done.err
            report = done.json
            (finding,) = [f for f in report["findings"] if f["path"] == "/app/deep/key"]
            assert (finding["state"], finding["added_in"]) == ("present", 3)
            assert finding["added_by"] == f"a process in container {name}" and secret not in done.out
            last = report["image"]["layers"][3]
            assert (last["digest"], last["diff_id"], last["deleted"]) == (None, None, 1)
            assert [f["hidden_in"] for f in report["findings"] if f["path"] == "/secret.txt"] == [2]
            assert with_engine("recover", f"container:{name}", "/app/deep/key").out == secret + "\n"
            # It is what docker commit freezes.
            docker("commit", name, f"{NAME}/committed")
            committed = scan(with_engine, f"{NAME}/committed")
            places = [
                (f["path"], f["state"], f["added_in"], f["hidden_in"]) for f in committed["findings"] if f["path"]
            ]
            assert places == [
                (f["path"], f["state"], f["added_in"], f["hidden_in"]) for f in report["findings"] if f["path"]
            ]
        finally:
            docker("rm", "-f", name)
            subprocess.run(["docker", "rmi", "-f", f"{NAME}/committed"], capture_output=True, check=False)

    def test_a_container_that_is_not_there(self, with_engine: Cli, engine: str) -> None:
        done = with_engine("scan", "container:no-such-container")
        assert done.status == 2 and "no such container" in done.err and len(done.err.splitlines()) == 1


@pytest.mark.tools
def test_podmans_service_is_an_engine(cli: Cli, tmp_path: Path) -> None:
    require(shutil.which("podman") is not None, "podman")
    built, secret = story(13)
    archive = built.docker_archive(tmp_path / "a.tar")
    podman = ("podman", "--root", tmp_path / "storage", "--runroot", tmp_path / "run", "--storage-driver", "vfs")
    run(*podman, "load", "-i", archive)
    with tmp_path.joinpath("log").open("wb") as log:
        address = tmp_path / "podman.sock"
        service = subprocess.Popen(
            [str(a) for a in (*podman, "system", "service", "--time", "0", f"unix://{address}")], stderr=log
        )
    try:
        for _ in range(200):
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(str(address))
                break
            time.sleep(0.05)
        done = cli("scan", "layer2", "--format", "json", DOCKER_HOST=f"unix://{address}")
        assert done.status == 1, done.err
        assert ids(done.json) == ids(cli("scan", archive, "--format", "json").json)
        assert secret not in done.out
    finally:
        service.terminate()
        service.wait()


def test_without_an_engine_the_error_says_what_to_do(cli: Cli) -> None:
    done = cli("scan", "docker-daemon:layer2")
    assert done.status == 2 and done.out == ""
    assert "no Docker engine" in done.err and "DOCKER_HOST" in done.err and len(done.err.splitlines()) == 1
