"""Values that processes share in the cache folder: one of them makes a value, and the others read it."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from auditor.core.cache_folder import read_cache_file, read_or_make, write_cache_file

_FORKS = multiprocessing.get_context("fork")


def made(folder: Path) -> bytes:
    """Return the value in a folder; each process that makes it leaves a file, and waits for `go`."""

    def make() -> bytes:
        (folder / f"made by {os.getpid()}").touch()
        wait(folder / "go")
        write_cache_file(folder / "value", b"a value")
        return b"a value"

    return read_or_make(lambda: read_cache_file(folder / "value"), make, folder / "lock")


def wait(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def makers(folder: Path) -> int:
    return len([*folder.glob("made by *")])


def test_of_processes_that_start_together_one_makes_the_value(tmp_path: Path) -> None:
    processes = [_FORKS.Process(target=made, args=(tmp_path,)) for _ in range(4)]
    for process in processes:
        process.start()
    time.sleep(0.3)  # all of them begin
    (tmp_path / "go").touch()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4
    assert makers(tmp_path) == 1 and made(tmp_path) == b"a value"


def test_the_next_process_makes_it_if_the_first_one_is_killed(tmp_path: Path) -> None:
    first = _FORKS.Process(target=made, args=(tmp_path,))
    first.start()
    while not makers(tmp_path):
        time.sleep(0.01)
    first.kill()
    first.join()
    (tmp_path / "go").touch()
    assert made(tmp_path) == b"a value" and makers(tmp_path) == 2


def test_a_lock_that_another_user_may_keep_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _FORKS.Process(target=made, args=(tmp_path,))
    first.start()
    while not makers(tmp_path):
        time.sleep(0.01)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)  # the files belong to another user
    assert read_or_make(lambda: None, lambda: 7, tmp_path / "lock") == 7
    assert first.is_alive()
    (tmp_path / "go").touch()
    first.join()


def test_without_a_folder_for_the_lock_the_value_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_or_make(lambda: None, lambda: 7, tmp_path / "file" / "lock") == 7
    assert read_or_make(lambda: None, lambda: 7, None) == 7
