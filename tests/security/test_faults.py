"""Hard times: what fails in the machine ends in one line, or goes unnoticed where it does not matter."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from auditor.core.limits import DEFAULT, Limits
from auditor.extract import isolated_reader
from tests.conftest import Cli
from tests.extract.opened import opened
from tests.extract.test_archives import seven_zipped
from tests.images import story
from tests.nursery import Done
from tests.security.places import Place

STORY, SECRET = story(77)
JSON = "scan a.tar --format json"
# Python that runs before a command. Without capabilities root is held to the modes of files, as everybody is.
UNPRIVILEGED = "import ctypes\nctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())"
ALARM = (
    "import os, signal\nsignal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), {number}))\n"
    "signal.setitimer(signal.ITIMER_REAL, {after})"
)
JUMPS = (
    "import itertools, time\nown, jumps = time.time, itertools.cycle([0, 4e8, -4e8])\n"
    "time.time = lambda: own() + next(jumps)"
)
# The archive changes when its manifest was read, and its layers were not.
CHANGED = """
import auditor.images.archive as archive
own = archive.open_file
def read_images(*given, **more):
    found = own(*given, **more)
    with open("a.tar", "r+b") as out:
        {0}
    return found
archive.open_file = read_images
"""
SHORT = (
    "import resource\nhave = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
    "resource.setrlimit(resource.RLIMIT_AS, (have + {0}, have + {0}))"
)

ABORTED = 127  # by the C library, where there is no memory for a thread


def limited(name: str, value: int) -> str:
    """Python that sets a limit of the system."""
    return f"import resource\nresource.setrlimit(resource.RLIMIT_{name}, ({value}, {value}))"


@contextmanager
def no_writing(top: Path) -> Iterator[None]:
    """Take away the right to write to a folder and its files."""
    paths = [top, *(path for path in top.rglob("*") if not path.is_symlink())]
    modes = [(path, path.stat().st_mode) for path in paths]
    for path, mode in modes:
        path.chmod(mode & ~0o222)
    yield
    for path, mode in modes:
        path.chmod(mode)


@pytest.fixture
def archive(cli: Cli) -> Path:
    return STORY.docker_archive(cli.folder / "layer2.tar")


def one_line(done: Done) -> str:
    """What a failure says: a line, and no traceback."""
    lines = [line for line in done.err.decode().splitlines() if line.startswith("image-audit: ")]
    assert done.status == 2 and done.out == b"" and len(lines) == 1 and b"Traceback" not in done.err, done
    return lines[0]


def found(done: Done) -> object:
    """What a scan into JSON found."""
    assert done.status == 1, done
    return json.loads(done.out)["findings"]


class TestDisk:
    def test_a_full_disk_leaves_no_half_report(self, place: Place) -> None:
        done = place.run("scan a.tar -q --no-cache -o report.html", limited("FSIZE", 1024))
        assert "report.html" in one_line(done) and not (place.cli.folder / "report.html").exists()
        place.check(done)

    def test_a_disk_that_is_full_for_the_cache_alone_is_no_failure(self, place: Place) -> None:
        want = place.run(f"{JSON} --rule github-pat")
        done = place.run(f"{JSON} --rule github-pat --cache-dir none", limited("FSIZE", 0))
        assert found(done) == found(want)
        place.check(want, done)

    def test_a_full_disk_behind_standard_output_is_one_line(self, place: Place) -> None:
        done = place.run(JSON, "import os\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)")
        assert "No space left" in one_line(done)
        place.check(done)

    def test_a_cache_that_may_not_be_written_to_is_read_or_left_alone(self, place: Place) -> None:
        want = place.run(JSON)
        with no_writing(Path(place.cli.environment["XDG_CACHE_HOME"]) / "image-audit"):
            done = [place.run(JSON, UNPRIVILEGED), place.run("history a.tar", UNPRIVILEGED)]
        assert found(done[0]) == found(want) and done[1].status == 0
        place.check(want, *done)

    @pytest.mark.parametrize("size", [0, 1, 100, 4096, 5000, 20000])
    def test_a_cache_that_was_cut_is_made_anew(self, place: Place, size: int) -> None:
        want = place.run(JSON)
        (path,) = Path(place.cli.environment["XDG_CACHE_HOME"]).rglob("layers.sqlite")
        with path.open("r+b") as file:
            file.truncate(size)
        done = [place.run(JSON), place.run(JSON)]
        assert [found(one) for one in done] == [found(want)] * 2
        place.check(want, *done)

    @pytest.mark.parametrize("size", [1, 100, 4096, 9000])
    def test_a_store_that_was_cut_is_one_line(self, place: Place, size: int) -> None:
        store = "--store sqlite:///sweeps.sqlite"
        assert b"no finished sweep" in place.run(f"registry report {store}").err
        with (place.cli.folder / "sweeps.sqlite").open("r+b") as file:
            file.truncate(size)
        done = place.run(f"registry report {store}")
        assert "sweeps.sqlite" in one_line(done)
        place.check(done)


class TestPermission:
    @pytest.mark.parametrize("home", ["/proc/none", "", None])
    def test_without_a_home_it_scans_all_the_same(self, place: Place, home: str | None) -> None:
        for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "DOCKER_CONFIG", "HOME"):
            place.cli.environment.pop(name)
        before = "import pwd\npwd.getpwuid = {}.__getitem__"  # nor is one in the list of users
        if home is not None:
            place.cli.environment["HOME"], before = home, ""
        done = place.run("scan a.tar -q --rule github-pat", before + "\n" + UNPRIVILEGED)
        assert done.status == 1 and not done.out and len(done.err.splitlines()) <= 1, done
        place.check(done)

    @pytest.mark.parametrize("name", ["a.tar", ".image-audit.yaml", "own.yaml"])
    def test_what_may_not_be_read_is_named_in_one_line(self, place: Place, name: str) -> None:
        path = place.cli.folder / name
        path.chmod(0)
        done = place.run("scan a.tar --rules own.yaml --rule own", UNPRIVILEGED)
        path.chmod(0o600)
        assert name in one_line(done)
        place.check(done)

    @pytest.mark.parametrize("line", ["scan a.tar -q -o out/r.json", "flatten a.tar -o out/f.tar"])
    def test_a_folder_that_may_not_be_written_to_is_named_in_one_line(self, place: Place, line: str) -> None:
        (place.cli.folder / "out").mkdir()
        with no_writing(place.cli.folder / "out"):
            done = place.run(line, UNPRIVILEGED)
        assert "out" in one_line(done)
        place.check(done)


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize(
        "line", ["scan a.tar -q --no-cache -o r.html", "flatten a.tar -o flat.tar --force", "hook run"]
    )
    def test_at_any_moment_it_ends_and_leaves_nothing_half(
        self, place: Place, line: str, number: signal.Signals
    ) -> None:
        """The moments are parts of the time that it takes undisturbed."""
        began = time.monotonic()
        whole = place.run(line)
        took_s = time.monotonic() - began
        written = sorted(place.cli.folder.iterdir())
        for part in range(1, 9):
            done = place.run(line, ALARM.format(number=int(number), after=took_s * part / 10))
            # The last two: after all is done signals are given back to the system, that of the alarm too.
            expected = (whole.status, 128 + number, -number, -signal.SIGALRM)
            assert done.status in expected and b"Traceback" not in done.err, done
            assert sorted(place.cli.folder.iterdir()) == written
            place.check(done)


@pytest.mark.parametrize("line", [JSON, "history a.tar --format json", "dockerfile Dockerfile --format json"])
def test_a_clock_that_jumps_changes_nothing(place: Place, line: str) -> None:
    want, done = place.run(line), [place.run(line, JUMPS), place.run(line, JUMPS), place.run(line)]
    without = [{**json.loads(one.out), "created": None} for one in (want, *done)]
    assert without[1:] == without[:1] * 3
    place.check(want, *done)


@pytest.mark.parametrize("line", ["scan a.tar -v", "flatten a.tar -o f.tar", "recover a.tar /clean.txt -o back.txt"])
@pytest.mark.parametrize(
    "change", ["out.truncate(2048)", "out.seek(out.read().index(b'nothing'))\n        out.write(b'N')"]
)
def test_a_file_that_changes_while_it_is_read_is_said(place: Place, line: str, change: str) -> None:
    done = place.run(line, CHANGED.format(change))
    assert "a.tar" in one_line(done)
    assert not [path for path in place.cli.folder.iterdir() if path.name in ("f.tar", "back.txt")]
    place.check(done)


def test_few_open_files_are_enough(place: Place) -> None:
    done = place.run("scan a.tar -q", limited("NOFILE", 32))
    assert done.status == 1 and not done.err
    place.check(done)


@pytest.mark.parametrize("more", [1 << 20, 16 << 20, 64 << 20])
def test_too_little_memory_is_one_line_or_none(place: Place, more: int) -> None:
    """So many bytes beyond what the process has when it begins."""
    done = place.run("scan a.tar -q --no-cache", SHORT.format(more))
    assert done.status in (1, 2, ABORTED) and len(done.err.splitlines()) == (done.status != 1), done
    place.check(done)


def test_a_closed_standard_output_is_no_traceback(cli: Cli, archive: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", 'exec >&-; exec "$@"', "bash", sys.executable, "-m", "auditor", "scan", str(archive)],
        capture_output=True, text=True, env=cli.environment, cwd=cli.folder, check=False, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 1


def test_an_archive_that_shrinks_while_it_is_listed_is_said(cli: Cli, archive: Path) -> None:
    from auditor.codec.file_slices import SharedFile
    from auditor.core.errors import Damaged
    from auditor.images.archive import open_file
    from auditor.images.manifest import Origin

    class Shrunk(SharedFile):
        @property
        def size(self) -> int:
            return archive.stat().st_size + (4 << 20)

    held = Shrunk(os.open(archive, os.O_RDONLY))
    with archive.open("r+b") as file:
        file.truncate(1024)
    with pytest.raises(Damaged):
        open_file(held, Origin("a", "docker-archive", None, DEFAULT), None)


def test_reports_with_whole_secrets_are_for_the_user_alone(cli: Cli, archive: Path) -> None:
    cli("scan", archive, "-q", "--show-secrets", "-o", "report.json")
    assert stat.S_IMODE((cli.folder / "report.json").stat().st_mode) == 0o600
    assert SECRET in (cli.folder / "report.json").read_text()


@pytest.mark.parametrize(
    "begin",
    ["from auditor.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass",
     "from auditor.extract.isolated_worker import limit\nlimit(640 << 20)"],
    ids=["the program", "its reader of foreign formats"],
)  # fmt: skip
def test_core_dumps_are_off(begin: str) -> None:
    """Neither as a file, which the limit forbids, nor through a pipe, which the kernel asks the other flag for."""
    code = (
        "import ctypes, os, resource, signal\n"
        "most = resource.getrlimit(resource.RLIMIT_CORE)[1]\nresource.setrlimit(resource.RLIMIT_CORE, (most, most))\n"
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
        taken = isolated_reader._WORKERS.take(Limits().reader_memory)
        os.kill(taken._process.pid, signal.SIGKILL)
        taken._process.wait()
        isolated_reader._WORKERS.put_back(taken)
        found = opened("a.7z", self.DATA)
        assert not found.pieces and "its reader ended with signal 9" in found.notes[0][1]
        assert opened("a.7z", self.DATA).members == ["a"]

    def test_a_reader_may_neither_write_nor_take_memory_without_end(self) -> None:
        code = (
            "from auditor.extract.isolated_worker import limit\nlimit(640 << 20)\nimport resource\n"
            "assert resource.getrlimit(resource.RLIMIT_FSIZE) == (0, 0)\n"
            "try:\n    bytes(640 << 20)\nexcept MemoryError:\n    print('bounded')"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "bounded\n"


def test_importing_the_program_asks_the_network_nothing() -> None:
    code = (
        "import socket\ndef refuse(*_, **__):\n    raise SystemExit('network')\n"
        "socket.socket.connect = refuse\nsocket.getaddrinfo = refuse\n"
        "import auditor.cli.scan, auditor.pipeline, auditor.scan, auditor.registry.repository, auditor.images.daemon"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
