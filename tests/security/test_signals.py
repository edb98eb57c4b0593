"""A signal at any point of a run ends it, with its own exit code, and leaves nothing. Points are counted, not timed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auditor.core import atomic_files
from tests.conftest import Cli
from tests.images import file, image, layer, story
from tests.nursery import Done
from tests.security.places import Place

STORY, _ = story(78)
NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LINES = {
    "flatten a.tar -o flat.oci --compress gzip --proof proof.json": 5,
    "flatten a.tar -o flat.tar --force --minimal": 5,
    "scan a.tar -q --no-cache -o r.html -o r.json": 3,
    "scan a.tar -q --cache-dir fresh --rule github-pat --rule github-oauth-token": 3,
    "recover a.tar /gone.txt -o back.txt --force": 5,
    "hook install": 5,
    "hook run": 5,
}
"""Lines, each with the number of points at which it is interrupted: fewer where counting the calls takes long."""
FLATTEN, SCAN = (line for line in LINES if line.endswith(("proof.json", "r.json")))
# Counts what the main thread calls in locks of Python, or elsewhere; at one of these events it sends itself a signal.
# A run that hangs ends with 1. The code says that it is of threading.py, and so is what the signal seems to come in.
COUNTED = """
import atexit, concurrent.futures.thread, faulthandler, os, queue, signal, sys, threading
faulthandler.dump_traceback_later(240, exit=True)
own = {{m.__file__ for m in (threading, queue, concurrent.futures._base, concurrent.futures.thread)}}
seen, wanted, number, locks, within = 0, {wanted}, {number}, {locks}, {within!r}
def inside(frame):
    while frame is not None and not frame.f_code.co_filename.endswith(within):
        frame = frame.f_back
    return frame is not None
def profile(frame, event, argument):
    global seen
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL or (frame.f_code.co_filename in own) is not locks:
        return  # the program has not begun, or is done
    if within and not inside(frame):
        return
    seen += 1
    if seen == wanted:
        os.kill(os.getpid(), number)
def told():
    sys.setprofile(None)
    os.write(2, f"events: {{seen}}\\n".encode())
atexit.register(told)
if locks:
    profile.__code__ = profile.__code__.replace(co_filename=threading.__file__)
sys.setprofile(profile)
"""


def counted(
    place: Place, line: str, wanted: int = 0, number: int = 0, *, locks: bool = False, within: str = ""
) -> Done:
    """Run a line; `locks` counts in Python's own locks, `within` only below a function of a file."""
    return place.run(line, COUNTED.format(wanted=wanted, number=int(number), locks=locks, within=within))


def files(place: Place) -> set[Path]:
    """Files of the repository; of the cache's folder, which may be begun, only hidden ones."""
    hooks, fresh = place.cli.folder / ".git/hooks", place.cli.folder / "fresh"
    found = {path for path in place.cli.folder.iterdir() if path != fresh} | set(hooks.iterdir())
    return found | (set(fresh.glob(".*")) if fresh.is_dir() else set())


def points(done: Done, count: int) -> list[int]:
    """Spread so many points over the events of a run."""
    total = int(done.err.decode().rpartition("events: ")[2])
    return sorted({1 + total * part // count for part in range(count)})


OUTPUTS = ("flat.oci", "flat.tar", "proof.json", "r.html", "r.json", "back.txt", ".git/hooks/pre-push")


def interrupted(place: Place, line: str, wanted: int, number: signal.Signals, **where: Any) -> Done | None:
    """Run a line with a signal at a point; None where threads were quicker and the run did not come so far."""
    for name in OUTPUTS:
        (place.cli.folder / name).unlink(missing_ok=True)
    done = counted(place, line, wanted, number, **where)
    if b"events: " in done.err and int(done.err.decode().rpartition("events: ")[2]) < wanted:
        return None
    assert done.status == 128 + number, (wanted, done)
    assert b"Traceback" not in done.err and done.err.count(b"image-audit: ") == 1, (wanted, done)
    return done


@pytest.mark.parametrize("line", LINES)
def test_at_any_call_it_ends_and_leaves_nothing(place: Place, line: str) -> None:
    whole = counted(place, line)
    for name in OUTPUTS:
        (place.cli.folder / name).unlink(missing_ok=True)
    before = files(place)
    for at, wanted in enumerate(points(whole, LINES[line])):
        interrupted(place, line, wanted, NUMBERS[at % len(NUMBERS)])
        left = {path.name for path in files(place) - before}
        assert not {name for name in left if name.startswith(".")}, wanted
        assert ("flat.oci" in left) == ("proof.json" in left), wanted


@pytest.mark.parametrize("line", [FLATTEN, SCAN])
def test_between_a_lock_and_its_keeper_it_does_not_hang(place: Place, line: str) -> None:
    """An exception there would leave the lock held for ever, and the threads that wait for it."""
    whole = counted(place, line, locks=True)
    ended = [interrupted(place, line, wanted, signal.SIGTERM, locks=True) for wanted in points(whole, 4)]
    assert sum(done is not None for done in ended) > len(ended) // 2


def test_while_gzip_compresses_it_does_not_hang(place: Place) -> None:
    line = "flatten large.tar -o flat.oci --compress gzip"
    where: dict[str, Any] = {"locks": True, "within": "rebuild/compress.py"}
    image(layer(file("large", os.urandom(8 << 20)))).docker_archive(place.cli.folder / "large.tar")
    whole = counted(place, line, **where)
    for wanted in points(whole, 4):
        interrupted(place, line, wanted, signal.SIGTERM, **where)


# Sends a signal when the so-many-th module is imported after the program began.
IMPORTS = """
import os, sys
left, number = {left}, {number}
def hook(event, arguments):
    global left
    if event == "import" and "auditor.__main__" in str(sys.argv) + str(sys.orig_argv) or "auditor.cli" in sys.modules:
        pass
    if event == "import" and (arguments[0] == "auditor.cli" or left < {left}):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), number)
sys.addaudithook(hook)
"""


@pytest.mark.parametrize("number", NUMBERS)
def test_while_it_is_still_imported_it_says_a_line(cli: Cli, tmp_path: Path, number: signal.Signals) -> None:
    archive = STORY.docker_archive(tmp_path / "a.tar")
    site = tmp_path / "site"
    site.mkdir()
    said = "interrupted" if number == signal.SIGINT else "terminated"
    for left in (1, 2, 3, 5, 8, 13, 30, 60, 100, 150):
        (site / "sitecustomize.py").write_text(IMPORTS.format(left=left, number=int(number)))
        done = cli("scan", archive, "-q", PYTHONPATH=str(site))
        assert (done.status, done.out, done.err.strip()) == (128 + number, "", f"image-audit: {said}"), (left, done.err)


FAULT = """
import os, signal
from auditor.rebuild import flatten
flatten.write_documents = lambda *_, **__: {then}
"""


class TestWorkFolders:
    def left(self, folder: Path) -> list[Path]:
        return sorted(folder.glob(".image-audit-*"))

    def test_what_a_killed_run_leaves_the_next_one_removes(self, place: Place) -> None:
        place.run("flatten a.tar -o flat.tar")  # so that the cache of rules is there
        (place.cli.folder / "flat.tar").unlink()
        done = place.run("flatten a.tar -o flat.tar", FAULT.format(then="os.kill(os.getpid(), signal.SIGKILL)"))
        assert done.status == -signal.SIGKILL and len(self.left(place.cli.folder)) == 1
        assert place.run("scan a.tar -q -o r.json").status == 1
        assert self.left(place.cli.folder) == []

    def test_a_work_folder_of_a_run_that_goes_on_is_left_alone(self, place: Place) -> None:
        with atomic_files.work_folder(place.cli.folder) as mine:
            (mine / "image").write_text("precious")
            assert place.run("flatten a.tar -o flat.tar").status in (0, 1)
            assert (mine / "image").read_text() == "precious"
        assert self.left(place.cli.folder) == []

    def test_what_only_looks_like_one_is_left_alone(self, place: Place) -> None:
        folder, name = place.cli.folder, ".image-audit-work-" + "0" * 15
        other = folder / "other"
        other.mkdir()
        (folder / (name + "1")).write_text("a file")
        (folder / (name + "2")).symlink_to(other)
        (folder / ".image-audit-mine").mkdir()
        (folder / (name + "3x")).mkdir()
        before = set(folder.iterdir())
        assert place.run("flatten a.tar -o flat.tar").status in (0, 1)
        assert set(folder.iterdir()) == before | {folder / "flat.tar"}

    def test_one_that_is_taken_for_a_dead_one_is_made_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another run may come between the making of a folder and its lock."""
        import fcntl

        taken: list[Path] = []

        def flock(descriptor: int, _: int) -> None:
            if not taken:
                taken.extend(tmp_path.iterdir())
                taken[0].rmdir()

        monkeypatch.setattr(fcntl, "flock", flock)
        with atomic_files.work_folder(tmp_path) as folder:
            assert [folder] == list(tmp_path.iterdir()) == taken
        assert not list(tmp_path.iterdir())

    def test_a_file_system_without_locks_is_good_enough(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import fcntl

        def flock(*_: int) -> None:
            raise OSError

        monkeypatch.setattr(fcntl, "flock", flock)
        monkeypatch.setattr(atomic_files, "_cleaned", set())
        with atomic_files.work_folder(tmp_path) as folder:
            monkeypatch.setattr(atomic_files, "_cleaned", set())
            with atomic_files.work_folder(tmp_path) as other:
                assert sorted(tmp_path.iterdir()) == sorted([folder, other])
        assert not list(tmp_path.iterdir())


STUBBORN = """
import os, signal
from auditor.cli import signals
from auditor.rebuild import flatten
def stubborn(*_, **__):
    while True:
        try:
            os.kill(os.getpid(), {number})
            signal.pause()
        except BaseException:
            {then}
flatten.write_documents = stubborn
signals.GRACE_S = {grace}
"""


@pytest.mark.parametrize(("then", "grace"), [("signal.pause()", 0.05), ("pass", 1000)], ids=["grace", "second"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_does_not_end_by_itself_is_ended(place: Place, number: int, then: str, grace: float) -> None:
    before = set(place.cli.folder.iterdir())
    done = place.run("flatten a.tar -o flat.tar", STUBBORN.format(number=int(number), then=then, grace=grace))
    assert done.status == 128 + number and b"Traceback" not in done.err
    assert set(place.cli.folder.iterdir()) == before


def test_a_signal_that_is_ignored_stays_so(cli: Cli, tmp_path: Path) -> None:
    archive = STORY.docker_archive(tmp_path / "a.tar")
    code = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "os.execv(sys.executable, [sys.executable, '-c', "
        "'import os; from auditor.__main__ import main; from auditor.cli import scan; "
        "scan.options.color = lambda: os.kill(os.getpid(), 1) or False; main()', *sys.argv[1:]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "scan", str(archive)],
        capture_output=True, env=cli.environment, cwd=cli.folder, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout and not done.stderr


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)
