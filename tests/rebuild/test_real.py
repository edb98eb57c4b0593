"""An image of real files: those of a Python installation, packed by GNU tar; or the archive that IMAGE names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor.core.finding import Finding, State
from auditor.pipeline import Request, audit
from auditor.rebuild.source_images import ALL_FINDINGS
from auditor.scan import Scanner
from auditor.store.records import Records
from tests.conftest import Cli, docker, require
from tests.images import file, folder, image, layer, step, token, whiteout
from tests.rebuild.test_destinations import NAME, POLICY, exported, inspected, run

SECRET = token(41)
_LESS = [f"--exclude={name}" for name in ("site-packages", "dist-packages", "test", "__pycache__", "config-*")]


def _own(path: Path) -> Path:
    packed = subprocess.run(
        ["tar", "-C", sysconfig.get_path("stdlib"), *_LESS, "--format=posix", "-cf", "-", "."],
        capture_output=True,
        check=True,
    ).stdout
    built = image(
        packed,
        layer(folder("app"), file("app/.env", f"TOKEN={SECRET}\n"), file("os.py", "import this\n")),
        layer(whiteout("app/.env"), whiteout("json"), folder("app"), file("app/main.py", "print()\n")),
        history=[step("ADD stdlib"), step(f"RUN echo TOKEN={SECRET} > /app/.env"), step("RUN rm /app/.env")],
        config={"Env": ["PATH=/bin"], "Cmd": ["python"], "WorkingDir": "/app", "Labels": {"a": "b"}},
        names=(f"{NAME}/real:1",),
    )
    return built.docker_archive(path)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("IMAGE")
    return Path(given) if given else _own(tmp_path_factory.mktemp("real") / "in.tar")


@pytest.fixture(scope="module")
def hidden(archive: Path, scanner: Scanner) -> list[Finding]:
    audits = audit(str(archive), scanner, Request(selection=ALL_FINDINGS), Records(scanner, keep_secrets=True))
    return [finding for audited in audits for finding in audited.findings if finding.hidden_in is not None]


@pytest.fixture(scope="module")
def loaded(engine: str, archive: Path) -> Iterator[str]:
    name = f"{NAME}/real:1"
    docker("tag", docker("load", "-q", "-i", str(archive)).rpartition(": ")[2].strip(), name)
    yield name
    docker("rmi", "-f", name)


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("way", [(), ("--excise",), ("--minimal",), ("--method", "export")], ids=" ".join)
def test_a_real_image_shows_the_same_and_hides_nothing(
    way: tuple[str, ...], cli: Cli, engine: str, loaded: str, hidden: list[Finding]
) -> None:
    name = f"{NAME}/real:clean"
    assert hidden
    done = cli("flatten", loaded, "-t", name, *way, DOCKER_HOST=engine)
    assert done.status in (0, 1), done.err  # by what is visible in it
    try:
        assert exported(name) == exported(loaded)
        assert inspected(name) == inspected(loaded)
        scan = ("scan", name, "--format", "json", "--min-confidence", "low", "--show-secrets", "--no-cache")
        after = cli(*scan, DOCKER_HOST=engine).json["findings"]
        assert {f["state"] for f in after} <= {"present", "metadata"}
        told = docker("history", "--no-trunc", name)
        assert not [finding for finding in hidden if finding.secret.reveal() in told]
        for path in sorted({str(f.path) for f in hidden if f.state == State.DELETED})[:2]:
            assert cli("recover", name, path, DOCKER_HOST=engine).status == 2
    finally:
        docker("rmi", name)


@pytest.mark.tools
def test_podman_and_skopeo_read_it(cli: Cli, archive: Path, tmp_path: Path) -> None:
    require(shutil.which("skopeo") is not None and shutil.which("podman") is not None, "skopeo or podman")
    output = tmp_path / "out.tar"
    done = cli("flatten", archive, "-o", output, "--excise")
    assert done.status in (0, 1), done.err  # by what is visible in it
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(POLICY))
    skopeo = ("skopeo", "--policy", policy, "--tmpdir", tmp_path)
    seen = json.loads(run(*skopeo, "inspect", "--config", "--raw", f"docker-archive:{output}"))
    podman = ("podman", "--root", tmp_path / "storage", "--runroot", tmp_path / "run", "--storage-driver", "vfs")
    image_id = run(*podman, "load", "-q", "-i", output).rpartition(": ")[2].strip()
    (loaded,) = json.loads(run(*podman, "image", "inspect", image_id))
    assert loaded["RootFS"]["Layers"] == seen["rootfs"]["diff_ids"]
