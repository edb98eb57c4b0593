"""The cache of layer records: what it keeps, what it forgets, and what it does when it is broken."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from auditor.model import DiffID, Digest
from auditor.store.layers import FILE_NAME, Blob, LayerStore

DIGEST = Digest("sha256:" + "a" * 64)
BLOB = Blob(10, DiffID("sha256:" + "b" * 64))


class Said(list[str]):
    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def said() -> Said:
    return Said()


Open = Callable[..., LayerStore]


@pytest.fixture
def opened(said: Said) -> Iterator[Open]:
    """Opens caches, which are closed at the end."""
    with ExitStack() as stack:
        yield lambda folder, **more: stack.enter_context(closing(LayerStore(folder, said, **more)))


@pytest.fixture
def store(tmp_path: Path, opened: Open) -> LayerStore:
    return opened(tmp_path / "cache")


def test_what_is_kept_is_there_for_the_next_run(tmp_path: Path, store: LayerStore, opened: Open, said: Said) -> None:
    store.keep_record("key", b"data")
    store.keep_blob(DIGEST, BLOB)
    store.keep_slice("here", DIGEST)
    store.close()
    again = opened(tmp_path / "cache")
    assert (again.record("key"), again.blob(DIGEST), again.slice("here")) == (b"data", BLOB, DIGEST)
    assert again.key == store.key and said == []


def test_what_is_not_known_is_none(store: LayerStore) -> None:
    assert (store.record("key"), store.blob(DIGEST), store.slice("here")) == (None, None, None)


def test_only_the_user_may_read_it(store: LayerStore) -> None:
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_what_was_not_used_for_longest_goes_first(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("auditor.store.layers.time.time", lambda: now)
    store = opened(tmp_path, max_bytes=250)
    for name in ("old", "used", "new"):
        store.keep_record(name, bytes(100))
        now += 1000
        if name == "used":
            assert store.record("old") is not None  # so it is not the oldest any more
            now += 1000
    assert store.record("used") is None
    assert store.record("old") is not None and store.record("new") is not None
    assert store.usage().bytes == 200


def test_clearing_forgets_the_key_too(store: LayerStore, tmp_path: Path, opened: Open) -> None:
    store.keep_record("key", b"data")
    store.clear()
    assert store.usage().records == 0
    store.close()
    assert opened(tmp_path / "cache").key != store.key


def test_a_record_that_was_tampered_with_is_not_believed(store: LayerStore) -> None:
    store.keep_record("key", b"data")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("UPDATE record SET data = 'x'")
    assert store.record("key") is None


@pytest.mark.parametrize("content", [b"no database at all", b"SQLite format 3\0" + bytes(2000)], ids=["text", "zeros"])
def test_a_damaged_file_is_put_aside_with_one_warning(tmp_path: Path, opened: Open, said: Said, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    store = opened(tmp_path)
    store.keep_record("key", b"data")
    assert store.record("key") == b"data"
    assert len(said) == 1 and "is damaged" in said[0]
    assert (tmp_path / f"{FILE_NAME}.damaged").read_bytes() == content


def test_a_cache_that_breaks_in_the_middle_is_given_up_with_one_warning(store: LayerStore, said: Said) -> None:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("DROP TABLE record")
    store.keep_record("key", b"data")
    assert store.record("key") is None and store.blob(DIGEST) is None
    assert len(said) == 1 and "going on without it" in said[0]


def test_a_folder_that_can_not_be_made_is_no_error(tmp_path: Path, opened: Open, said: Said) -> None:
    (tmp_path / "file").write_text("")
    store = opened(tmp_path / "file" / "cache")
    store.keep_record("key", b"data")
    assert store.record("key") is None and len(said) == 1


def _fill(folder: Path, number: int) -> None:
    store = LayerStore(folder, _fail)
    for at in range(50):
        store.keep_record(f"{number} {at}", bytes(100))
        store.keep_blob(DIGEST, BLOB)
    store.close()


def _fail(text: str) -> None:
    raise AssertionError(text)


def test_four_processes_lose_no_record(tmp_path: Path, opened: Open) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(tmp_path, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert opened(tmp_path).usage().records == 200


def test_a_second_one_in_a_process_leaves_the_first_its_locks(
    tmp_path: Path, store: LayerStore, opened: Open, said: Said
) -> None:
    """Or another process would take away the log that the first still writes."""
    opened(tmp_path / "cache").close()
    program = f"from auditor.store.layers import *; LayerStore(Path({str(tmp_path / 'cache')!r}), print).close()"
    subprocess.run([sys.executable, "-c", program], check=True)
    store.keep_record("key", b"data")
    read = program.replace(".close()", ".record('key')").replace("LayerStore", "assert LayerStore")
    subprocess.run([sys.executable, "-c", read], check=True)
    assert said == []
