"""Manners of a command-line program: completion, the manual, colours, quiet, closed pipes, signals."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest

from auditor import __version__
from auditor.cli import cache, main
from auditor.cli.signals import Terminated
from auditor.core.output_file import open_output
from auditor.detect.detect_secrets_plugins import plugin_rules
from auditor.detect.rules import Ruleset, builtin_rules
from tests.conftest import Cli, require
from tests.images import image, layer, story, whiteout
from tools.commands_page import page
from tools.manual import manual

STORY, SECRET = story(41)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def archive(cli: Cli) -> Path:
    return STORY.docker_archive(cli.folder / "layer2.tar")


@pytest.fixture
def large(cli: Cli) -> Path:
    """An archive that takes a while, with a secret to remove."""
    noise = os.urandom(1 << 20)
    built = image(*(layer({f"noise{at}": noise * 60}) for at in range(3)), *STORY.layers[1:], layer(whiteout("noise0")))
    return built.docker_archive(cli.folder / "large.tar")


def test_the_version_names_the_rules_of_a_scan(cli: Cli, archive: Path, ruleset: Ruleset) -> None:
    done = cli("--version")
    count = len((*builtin_rules(), *plugin_rules()))
    assert done.out == f"image-audit {__version__}, rules {ruleset.digest[:19]} ({count:,})\n"
    assert cli("scan", archive, "--format", "json").json["tool"]["ruleset"] == ruleset.digest


class TestCompletion:
    @pytest.fixture
    def shell(self, cli: Cli) -> dict[str, str]:
        """An environment in which `image-audit` is a command."""
        folder = cli.folder / "bin"
        folder.mkdir()
        program = folder / "image-audit"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m auditor "$@"\n')
        program.chmod(0o755)
        (cli.folder / "archive.tar").touch()
        return {**cli.environment, "PATH": f"{folder}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "$ "}

    CASES = (
        ("image-audit sc", "scan"),
        ("image-audit scan --format sa", "sarif"),
        ("image-audit scan --rule github-p", "github-pat"),
        ("image-audit rules sh", "show"),
        ("image-audit scan arc", "archive.tar"),
    )

    @pytest.mark.parametrize(("typed", "completed"), CASES)
    @pytest.mark.parametrize(
        "start",
        [
            ["bash", "--norc", "--noprofile", "-i"],
            ["zsh", "-f", "-i"],
        ],
        ids=["bash", "zsh"],
    )
    def test_a_tab_completes(
        self, cli: Cli, shell: dict[str, str], start: list[str], typed: str, completed: str
    ) -> None:
        require(shutil.which(start[0]) is not None, start[0])
        setup = 'eval "$(image-audit completion %s)"; echo rea""dy\n' % start[0]  # noqa: UP031
        if start[0] == "zsh":
            setup = "autoload -U compinit; compinit -u -D; " + setup
        with Terminal(start, shell, cli.folder) as terminal:
            terminal.type(setup)
            terminal.wait_for("ready")
            terminal.type(typed + "\t")
            terminal.wait_for(typed.rpartition(" ")[0] + " " + completed)

    @pytest.mark.parametrize(("typed", "completed"), CASES)
    def test_fish_completes(self, cli: Cli, shell: dict[str, str], typed: str, completed: str) -> None:
        require(shutil.which("fish") is not None, "fish")
        script = f'image-audit completion fish | source; complete -C "{typed}"'
        done = subprocess.run(
            ["fish", "--no-config", "-c", script], capture_output=True, text=True, env=shell, cwd=cli.folder, check=True
        )
        assert completed in [line.partition("\t")[0] for line in done.stdout.splitlines()]

    def test_an_unknown_shell_is_refused(self, cli: Cli) -> None:
        done = cli("completion", "tcsh")
        assert done.status == 2 and "'tcsh' is not one of" in done.err and len(done.err.splitlines()) == 1


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self._end, other = pty.openpty()
        self._process = subprocess.Popen(
            command, stdin=other, stdout=other, stderr=other, env=environment, cwd=folder, start_new_session=True
        )
        os.close(other)
        self.seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._end)

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def wait_for(self, text: str, limit_s: float = 60) -> None:
        deadline = time.monotonic() + limit_s
        while text not in self.seen:
            ready, _, _ = select.select([self._end], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self._end, 4096).decode(errors="replace").replace("\a", "")

    def read_all(self) -> str:
        try:
            while block := os.read(self._end, 4096):
                self.seen += block.decode(errors="replace")
        except OSError:  # the program has ended
            pass
        return self.seen


class TestManual:
    def test_the_page_that_ships_is_that_of_the_commands(self) -> None:
        assert (ROOT / "man/image-audit.1").read_text() == manual(), "`make docs` makes it"
        assert (ROOT / "docs/commands.md").read_text() == page(), "`make docs` makes it"

    def test_it_is_roff_without_a_fault_and_holds_every_command(self, tmp_path: Path) -> None:
        require(shutil.which("groff") is not None, "groff")
        page = tmp_path / "page.1"
        page.write_text(manual())
        done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", page], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        shown = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
        for text in (
            "NAME",
            "SYNOPSIS",
            "image-audit scan [OPTIONS] TARGET...",
            "--fail-on",
            "rules check",
            "NO_COLOR",
        ):
            assert text in shown
        assert "SIGTERM. No partial file" in " ".join(shown.split())


class TestColours:
    def table(self, cli: Cli, archive: Path, **more: str) -> str:
        command = [sys.executable, "-m", "auditor", "scan", str(archive)]
        environment = {**cli.environment, "TERM": "xterm-256color", **more}
        with Terminal(command, environment, cli.folder) as terminal:
            return terminal.read_all()

    def test_a_terminal_gets_colours(self, cli: Cli, archive: Path) -> None:
        assert "\x1b[1;37;41mCRITICAL" in self.table(cli, archive)

    def test_no_color_is_heeded_by_table_and_progress(self, cli: Cli, archive: Path) -> None:
        text = self.table(cli, archive, NO_COLOR="1")
        assert "CRITICAL" in text and not re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m|\x1b\[[0-9;]*4[0-9]m", text)

    def test_a_pipe_gets_none(self, cli: Cli, archive: Path) -> None:
        assert "\x1b" not in cli("scan", archive).out


def test_quiet_says_nothing_but_errors(cli: Cli, archive: Path) -> None:
    done = cli("scan", archive, "--quiet", "-v")
    assert (done.status, done.out, done.err) == (1, "", "")
    assert cli("scan", "--quiet", "nothing.tar").err.startswith("image-audit: nothing.tar")


@pytest.mark.parametrize("command", ["scan layer2.tar", "scan layer2.tar --format sarif", "rules list", "--help"])
def test_a_closed_pipe_is_silent(cli: Cli, archive: Path, command: str) -> None:
    line = f"{sys.executable} -m auditor {command} | head -c 1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, env=cli.environment, cwd=cli.folder, check=False)
    assert (len(done.stdout), done.stderr) == (1, b"")


@pytest.mark.parametrize("error", [EOFError, ZeroDivisionError])
def test_a_fault_of_the_program_is_exit_code_2_whatever_it_is(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("of a file")

    monkeypatch.setattr(cache, "LayerStore", fail)
    with pytest.raises(SystemExit, match="2"):
        main(["cache", "info"])
    assert (
        capsys.readouterr().err.lstrip().startswith(f"image-audit: internal error: {error.__name__}; please report it")
    )


class TestSignals:
    @pytest.mark.parametrize(
        ("number", "said"),
        [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated"), (signal.SIGHUP, "terminated")],
    )
    @pytest.mark.parametrize("command", ["scan large.tar -o report.json", "flatten large.tar -o flat.tar"])
    def test_it_says_so_and_leaves_nothing(
        self, cli: Cli, large: Path, command: str, number: signal.Signals, said: str
    ) -> None:
        before = set(cli.folder.iterdir())
        process = self.busy_process(cli, command)
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err.strip()) == (128 + number, "", f"image-audit: {said}")
        assert set(cli.folder.iterdir()) == before

    def test_a_file_is_there_whole_or_not_at_all(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        for before in (None, b"old"):
            if before is not None:
                path.write_bytes(before)
            with pytest.raises(KeyboardInterrupt), open_output(path, 0o600) as out:
                out.write(b"half")
                out.flush()
                raise KeyboardInterrupt
            assert {item: item.read_bytes() for item in tmp_path.iterdir()} == ({path: before} if before else {})

    def test_a_device_is_not_replaced_by_a_file(self, cli: Cli, archive: Path) -> None:
        pipe = cli.folder / "pipe"
        os.mkfifo(pipe)
        done = cli("recover", archive, "/secret.txt", "-o", pipe, "--force")
        assert done.status == 2 and "not a regular file" in done.err and pipe.is_fifo()

    def test_a_signal_whose_exception_is_suppressed_still_ends_the_run(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def suppress(*_: object, **__: object) -> None:
            with contextlib.suppress(Terminated):
                os.kill(os.getpid(), signal.SIGTERM)

        def end(status: int) -> NoReturn:
            raise SystemExit(status)

        monkeypatch.setattr(cache, "LayerStore", suppress)
        monkeypatch.setattr(os, "_exit", end)
        with pytest.raises(SystemExit, match="143"):
            main(["cache", "clear"])
        assert capsys.readouterr().err.endswith("image-audit: terminated\n")

    def busy_process(self, cli: Cli, command: str) -> subprocess.Popen[str]:
        """Return a process that was stopped in the middle of a command."""
        for _ in range(5):
            process = subprocess.Popen(
                [sys.executable, "-m", "auditor", *command.split()],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cli.environment, cwd=cli.folder, text=True,
            )  # fmt: skip
            if self.is_stopped_when_busy(process, cli.folder if "flatten" in command else None):
                return process
            process.communicate()  # it was faster than this
            for output in ("report.json", "flat.tar"):
                (cli.folder / output).unlink(missing_ok=True)
        pytest.fail("it was never busy")

    def is_stopped_when_busy(self, process: subprocess.Popen[str], folder: Path | None) -> bool:
        """Stop a process when the archive is open, and where a folder is given, a temporary one is in it."""
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            try:
                opened = [os.path.realpath(path) for path in Path(f"/proc/{process.pid}/fd").iterdir()]
            except FileNotFoundError:  # it is done
                break
            hidden = folder is None or any(path.name.startswith(".image-audit-") for path in folder.iterdir())
            if hidden and any(path.endswith("large.tar") for path in opened):
                process.send_signal(signal.SIGSTOP)
                state = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                return state is not None and state.si_code == os.CLD_STOPPED
            time.sleep(0.01)
        process.kill()
        return False
