"""`image-audit init`: what it finds, writes, asks, and leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from auditor.config.file import load_config
from auditor.config.project_files import find_project_files, own_images
from auditor.config.starter_file import starter_text
from tests.cli.test_manners import Terminal
from tests.conftest import Cli
from tests.dockerfile.conftest import write

FILES = {
    "Dockerfile": "FROM busybox\n",
    "docker/web.Dockerfile": "ARG A\nfrom busybox\n",
    "Containerfile.test": "FROM busybox\n",
    "Dockerfile.md": "FROM here on\n",
    "other/Dockerfile": "no instruction\n",
    "node_modules/x/Dockerfile": "FROM x\n",
    "compose.yaml": "services:\n  web: {build: ., image: 'team/web:1'}\n  db: {image: postgres}\n",
    "deploy/docker-compose.prod.yml": "services: {a: {build: ., image: '${IMAGE}'}, b: [1]}\n",
}


@pytest.fixture
def repository(cli: Cli) -> Path:
    write(cli.folder, FILES)
    subprocess.run(["git", "init", "-q"], cwd=cli.folder, env=cli.environment, check=True)
    return cli.folder


def test_dockerfiles_compose_files_and_images_are_found(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "link").symlink_to(tmp_path / "docker")
    found = find_project_files(tmp_path)
    assert found.dockerfiles == ("Containerfile.test", "Dockerfile", "docker/web.Dockerfile")
    assert found.compose_files == ("compose.yaml", "deploy/docker-compose.prod.yml")
    assert found.images == ("team/web:1",) and not found.truncated


def test_a_hostile_compose_file_is_passed_over(tmp_path: Path) -> None:
    laughs = "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*{'a' if not n else f'b{n - 1}'}, *a]\n" for n in range(200))
    write(tmp_path, {"compose.yaml": laughs + "services: *b199\n", "docker-compose.yml": "[" * 100_000})
    assert find_project_files(tmp_path).images == ()


def test_a_pipe_and_a_huge_file_are_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "Dockerfile")
    os.mkfifo(tmp_path / "compose.yml")
    write(tmp_path, {"compose.yaml": "services: {a: {build: ., image: a}}\n"})
    with (tmp_path / "compose.yaml").open("r+") as file:
        file.truncate(1 << 30)
    found = find_project_files(tmp_path)
    assert (found.dockerfiles, found.compose_files, found.images) == ((), ("compose.yaml",), ())


def test_many_files_are_bounded(tmp_path: Path) -> None:
    write(tmp_path, {f"d{number}/Dockerfile": "FROM x\n" for number in range(60)})
    found = find_project_files(tmp_path)
    assert len(found.dockerfiles) == 50 and found.truncated


def test_images_of_the_folder_are_known_by_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "My.App"
    folder.mkdir()
    tags = (
        "myapp:1",
        "myapp-web:latest",
        "r.example.com:5000/team/myapp:2",
        "r.example.com:5000/team/myapp:3",
        "your:1",
    )
    assert own_images(tags, folder) == ("myapp:1", "myapp-web:latest", "r.example.com:5000/team/myapp:*")


def test_the_file_is_valid_for_any_names(tmp_path: Path) -> None:
    path = tmp_path / ".image-audit.yaml"
    path.write_text(starter_text(["a:*", "b: c"], ["x/Dockerfile #1", "ü"]))
    config = load_config(path)
    assert config.images == ("a:*", "b: c") and config.fail_on == "high"
    assert [file.name for file in config.dockerfiles] == ["Dockerfile #1", "ü"]
    for line in path.read_text().splitlines():
        if line.startswith("# ") and line[2:].startswith(("baseline:", "exclude:", "hook:")):
            path.write_text(line[2:] if not line.endswith("exclude:") else "exclude: {}")
            load_config(path)


def test_without_a_terminal_the_config_alone_is_written(cli: Cli, repository: Path) -> None:
    (repository / ".github").mkdir()
    done = cli("init")
    assert done.status == 0 and done.err == ""
    assert done.out.splitlines() == [
        "found: 3 Dockerfiles, 2 compose files, no engine",
        ".image-audit.yaml: written; images: team/web:1, "
        "Dockerfiles: Containerfile.test, Dockerfile, docker/web.Dockerfile",
        "Next:",
        "  image-audit scan team/web:1",
        "  image-audit dockerfile Containerfile.test",
        "  image-audit hook install",
    ]
    assert not (repository / ".git/hooks/pre-push").exists() and not list((repository / ".github").iterdir())
    assert "team/web:1" in cli("config", "show").out


@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_yes_accepts_the_hook_and_the_ci_file(cli: Cli, repository: Path, system: str) -> None:
    write(repository, {".github/x": ""} if system == "github" else {".gitlab-ci.yml": ""})
    done = cli("init", "--yes")
    path = ".github/workflows/image-audit.yml" if system == "github" else ".gitlab/image-audit.gitlab-ci.yml"
    assert f"{path}: written\n" in done.out and "hooks/pre-push: installed\n" in done.out
    assert f"  set IMAGE_AUDIT in {path}" in done.out
    document = yaml.safe_load((repository / path).read_text())
    shown = str(document)
    assert "pip install" in shown and "git+https://" in shown and "image-audit scan" in shown


def test_the_hook_is_a_next_step_in_a_repository_alone_and_until_it_is_installed(cli: Cli, repository: Path) -> None:
    assert cli("init", "--hook").out.endswith("  image-audit hook run\n")
    assert cli("init", "--no-hook").out.endswith("  image-audit hook run\n")
    subprocess.run(["rm", "-r", repository / ".git"], check=True)
    assert "hook" not in cli("init").out.partition("Next:")[2]


def test_nothing_is_overwritten(cli: Cli, repository: Path) -> None:
    write(repository, {".image-audit.yaml": "fail_on: low\n", ".github/workflows/image-audit.yml": "on: x\n"})
    done = cli("init", "--no-hook", "--ci", "github")
    assert ".image-audit.yaml: exists, not changed\n" in done.out
    assert ".github/workflows/image-audit.yml: exists, not changed\n" in done.out
    assert (repository / ".image-audit.yaml").read_text() == "fail_on: low\n"
    assert (repository / ".github/workflows/image-audit.yml").read_text() == "on: x\n"


def test_a_link_out_of_the_repository_is_not_followed(cli: Cli, repository: Path) -> None:
    outside = repository.parent / "outside"
    outside.mkdir()
    (repository / ".github").symlink_to(outside)
    done = cli("init", "--ci", "github")
    assert done.status == 2 and "a symbolic link leads out of" in done.err and not list(outside.iterdir())
    (repository / ".github").unlink()
    for link, reason in ((outside / "missing", "leads out of"), (Path(".github"), "can't be written")):
        (repository / ".github").symlink_to(link)
        assert reason in cli("init", "--ci", "github").err
        (repository / ".github").unlink()
    (repository / ".image-audit.yaml").unlink()
    (repository / ".image-audit.yaml").symlink_to(outside / "config")
    assert ".image-audit.yaml: exists, not changed" in cli("init").out and not (outside / "config").exists()


def test_on_a_terminal_it_asks(cli: Cli, repository: Path) -> None:
    (repository / ".github").mkdir()
    with Terminal([sys.executable, "-m", "auditor", "init"], cli.environment, repository) as terminal:
        terminal.wait_for("Install the git pre-push hook")
        terminal.type("y\n")
        terminal.wait_for("Write a CI file, .github/workflows/image-audit.yml? [y/N] ")
        terminal.type("\n")
        terminal.wait_for("image-audit hook run")
    assert (repository / ".git/hooks/pre-push").exists() and not list((repository / ".github").iterdir())


def test_misuse_and_a_broken_config_are_told(cli: Cli) -> None:
    assert "--yes and --no-input exclude each other" in cli("init", "--yes", "--no-input").err
    done = cli("init", "--hook")
    assert done.status == 2 and "not a git repository" in done.err and not list(cli.folder.iterdir())
    write(cli.folder, {".image-audit.yaml": "fail_onn: low\n"})
    done = cli("init")
    assert done.status == 2 and "did you mean 'fail_on'" in done.err
