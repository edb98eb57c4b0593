"""Hard times: what fails in the machine ends in one line, or goes unnoticed where it does not matter."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.limits import Limits
from auditor.unpack import isolated
from tests.conftest import Cli
from tests.images import story
from tests.unpack.opened import opened
from tests.unpack.test_archives import seven_zipped

STORY, SECRET = story(77)


@pytest.fixture
def archive(cli: Cli) -> Path:
    return STORY.docker_archive(cli.folder / "layer2.tar")


def limited(cli: Cli, limits: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command under limits of the shell."""
    command = f'{limits}; exec "$@"'
    return subprocess.run(
        ["bash", "-c", command, "bash", sys.executable, "-m", "auditor", *map(str, arguments)],
        capture_output=True, text=True, env=cli.environment, cwd=cli.folder, check=False, timeout=120,
    )  # fmt: skip


def test_a_full_disk_leaves_no_half_report(cli: Cli, archive: Path) -> None:
    done = limited(cli, "trap '' XFSZ; ulimit -f 1", "scan", archive, "-q", "--no-cache", "-o", "report.html")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "report.html" in done.stderr
    assert not (cli.folder / "report.html").exists()


def test_without_a_home_it_scans_all_the_same(cli: Cli, archive: Path) -> None:
    cli.environment.pop("XDG_CACHE_HOME")
    cli.environment["HOME"] = "/nonexistent"
    assert cli("scan", archive, "-q").status == 1


def test_few_open_files_are_enough(cli: Cli, archive: Path) -> None:
    assert limited(cli, "ulimit -n 32", "scan", archive, "-q").returncode == 1


def test_too_little_memory_is_one_line(cli: Cli, archive: Path) -> None:
    done = limited(cli, "ulimit -v 200000", "scan", archive, "-q", "--no-cache")
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr


def test_a_closed_standard_output_is_no_traceback(cli: Cli, archive: Path) -> None:
    done = limited(cli, "exec >&-", "scan", archive)
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 1


def test_an_archive_that_shrinks_while_it_is_listed_is_said(cli: Cli, archive: Path) -> None:
    from auditor.errors import Damaged
    from auditor.images.archive import read_images
    from auditor.images.manifest import Origin
    from auditor.images.source import HeldFile

    class Shrunk(HeldFile):
        @property
        def size(self) -> int:
            return archive.stat().st_size + (4 << 20)

    held = Shrunk(os.open(archive, os.O_RDONLY))
    with archive.open("r+b") as file:
        file.truncate(1024)
    with pytest.raises(Damaged):
        read_images(held, Origin("a", "docker-archive", None), None, None)


def test_reports_with_whole_secrets_are_for_the_user_alone(cli: Cli, archive: Path) -> None:
    cli("scan", archive, "-q", "--show-secrets", "-o", "report.json")
    assert stat.S_IMODE((cli.folder / "report.json").stat().st_mode) == 0o600
    assert SECRET in (cli.folder / "report.json").read_text()


@pytest.mark.parametrize(
    "begin",
    ["from auditor.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass",
     "from auditor.unpack.worker import limit\nlimit(640 << 20)"],
    ids=["the program", "its reader of foreign formats"],
)  # fmt: skip
def test_core_dumps_are_off(begin: str) -> None:
    """Neither as a file, which the limit forbids, nor through a pipe, which the kernel asks the other flag for."""
    code = (
        "import ctypes, os, resource, signal\nresource.setrlimit(resource.RLIMIT_CORE, (-1, -1))\n"
        f"{begin}\nassert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\n"
        "assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0  # PR_GET_DUMPABLE\nos.kill(os.getpid(), signal.SIGSEGV)"
    )
    null = os.open(os.devnull, os.O_WRONLY)
    quiet = [(os.POSIX_SPAWN_DUP2, null, 1)]
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ, file_actions=quiet)
    _, status = os.waitpid(child, 0)
    os.close(null)
    assert os.WTERMSIG(status) == signal.SIGSEGV and not os.WCOREDUMP(status)


class TestIsolation:
    DATA = seven_zipped({"a": b"hello" * 20})

    def test_a_reader_that_dies_is_a_line_and_the_next_file_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        taken = isolated._WORKERS.take(Limits().reader_memory)
        os.kill(taken._process.pid, signal.SIGKILL)
        taken._process.wait()
        isolated._WORKERS.give_back(taken)
        found = opened("a.7z", self.DATA)
        assert not found.pieces and "its reader ended with signal 9" in found.notes[0][1]
        assert opened("a.7z", self.DATA).members == ["a"]

    def test_a_reader_may_neither_write_nor_take_memory_without_end(self) -> None:
        code = (
            "from auditor.unpack.worker import limit\nlimit(640 << 20)\nimport resource\n"
            "assert resource.getrlimit(resource.RLIMIT_FSIZE) == (0, 0)\n"
            "try:\n    bytes(640 << 20)\nexcept MemoryError:\n    print('bounded')"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "bounded\n"


def test_importing_the_program_asks_the_network_nothing() -> None:
    code = (
        "import socket\ndef refuse(*_, **__):\n    raise SystemExit('network')\n"
        "socket.socket.connect = refuse\nsocket.getaddrinfo = refuse\n"
        "import auditor.cli.scan, auditor.pipeline, auditor.scan, auditor.images.registry, auditor.images.daemon"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
