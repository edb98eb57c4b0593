"""The cache of layer records: what it keeps, what it forgets, and what it does when it is broken."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from auditor.core import cache_folder
from auditor.core.cache_folder import KEY_NAME, read_cache_file, write_cache_file
from auditor.core.digests import DiffID, Digest
from auditor.store import layer_store
from auditor.store.layer_store import FILE_NAME, Blob, LayerStore
from auditor.store.mac import mac

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
    monkeypatch.setattr("auditor.store.layer_store.time.time", lambda: now)
    store = opened(tmp_path, max_bytes=250)
    for name in ("old", "used", "new"):
        store.keep_record(name, bytes(100))
        now += 10_000
        if name == "used":
            assert store.record("old") is not None  # so it is not the oldest any more
            now += 10_000
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


FORGERIES = {
    "another value with a checksum": "UPDATE record SET data = 'x', tag = zeroblob(32)",
    "a MAC under another key": "UPDATE record SET data = :data, tag = :tag WHERE key = 'key'",
    "a record under another key": "UPDATE record SET (data, tag) = (SELECT data, tag FROM record WHERE key = 'b')",
    "a new record": "INSERT OR REPLACE INTO record VALUES ('key', :data, :tag, 0)",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_record_is_believed_only_where_it_was_written_with_the_key(store: LayerStore, forgery: str) -> None:
    store.keep_record("key", b"data")
    store.keep_record("b", b"clean")
    values = {"data": b"clean", "tag": mac(b"of a stranger", "record", "key", b"clean")}
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute(FORGERIES[forgery], values if ":data" in FORGERIES[forgery] else {})
    assert store.record("key") is None


def test_facts_are_believed_only_where_they_were_written_with_the_key(store: LayerStore) -> None:
    store.keep_blob(DIGEST, BLOB)
    store.keep_slice("here", DIGEST)
    store.keep_clean("image")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("INSERT INTO fact SELECT 'clean other', value, tag, used FROM fact WHERE key = 'clean image'")
        other.execute("UPDATE fact SET value = replace(value, 'b', 'c')")
    assert store.blob(DIGEST) is None and not store.is_clean("other") and store.is_clean("image")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("UPDATE fact SET value = :digest WHERE key = 'slice here'", {"digest": "sha256:" + "0" * 64})
    assert store.slice("here") is None


def test_the_key_lies_beside_the_records_and_only_the_user_may_read_it(store: LayerStore) -> None:
    key = store.path.with_name(KEY_NAME)
    store.keep_record("record", b"data")
    assert key.read_bytes() == store.key and stat.S_IMODE(key.stat().st_mode) == 0o600
    assert all(store.key not in path.read_bytes() for path in store.path.parent.glob("layers*"))


@pytest.mark.parametrize("umask", [0, 0o077])
def test_all_files_are_private_whatever_the_umask(tmp_path: Path, opened: Open, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = opened(tmp_path / "cache")
        store.keep_record("key", b"data")
        write_cache_file(tmp_path / "cache" / "rules-1.json", b"[]")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "cache").iterdir()}
    assert set(modes.values()) == {0o600} and len(modes) >= 4, modes


def test_a_database_that_others_may_read_is_closed_to_them(tmp_path: Path, opened: Open, said: Said) -> None:
    opened(tmp_path).keep_record("key", b"data")
    (tmp_path / FILE_NAME).chmod(0o666)
    assert opened(tmp_path).record("key") == b"data" and said == []
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666], ids=oct)
def test_a_key_that_others_may_read_is_replaced_and_nothing_under_it_believed(
    tmp_path: Path, opened: Open, said: Said, mode: int
) -> None:
    store = opened(tmp_path)
    store.keep_record("key", b"data")
    (tmp_path / KEY_NAME).chmod(mode)
    again = opened(tmp_path)
    assert again.key != store.key and again.record("key") is None and said == []
    assert stat.S_IMODE((tmp_path / KEY_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", [KEY_NAME, FILE_NAME, f"{FILE_NAME}-wal"])
def test_a_cache_with_a_file_of_another_user_is_not_used(
    tmp_path: Path, opened: Open, said: Said, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    store = opened(tmp_path)
    store.keep_record("key", b"data")
    own = os.geteuid()
    check = cache_folder.check_owner

    def of_another(path: Path, status: os.stat_result) -> None:
        monkeypatch.setattr("os.geteuid", lambda: own + (path.name == name))
        check(path, status)

    for module in (cache_folder, layer_store):
        monkeypatch.setattr(module, "check_owner", of_another)
    again = opened(tmp_path)
    assert again.record("key") is None and len(said) == 1 and f"{name} belongs to another user" in said[0]


@pytest.mark.parametrize("name", [KEY_NAME, FILE_NAME])
def test_a_link_is_not_followed(tmp_path: Path, opened: Open, said: Said, name: str) -> None:
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / name).symlink_to(tmp_path / "elsewhere")
    store = opened(tmp_path / "cache")
    store.keep_record("key", b"data")
    assert store.record("key") is None and len(said) == 1
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def test_a_file_with_a_second_name_is_not_made_a_key(tmp_path: Path, opened: Open, said: Said) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / KEY_NAME).hardlink_to(tmp_path / "precious")
    assert opened(tmp_path / "cache").record("key") is None and len(said) == 1
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_file_of_rules_holds_under_its_own_name_alone(tmp_path: Path) -> None:
    write_cache_file(tmp_path / "rules-old.json", b"[]")
    (tmp_path / "rules-old.json").rename(tmp_path / "rules-new.json")
    assert read_cache_file(tmp_path / "rules-new.json") is None


def test_a_cache_of_the_first_version_is_emptied_without_a_word(tmp_path: Path, opened: Open, said: Said) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as old:
        old.execute("CREATE TABLE record (key TEXT, data BLOB, sum BLOB, used INTEGER)")
        old.execute("CREATE TABLE secret_key (only INTEGER, bytes BLOB)")
        old.execute("INSERT INTO record VALUES ('key', 'data', 'sum', 0)")
        old.execute("PRAGMA user_version = 1")
    store = opened(tmp_path)
    assert store.record("key") is None
    store.keep_record("key", b"data")
    assert opened(tmp_path).record("key") == b"data" and said == []


def test_facts_written_longest_ago_go_first(tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_store, "_MAX_FACTS", 2)
    store, now = opened(tmp_path), 1_000_000.0
    monkeypatch.setattr("auditor.store.layer_store.time.time", lambda: now)
    for name in ("old", "middle", "new"):
        store.keep_clean(name)
        now += 1
    store.close()
    again = opened(tmp_path)
    assert [again.is_clean(name) for name in ("old", "middle", "new")] == [False, True, True]


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
    assert len(said) == 1 and "continues without it" in said[0]


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


def test_a_second_store_in_a_process_keeps_the_locks_of_the_first(
    tmp_path: Path, store: LayerStore, opened: Open, said: Said
) -> None:
    """Or another process would take away the log that the first still writes."""
    opened(tmp_path / "cache").close()
    program = f"from auditor.store.layer_store import *; LayerStore(Path({str(tmp_path / 'cache')!r}), print).close()"
    subprocess.run([sys.executable, "-c", program], check=True)
    store.keep_record("key", b"data")
    read = program.replace(".close()", ".record('key')").replace("LayerStore", "assert LayerStore")
    subprocess.run([sys.executable, "-c", read], check=True)
    assert said == []


def test_threads_may_share_the_cache(tmp_path: Path) -> None:
    problems = list[str]()
    with closing(LayerStore(tmp_path / "shared", problems.append)) as store, ThreadPoolExecutor(8) as pool:
        for number in range(200):
            pool.submit(store.keep_record, f"key {number % 20}", b"data")
            pool.submit(store.record, f"key {number % 20}")
    assert problems == []
