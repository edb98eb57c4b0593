"""Real engines, registries and tools take what flatten writes, and show the same as before."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli, docker, require
from tests.images import Built, Item, file, folder, hardlink, image, layer, opaque, step, symlink, token, whiteout

SECRET, SHOWN = token(31), token(32)
NAME = f"image-audit-flatten-{os.getpid()}"  # two runs may share an engine
POLICY = {"default": [{"type": "insecureAcceptAnything"}]}
CONFIG: dict[str, Any] = {
    "Env": ["PATH=/bin", f"GITHUB_TOKEN={SHOWN}"],
    "Cmd": ["sh", "-c", "ls /"],
    "Entrypoint": ["/bin/env"],
    "WorkingDir": "/work",
    "User": "1000:1000",
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/data": {}},
    "Labels": {"a": "b"},
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000},
    "StopSignal": "SIGUSR1",
    "Shell": ["/bin/sh", "-c"],
    "OnBuild": ["RUN true"],
}
WAYS = ((), ("--excise",), ("--minimal",), ("--from", "1"), ("--method", "export"))


def planted(*names: str, **more: Any) -> Built:
    """Everything that a tar can hold, and a secret in every way that one is hidden."""
    shell = Path(str(shutil.which("busybox"))).read_bytes()
    capability = {"SCHILY.xattr.security.capability": "\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"}
    return image(
        layer(
            folder("bin"), file("bin/busybox", shell, mode=0o755), symlink("bin/sh", "busybox"),
            symlink("bin/ls", "busybox"), symlink("bin/env", "busybox"), folder("tmp", mode=0o1777), folder("etc"),
            file("etc/conf", "old", uid=7, gid=8), folder("empty", mode=0o700, uid=5),
        ),
        layer(
            folder("app", mode=0o750, uid=1000, mtime=1_600_000_000.5),
            file("app/.env", f"TOKEN={SECRET}\n"), file("secret.txt", f"my secret {SECRET}\n"),
            file("app/kept", "kept", mode=0o4755), hardlink("app/also", "app/.env"), file("caf\udce9", "latin"),
            folder("deep"), file("deep/" + "n" * 120, "long"),
            folder("o"), file("o/old", "o"), file("cap", "c", mode=0o755, pax=capability),
            file("rotated", SECRET, mtime=1_600_000_000.123456789),
        ),
        layer(
            whiteout("secret.txt"), folder("app", mode=0o751, uid=1000), whiteout("app/.env"), whiteout("app/also"),
            folder("o"), opaque("o"), file("o/new", "n"), file("rotated", "clean"), file("etc/conf", "new", mode=0o600),
            file("first", "linked"), hardlink("second", "first"), Item("null", type=tarfile.CHRTYPE, device=(1, 3)),
            Item("pipe", type=tarfile.FIFOTYPE, mode=0o600),
        ),
        layer(whiteout("first"), folder("bin"), folder("work", uid=1000)),
        history=[
            step("ADD rootfs"), step(f"RUN echo {SECRET} > /secret.txt", comment=f"with {SECRET}"),
            step("RUN rm /secret.txt"), step(f"ENV GITHUB_TOKEN={SHOWN}", empty=True), step("WORKDIR /work"),
        ],
        config=CONFIG,
        names=names or (f"{NAME}/planted:1",),
        **more,
    )  # fmt: skip


def run(*arguments: object, **more: Any) -> str:
    done = subprocess.run([str(a) for a in arguments], capture_output=True, check=False, **more)
    assert done.returncode == 0, done.stderr.decode()
    out: bytes = done.stdout
    return out.decode()


def exported(name: str) -> dict[str, tuple[object, ...]]:
    """Every entry of `docker export`: what `tar` would unpack, with the content's digest."""
    container = docker("create", name, "x")
    made = {".dockerenv", "dev", "dev/console", "dev/pts", "dev/shm", "etc", "etc/hostname", "etc/hosts", "etc/mtab",
            "etc/resolv.conf", "proc", "sys"}  # fmt: skip
    found: dict[str, tuple[object, ...]] = {}
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as process:
            with tarfile.open(fileobj=process.stdout, mode="r|", errors="surrogateescape") as tar:
                for member in tar:
                    body = tar.extractfile(member) if member.isreg() else None
                    data = hashlib.sha256(body.read()).hexdigest() if body else ""
                    info = member.get_info()
                    pax = {k: v for k, v in member.pax_headers.items() if "xattr" in k}
                    if member.name.strip("/") not in made:
                        found[member.name] = (*(info[k] for k in sorted(info) if k not in ("chksum",)), data, pax)
            if process.stdout:
                process.stdout.read()
        return found
    finally:
        docker("rm", container)


def inspected(name: str) -> Any:
    value = json.loads(docker("image", "inspect", name))[0]
    return value["Config"], value["Architecture"], value["Os"]


def test_the_planted_image_leaks(cli: Cli, tmp_path: Path) -> None:
    require(shutil.which("busybox") is not None, "busybox")
    archive = planted().docker_archive(tmp_path / "in.tar")
    states = {(f["path"], f["state"]) for f in cli("scan", archive, "--format", "json").json["findings"] if f["path"]}
    assert {("/secret.txt", "deleted"), ("/app/.env", "deleted"), ("/app/also", "deleted")} <= states
    assert ("/rotated", "overwritten") in states


@pytest.fixture(scope="module")
def loaded(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require(shutil.which("busybox") is not None, "busybox")
    docker("load", "-i", str(planted().docker_archive(tmp_path_factory.mktemp("planted") / "in.tar")))
    yield f"{NAME}/planted:1"
    docker("rmi", "-f", f"{NAME}/planted:1")


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_the_engine_shows_the_same_files_and_config(way: tuple[str, ...], cli: Cli, engine: str, loaded: str) -> None:
    name = f"{NAME}/clean:1"
    done = cli("flatten", loaded, "-t", name, *way, DOCKER_HOST=engine)
    assert done.status == 1, done.err
    try:
        assert SECRET not in done.out + done.err and SHOWN not in done.out
        assert "0 differences" in done.out and "config.Env[1]" in done.out and f"docker rmi {loaded}" in done.out
        assert exported(name) == exported(loaded)
        assert inspected(name) == inspected(loaded)
        history = docker("history", "--no-trunc", name)
        assert SECRET not in history and SHOWN not in history
        scan = cli("scan", name, "--format", "json", "--min-confidence", "low", DOCKER_HOST=engine).json
        assert {f["where"] for f in scan["findings"]} == {"config.Env[1]"}
        assert cli("recover", name, "/secret.txt", DOCKER_HOST=engine).status == 2
    finally:
        docker("rmi", name)


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
def test_the_story_of_layer2_ends_well(cli: Cli, engine: str, tmp_path: Path) -> None:
    """Base, a commit with a secret, a commit without it; flattened, and the old layers removed as advised."""
    require(shutil.which("busybox") is not None, "busybox")
    shell = Path(str(shutil.which("busybox"))).read_bytes()
    base, one, two, flat = (f"{NAME}/{name}:latest" for name in ("base", "layer1", "layer2", "flat"))
    links = (symlink(f"bin/{name}", "busybox") for name in ("sh", "ls", "rm", "cat"))
    built = image(
        layer(folder("bin"), file("bin/busybox", shell, mode=0o755), *links),
        config={"Env": ["PATH=/bin"], "Cmd": ["sh"]}, names=(base,),
    )  # fmt: skip
    docker("load", "-i", str(built.docker_archive(tmp_path / "base.tar")))
    start = ("run", "--network", "none", "--name")
    docker(*start, f"{NAME}-c1", base, "sh", "-c", f'echo "my secret {SECRET}" > /secret.txt')
    docker("commit", f"{NAME}-c1", one)
    docker(*start, f"{NAME}-c2", one, "sh", "-c", "echo x > /secret2.txt; rm /secret.txt")
    docker("commit", f"{NAME}-c2", two)
    try:
        done = cli("flatten", two, "-t", flat, DOCKER_HOST=engine)
        assert done.status == 0, done.err
        shown = docker("run", "--rm", "--network", "none", flat, "ls", "/")
        assert "secret2.txt" in shown and "secret.txt" not in shown.split()
        assert len(docker("history", "-q", flat).splitlines()) == 1
        old = docker("image", "inspect", "-f", "{{.Id}}", one)
        advised = [line.partition(": ")[2] for line in done.out.splitlines() if ": docker rm" in line]
        assert [a for a in advised if base in a or flat in a] == []
        assert len(advised) == 3
        for command in advised:
            run("sh", "-c", command)
        gone = subprocess.run(["docker", "run", "--rm", old, "cat", "/secret.txt"], capture_output=True, check=False)
        assert gone.returncode != 0 and SECRET.encode() not in gone.stdout
    finally:
        for kind, names in (("rm", (f"{NAME}-c1", f"{NAME}-c2")), ("rmi", (flat, two, one, base))):
            for name in names:
                subprocess.run(["docker", kind, "-f", name], capture_output=True, check=False)


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
def test_a_container_is_flattened_with_its_writable_layer(cli: Cli, engine: str, loaded: str) -> None:
    container, name = f"{NAME}-c3", f"{NAME}/container:1"
    subprocess.run(["docker", "rm", "-f", container], capture_output=True, check=False)
    run(
        "docker", "run", "--network", "none", "--user", "0", "--entrypoint", "/bin/sh", "--name", container, loaded,
        "-c", "echo written > /new; echo clean > /app/kept",
    )  # fmt: skip
    try:
        done = cli("flatten", f"container:{container}", "-t", name, DOCKER_HOST=engine)
        assert done.status == 1, done.err
        assert f"docker rm {container}" in done.out and SECRET not in done.out
        shown = run("docker", "run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", name, "-c", "cat /new")
        assert shown == "written\n"
        assert len(docker("history", "-q", name).splitlines()) == 1
    finally:
        docker("rm", "-f", container)
        subprocess.run(["docker", "rmi", "-f", name], capture_output=True, check=False)


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
def test_the_target_itself_is_not_overwritten_unasked(cli: Cli, engine: str, loaded: str) -> None:
    for target in (loaded, f"docker-daemon:{loaded}"):
        done = cli("flatten", target, "-t", loaded, DOCKER_HOST=engine)
        assert done.status == 2 and "is the target itself" in done.err
    missing = cli("flatten", loaded, "-t", f"{NAME}/x:1", "--method", "export", "--excise", DOCKER_HOST=engine)
    assert missing.status == 2 and "makes one layer" in missing.err


@pytest.mark.tools
@pytest.mark.parametrize("compress", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_skopeo_and_podman_read_the_archives(form: str, compress: str, cli: Cli, tmp_path: Path) -> None:
    require(shutil.which("skopeo") is not None and shutil.which("podman") is not None, "skopeo or podman")
    require(shutil.which("busybox") is not None, "busybox")
    source, output = planted().docker_save(tmp_path / "in.tar"), tmp_path / "out.tar"
    done = cli("flatten", source, "-o", output, "--excise", "--format", form, "--compress", compress)
    assert done.status == 1, done.err
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(POLICY))
    skopeo = ("skopeo", "--policy", policy, "--tmpdir", tmp_path)
    seen = json.loads(run(*skopeo, "inspect", "--config", "--raw", f"{form}:{output}"))
    assert seen["config"] == CONFIG
    run(*skopeo, "copy", f"{form}:{output}", f"oci:{tmp_path}/copy:tag")
    podman = ("podman", "--root", tmp_path / "storage", "--runroot", tmp_path / "run", "--storage-driver", "vfs")
    run(*podman, "load", "-i", output)
    (loaded,) = json.loads(run(*podman, "image", "inspect", f"{NAME}/planted:1"))
    assert loaded["RootFS"]["Layers"] == seen["rootfs"]["diff_ids"]
    assert SECRET not in json.dumps(loaded)


@pytest.mark.registry
def test_a_push_sends_only_missing_layers(cli: Cli, registry: str, tmp_path: Path) -> None:
    require(shutil.which("skopeo") is not None and shutil.which("busybox") is not None, "skopeo or busybox")
    policy, source = tmp_path / "policy.json", f"docker://{registry}/flatten/old:1"
    policy.write_text(json.dumps(POLICY))
    archive = planted().docker_archive(tmp_path / "in.tar")
    run(
        "skopeo", "--policy", policy, "--tmpdir", tmp_path, "copy", "--dest-tls-verify=false",
        f"docker-archive:{archive}", source,
    )  # fmt: skip
    first = cli("flatten", source, "--push", f"{registry}/flatten/new:1", "--excise", "--proof", tmp_path / "p.json")
    assert first.status == 1, first.err
    assert "2 blobs uploaded" in first.out and "3 mounted, 0 there already" in first.out
    assert f"skopeo delete {source}" in first.out and "flatten/new:1: skopeo" not in first.out
    again = cli("flatten", source, "--push", f"{registry}/flatten/new:2", "--excise")
    assert "0 blobs uploaded (0 bytes), 0 mounted, 5 there already" in again.out
    report = cli("scan", f"docker://{registry}/flatten/new:2", "--format", "json", "--min-confidence", "low").json
    assert {f["where"] for f in report["findings"]} == {"config.Env[1]"}
    proof = json.loads((tmp_path / "p.json").read_text())
    assert report["image"]["digest"] == proof["images"][0]["digest"]


@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.xdist_group("engine")
def test_layers_pushed_by_the_engine_are_not_sent_again(cli: Cli, engine: str, registry: str, loaded: str) -> None:
    old, new = f"{registry}/engine/old:1", f"{registry}/engine/new:1"
    docker("tag", loaded, old)
    docker("push", old)
    try:
        done = cli("flatten", old, "--push", new, "--excise", DOCKER_HOST=engine)
        assert done.status == 1, done.err
        assert "2 blobs uploaded" in done.out and "3 mounted, 0 there already" in done.out
        assert f"docker rmi {old}" in done.out and f"skopeo delete docker://{old}" in done.out
        docker("pull", new)
        assert exported(new) == exported(loaded)
        docker("rmi", new)
    finally:
        docker("rmi", old)


@pytest.mark.registry
def test_every_platform_of_an_index_is_kept(cli: Cli, registry: str, tmp_path: Path) -> None:
    from tests.images import OCI, descriptor, layout_files, write_files

    shared = layer({"shared": f"x {SECRET}"}, folder("d"))
    blobs: dict[str, bytes] = {}
    roots: list[dict[str, Any]] = []
    for number, architecture in enumerate(("amd64", "arm64")):
        built = image(shared, layer({"own": f"{number}"}, whiteout("shared")), architecture=architecture)
        more, root = built.blobs("gzip")
        blobs |= more
        roots.append({**root, "platform": {"os": "linux", "architecture": architecture}})
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": roots}).encode()
    root = descriptor(index, OCI + "index.v1+json", annotations={"org.opencontainers.image.ref.name": "1"})
    files = layout_files({**blobs, root["digest"]: index}, [root])
    source, output = write_files(tmp_path / "layout", files), tmp_path / "out.oci.tar"
    refused = cli("flatten", source, "-o", tmp_path / "out.tar")
    assert refused.status == 2 and "one platform" in refused.err and not list(tmp_path.glob(".image-audit*"))
    assert cli("flatten", source, "-o", output).status == 0
    done = cli("flatten", source, "--push", f"{registry}/flatten/many:1", "--minimal")
    assert done.status == 0, done.err
    for target in (output, f"docker://{registry}/flatten/many:1"):
        reports = cli("scan", target, "--format", "json", "--min-confidence", "low").json["reports"]
        assert [report["image"]["platform"] for report in reports] == ["linux/amd64", "linux/arm64"]
        assert [report["findings"] for report in reports] == [[], []]
    only = cli("flatten", source, "-o", tmp_path / "out.tar", "--platform", "linux/arm64")
    assert only.status == 0 and "linux/arm64" in only.out
