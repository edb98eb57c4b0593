"""Completion of image names in each shell, and the plugin of the docker command."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor.cli.docker_plugin import NAME as PLUGIN
from tests.cli.test_manners import Terminal
from tests.conftest import Cli, docker, require

IMAGE = "image-audit-completion/app"
TRIES = 20
"""Completion leaves images out if the engine takes more than a second, as on a busy machine."""


@pytest.fixture(scope="module")
def tagged(engine: str) -> Iterator[str]:
    """The address of an engine with an empty image of two tags."""
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    done = subprocess.run(
        ["docker", "-H", engine, "import", "-", f"{IMAGE}:1.2"], input=empty.getvalue(), capture_output=True, check=True
    )
    docker("-H", engine, "tag", f"{IMAGE}:1.2", f"{IMAGE}:1.3")
    yield engine
    docker("-H", engine, "rmi", "-f", done.stdout.decode().strip())


@pytest.fixture
def shell(cli: Cli, tagged: str) -> dict[str, str]:
    """An environment in which `image-audit` is a command and an engine answers."""
    folder = cli.folder / "bin"
    folder.mkdir()
    program = folder / "image-audit"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m auditor "$@"\n')
    program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    return {**cli.environment, "DOCKER_HOST": tagged, "PATH": path, "TERM": "dumb", "PS1": "$ "}


@pytest.mark.parametrize("start", [["bash", "--norc", "--noprofile", "-i"], ["zsh", "-f", "-i"]], ids=["bash", "zsh"])
def test_a_tab_completes_images_and_tags(cli: Cli, shell: dict[str, str], start: list[str]) -> None:
    require(shutil.which(start[0]) is not None, start[0])
    (cli.folder / "script").write_text(cli("completion", start[0]).out)
    setup = 'source ./script; echo rea""dy\n'
    if start[0] == "zsh":
        setup = "autoload -U compinit; compinit -u -D; " + setup
    with Terminal(start, shell, cli.folder) as terminal:
        terminal.type(setup)
        terminal.wait_for("ready")
        terminal.type(f"image-audit scan docker-daemon:{IMAGE}:1.2")
        for _ in range(TRIES):
            terminal.type("\t")
            with contextlib.suppress(AssertionError):
                terminal.wait_for(f"image-audit scan docker-daemon:{IMAGE}:1.2 ", limit_s=5)
                return
    pytest.fail(f"not completed: {terminal.seen!r}")


def test_fish_completes_images_and_tags(cli: Cli, shell: dict[str, str]) -> None:
    require(shutil.which("fish") is not None, "fish")
    (cli.folder / "script").write_text(cli("completion", "fish").out)
    script = f'source ./script; complete -C "image-audit scan {IMAGE}:1."'
    command = ["fish", "--no-config", "-c", script]
    expected = [f"{IMAGE}:1.2", f"{IMAGE}:1.3"]
    assert expected in (
        subprocess.run(command, capture_output=True, text=True, env=shell, cwd=cli.folder, check=True).stdout.split()
        for _ in range(TRIES)
    )


def complete(cli: Cli, typed: str, **more: str) -> str:
    words = f"image-audit scan {typed}"
    done = cli(_IMAGE_AUDIT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="2", **more)
    assert done.err == ""
    return done.out


def test_files_are_listed_beside_images(cli: Cli, tagged: str) -> None:
    (cli.folder / f"{IMAGE.partition('/')[0]}.tar").touch()
    expected = [f"plain,{IMAGE}:1.2", f"plain,{IMAGE}:1.3", "plain,image-audit-completion.tar"]
    assert expected in (complete(cli, "image-audit-compl", DOCKER_HOST=tagged).splitlines() for _ in range(TRIES))


def test_without_an_engine_files_are_completed_and_nothing_is_said(cli: Cli) -> None:
    assert complete(cli, "a") == "file,a\n"
    (cli.folder / "silent").touch()
    assert complete(cli, "a", DOCKER_HOST=f"unix://{cli.folder}/silent") == "file,a\n"


class TestDockerPlugin:
    @pytest.fixture
    def installed(self, cli: Cli, engine: str) -> dict[str, str]:
        done = cli("completion", "--docker-plugin")
        path = Path(cli.environment["DOCKER_CONFIG"]) / "cli-plugins" / PLUGIN
        assert (done.status, done.out) == (0, f"{path}: installed; try `docker imageaudit --help`\n")
        return {**cli.environment, "DOCKER_HOST": engine}

    def run(self, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, env=environment, check=False)

    def test_docker_runs_a_scan(self, installed: dict[str, str], tagged: str) -> None:
        done = self.run(installed, "imageaudit", "scan", f"{IMAGE}:1.2")
        assert done.returncode == 0 and done.stdout.startswith(f"{IMAGE}:1.2  docker-daemon"), done.stderr

    def test_the_exit_code_and_the_message_are_passed_on(self, installed: dict[str, str]) -> None:
        done = self.run(installed, "-H", "unix:///nowhere/s", "imageaudit", "scan", "docker-daemon:app")
        assert done.returncode == 2 and "/nowhere/s does not exist" in done.stderr
        done = self.run(installed, "--tlscacert", "x", "imageaudit", "cache", "info")
        assert done.returncode == 2 and "docker's option --tlscacert is not supported" in done.stderr

    def test_docker_lists_it_and_shows_its_help(self, installed: dict[str, str]) -> None:
        assert "imageaudit*" in self.run(installed, "--help").stdout
        for words in (("imageaudit", "--help"), ("help", "imageaudit")):
            assert "Find secrets that can still be read" in self.run(installed, *words).stdout
        assert "Usage: image-audit scan" in self.run(installed, "help", "imageaudit", "scan").stdout

    def test_it_is_replaced_but_a_file_of_somebody_else_is_not(self, cli: Cli) -> None:
        plugin = cli.folder / "own" / "plugins" / PLUGIN
        assert [cli("completion", "--docker-plugin", "--dir", plugin.parent).status for _ in range(2)] == [0, 0]
        assert plugin.stat().st_mode & 0o777 == 0o755
        plugin.write_text("#!/bin/sh\n")
        done = cli("completion", "--docker-plugin", "--dir", plugin.parent)
        assert done.status == 2 and "is another file" in done.err and plugin.read_text() == "#!/bin/sh\n"

    @pytest.mark.parametrize("words", [[], ["bash", "--docker-plugin"], ["bash", "--dir", "."]])
    def test_a_shell_or_the_plugin_is_needed(self, cli: Cli, words: list[str]) -> None:
        assert cli("completion", *words).status == 2
