"""What the hook audits and says, with real git and a real engine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from auditor.config.file import load_config
from auditor.config.resolve import resolve
from auditor.core.options import HookOptions
from auditor.detect.rules import Ruleset
from auditor.findings.selection import Selection
from auditor.hook import run as hook
from auditor.hook.git import deletes_only
from auditor.pipeline import Audit, Failure, audit_each
from auditor.scan import Scanner
from auditor.store.layer_store import LayerStore
from tests.conftest import docker
from tests.hook.repository import Repository
from tests.images import image, layer, step, token, whiteout

NAME = f"image-audit-hook-{os.getpid()}"  # two runs may share an engine
SECRET = token(61)


def leaking(folder: Path, *names: str) -> None:
    """Have the engine load an image whose last layer deletes a secret."""
    built = image(
        layer({"etc/os-release": "ID=planted\n"}),
        layer({"secret.txt": f"my secret {SECRET}\n"}),
        layer({"x": "x\n"}, whiteout("secret.txt")),
        history=[step("ADD rootfs"), step(f"RUN echo {SECRET} > /secret.txt"), step("RUN rm /secret.txt")],
        names=names,
    )
    docker("load", "-i", str(built.docker_archive(folder / "loaded.tar")))


@pytest.fixture
def images() -> Iterator[list[str]]:
    names = [f"{NAME}/layer2:latest", f"{NAME}/app:1", f"{NAME}/app:2"]
    yield names
    for name in names:
        subprocess.run(["docker", "rmi", "-f", name], capture_output=True, check=False)


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
def test_a_push_is_stopped_and_passes_after_the_command_of_the_message(
    repository: Repository, engine: str, images: list[str]
) -> None:
    leaking(repository.folder.parent, images[0])
    name = images[0].removesuffix(":latest")
    repository.commit(".image-audit.yaml", f"images: [{name}]\n")
    assert repository.cli("hook", "install").status == 0
    stopped = repository.push(DOCKER_HOST=engine)
    assert stopped.returncode != 0 and SECRET not in stopped.stderr
    assert "/secret.txt:1: GitHub personal access token" in stopped.stderr
    assert "added in layer 1 by RUN echo ghp_****" in stopped.stderr
    assert "deleted in layer 2 by RUN rm /secret.txt" in stopped.stderr
    assert repository.git("rev-parse", "-q", "--verify", "main", at=repository.remote).returncode != 0
    (fix,) = (line.partition("Fix: ")[2] for line in stopped.stderr.splitlines() if "Fix: " in line)
    assert fix.startswith("image-audit flatten ")
    subprocess.run(
        fix, shell=True, check=True, cwd=repository.folder, capture_output=True,
        env={**repository.cli.environment, "DOCKER_HOST": engine},
    )  # fmt: skip
    passed = repository.push(DOCKER_HOST=engine)
    assert (passed.returncode, passed.stderr) == (0, "")
    assert repository.git("rev-parse", "-q", "--verify", "main", at=repository.remote).returncode == 0


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
def test_globs_name_the_images_that_the_engine_has(repository: Repository, engine: str, images: list[str]) -> None:
    leaking(repository.folder.parent, *images[1:])
    config = repository.folder / ".image-audit.yaml"
    config.write_text(f'images: ["{NAME}/app:*", "{NAME}/none-*"]\nexclude: {{images: ["*/app:2"]}}\n')
    done = repository.cli("hook", "run", DOCKER_HOST=engine)
    assert done.status == 1
    assert f"{NAME}/app:1: 1 secret at 2 places" in done.err and "app:2" not in done.err
    assert f"not audited: {NAME}/none-*: no image in the engine matches" in done.err


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
def test_an_image_that_is_not_built_yet_is_said_and_stops_only_under_strict(
    repository: Repository, engine: str
) -> None:
    config = repository.folder / ".image-audit.yaml"
    config.write_text(f"images: [{NAME}/nope]\n")
    done = repository.cli("hook", "run", DOCKER_HOST=engine)
    assert (done.status, len(done.err.splitlines())) == (0, 1)
    assert f"not audited: {NAME}/nope: the engine has no such image" in done.err
    assert repository.cli("hook", "run", "--strict", DOCKER_HOST=engine).status == 2
    config.write_text(f"images: [{NAME}/nope]\nhook: {{strict: true}}\n")
    done = repository.cli("hook", "run", DOCKER_HOST=engine)
    assert done.status == 2 and "push stopped: strict is set, and not everything was audited" in done.err


def test_without_an_engine_no_push_is_stopped_unless_strict(repository: Repository) -> None:
    (repository.folder / ".image-audit.yaml").write_text("images: [layer2, 'app:*']\n")
    done = repository.cli("hook", "run")
    assert done.status == 0 and "not audited: layer2, app:*: no Docker engine" in done.err
    assert repository.cli("hook", "run", "--strict").status == 2


def test_an_archive_is_audited_and_its_fix_puts_a_clean_one_in_its_place(repository: Repository) -> None:
    built = image(layer({"a.env": f"TOKEN={SECRET}\n"}), layer(whiteout("a.env")))
    built.docker_archive(repository.folder / "app.tar")
    (repository.folder / ".image-audit.yaml").write_text("images: [app.tar]\n")
    done = repository.cli("hook", "run")
    assert done.status == 1
    (fix,) = (line.partition("Fix: ")[2] for line in done.err.splitlines() if "Fix: " in line)
    subprocess.run(
        fix, shell=True, check=True, cwd=repository.folder, capture_output=True, env=repository.cli.environment
    )
    assert repository.cli("hook", "run").status == 0


def test_a_dockerfile_that_would_leak_stops_the_push(repository: Repository) -> None:
    (repository.folder / "Dockerfile").write_text(f"FROM scratch\nENV GITHUB_TOKEN={SECRET}\n")
    (repository.folder / ".image-audit.yaml").write_text("dockerfiles: [Dockerfile]\n")
    done = repository.cli("hook", "run")
    assert done.status == 1 and SECRET not in done.err
    assert "Dockerfile:2: secret-in-env: " in done.err and "Fix: " in done.err
    (repository.folder / "Dockerfile").write_text("FROM scratch\nENV A=b\n")
    assert repository.cli("hook", "run").status == 0


def test_what_the_baseline_knows_stops_no_push(repository: Repository) -> None:
    image(layer({"a.env": f"TOKEN={SECRET}\n"})).docker_archive(repository.folder / "app.tar")
    config = repository.folder / ".image-audit.yaml"
    config.write_text("images: [app.tar]\n")
    assert repository.cli("hook", "run").status == 1
    repository.cli("scan", "app.tar", "--write-baseline", "known.yaml")
    config.write_text("images: [app.tar]\nbaseline: known.yaml\n")
    assert repository.cli("hook", "run").status == 0


def test_without_a_config_there_is_nothing_to_do(repository: Repository) -> None:
    repository.cli("hook", "install")
    done = repository.push()
    assert done.returncode == 0
    assert done.stderr == "image-audit: no .image-audit.yaml here: nothing to audit\n"


def test_a_config_in_error_stops_the_push(repository: Repository) -> None:
    (repository.folder / ".image-audit.yaml").write_text("image: [a]\n")
    repository.cli("hook", "install")
    done = repository.push()
    assert done.returncode != 0 and ".image-audit.yaml:1: unknown key 'image'; did you mean 'images'?" in done.stderr


def test_skip_and_no_verify_let_a_push_pass(repository: Repository) -> None:
    (repository.folder / ".image-audit.yaml").write_text("image: [a]\n")
    repository.cli("hook", "install")
    assert repository.push(SKIP="others").returncode != 0
    assert repository.push(SKIP="ruff, image-audit").returncode == 0
    repository.commit("more", "two\n")
    assert repository.push("--no-verify", "main").returncode == 0


def test_a_push_that_only_deletes_is_not_audited(repository: Repository) -> None:
    assert repository.push("main:a", "main:b").returncode == 0
    (repository.folder / ".image-audit.yaml").write_text("image: [a]\n")
    repository.cli("hook", "install")
    assert repository.push(":a").returncode == 0
    assert repository.push(":b", "main:c").returncode != 0


def test_refs_are_told_apart_from_deletions() -> None:
    gone, new = f"(delete) {'0' * 40} refs/heads/a {'1' * 40}\n", f"refs/heads/a {'1' * 64} refs/heads/a {'0' * 64}\n"
    assert deletes_only([gone, gone.replace("0" * 40, "0" * 64)])
    assert not deletes_only([gone, new])
    assert not deletes_only([])


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
def test_an_image_that_was_clean_is_not_read_again_until_a_setting_changes(
    repository: Repository, engine: str, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine)
    built = image(layer({"motd": "hello\n"}), names=images[:1])
    docker("load", "-i", str(built.docker_archive(repository.folder / "loaded.tar")))
    config, read = repository.folder / ".image-audit.yaml", list[str]()

    def counted(target: str, *rest: Any) -> Iterator[Audit | Failure]:
        read.append(target)
        return audit_each(target, *rest)

    monkeypatch.setattr(hook, "audit_each", counted)
    with (
        closing(LayerStore(repository.folder / "cache", pytest.fail)) as store,
        closing(Scanner(Ruleset(()))) as scanner,
    ):
        for more, reads in (("", 1), ("", 1), ("fail_on: low\n", 2), ("fail_on: low\n", 2)):
            config.write_text(f"images: ['{images[0]}']\n{more}")
            options = resolve(HookOptions, load_config(config))
            assert hook.run_hook(options, scanner, Selection(), store).missing == ()
            assert len(read) == reads
