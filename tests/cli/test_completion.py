"""Completion of image names in each shell, and the plugin of the docker command."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.shell_completion import get_completion_class

from auditor.cli import PROGRAM, completion, group
from auditor.cli.docker_plugin import NAME as PLUGIN
from tests.cli.test_manners import Terminal
from tests.conftest import Cli, docker, require
from tests.images import image, layer, with_names

pytestmark = pytest.mark.xdist_group("completion")  # one engine has one image of a name
IMAGE = "image-audit-completion/app"
Answer = Callable[[str, str, str], str]
"""Answer of the command to a shell, the words of a line, and COMP_CWORD."""


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
def answer(cli: Cli, tagged: str, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Completion in this process, with time for an engine of a busy machine."""
    monkeypatch.chdir(cli.folder)
    monkeypatch.setenv("DOCKER_HOST", tagged)
    monkeypatch.setattr(completion, "_ENGINE_TIMEOUT_S", 60)

    def ask(shell: str, words: str, word: str) -> str:
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", word)
        kind = get_completion_class(shell)
        assert kind is not None
        return kind(group, {}, PROGRAM, "_IMAGE_AUDIT_COMPLETE").complete()

    return ask


class Shell:
    """A folder with the completion script of a shell, and a program `image-audit` that gives an answer at once.

    The answer is that of the real command to the same words, which the program writes down.
    """

    def __init__(self, cli: Cli, answer: Answer, name: str, words: str, word: str) -> None:
        self.folder, self.words = cli.folder, f"{words}|{word}"
        (cli.folder / "script").write_text(cli("completion", name).out)
        (cli.folder / "answer").write_text(answer(name, words, word) + "\n")
        program = cli.folder / "bin" / "image-audit"
        program.parent.mkdir()
        program.write_text('#!/bin/sh\ncat answer; echo "$COMP_WORDS|$COMP_CWORD" > asked\n')
        program.chmod(0o755)
        path = f"{program.parent}:{os.environ['PATH']}"
        self.environment = {**cli.environment, "PATH": path, "TERM": "dumb", "PS1": "$ "}

    @property
    def asked(self) -> str:
        """The words that the shell asked for."""
        return " ".join((self.folder / "asked").read_text().split())


@pytest.mark.parametrize("start", [["bash", "--norc", "--noprofile", "-i"], ["zsh", "-f", "-i"]], ids=["bash", "zsh"])
def test_a_tab_completes_images_and_tags(cli: Cli, answer: Answer, start: list[str]) -> None:
    require(shutil.which(start[0]) is not None, start[0])
    line = f"image-audit scan docker-daemon:{IMAGE}:1.2"
    shell = Shell(cli, answer, start[0], line, "2")
    setup = 'source ./script; echo rea""dy\n'
    if start[0] == "zsh":
        setup = "autoload -U compinit; compinit -u -D; " + setup
    with Terminal(start, shell.environment, cli.folder) as terminal:
        terminal.type(setup)
        terminal.wait_for("ready")
        terminal.type(line + "\t")
        terminal.wait_for(f"{line} ")
    assert shell.asked == shell.words


def test_fish_completes_images_and_tags(cli: Cli, answer: Answer) -> None:
    require(shutil.which("fish") is not None, "fish")
    line, word = f"image-audit scan {IMAGE}:1.", f"{IMAGE}:1."
    shell = Shell(cli, answer, "fish", line, word)
    command = ["fish", "--no-config", "-c", f'source ./script; complete -C "{line}"']
    done = subprocess.run(command, capture_output=True, text=True, env=shell.environment, cwd=cli.folder, check=True)
    assert done.stdout.split() == [f"{IMAGE}:1.2", f"{IMAGE}:1.3"] and shell.asked == shell.words


def complete(cli: Cli, typed: str, **more: str) -> str:
    words = f"image-audit scan {typed}"
    done = cli(_IMAGE_AUDIT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="2", **more)
    assert done.err == ""
    return done.out


def test_files_are_listed_beside_images(cli: Cli, answer: Answer) -> None:
    (cli.folder / f"{IMAGE.partition('/')[0]}.tar").touch()
    expected = [f"plain,{IMAGE}:1.2", f"plain,{IMAGE}:1.3", "plain,image-audit-completion.tar"]
    assert answer("bash", "image-audit scan image-audit-compl", "2").splitlines() == expected


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

    def test_docker_runs_a_scan(self, installed: dict[str, str], tmp_path: Path) -> None:
        name = f"image-audit-plugin-{os.getpid()}/app:1"
        docker("load", "-i", str(with_names(image(layer({"a": name})), name).docker_archive(tmp_path / "app.tar")))
        done = self.run(installed, "imageaudit", "scan", name)
        docker("rmi", name)
        assert done.returncode == 0 and done.stdout.startswith(f"{name}  docker-daemon"), done.stderr

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
