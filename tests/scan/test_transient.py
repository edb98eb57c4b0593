"""A result made under a transient failure is used once, is said, and is not kept."""

from __future__ import annotations

import errno
import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zstandard

from auditor.core.errors import Damaged
from auditor.core.limits import Limits
from auditor.extract import compressed, isolated_reader, isolated_worker, zip_archive
from auditor.extract.budget import Budget, is_transient
from auditor.extract.formats import FORMATS, ArchiveFormat
from auditor.pipeline import Audit, Request, audit
from auditor.scan import Scanner
from auditor.scan.extractor import NOT_CACHED
from auditor.store.layer_store import LayerStore
from auditor.store.records import Records
from tests.extract.test_archives import seven_zipped
from tests.images import image, layer, token
from tests.provenance.test_packages import rpm

LINES = [f"line {number} says nothing, as {number * number} others do" for number in range(2000)]
SECRET = "\n".join((*LINES, f"GITHUB_TOKEN={token(14)}", *LINES)).encode()  # decoders alone see it
Patch = pytest.MonkeyPatch


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def raising(exc: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise exc

    return fail


def killed(patch: Patch) -> None:
    own = isolated_reader._Worker._send

    def send(self: Any, said: Any, data: bytes) -> None:
        self._process.kill()
        self._process.wait()
        own(self, said, data)

    patch.setattr(isolated_reader._Worker, "_send", send)


def silent(patch: Patch) -> None:
    patch.setattr(isolated_reader, "_GRACE_S", 0)
    patch.setattr(isolated_reader._Worker, "_send", lambda *_: None)
    patch.setattr(Budget, "left_s", lambda _: 0)


def no_process(patch: Patch) -> None:
    isolated_reader._WORKERS.close()
    patch.setattr("subprocess.Popen", raising(BlockingIOError(errno.EAGAIN, "no process")))


def late(patch: Patch) -> None:
    patch.setattr(Budget, "late", lambda _: True)


def no_memory(patch: Patch) -> None:
    patch.setattr(zip_archive, "inflate_raw", raising(MemoryError()))


def no_memory_anywhere(patch: Patch) -> None:
    patch.setattr(zip_archive, "Directory", raising(MemoryError()))


def no_memory_for_zstd(patch: Patch) -> None:
    class Decompressor:
        __init__ = raising(zstandard.ZstdError("zstd decompress error: Allocation error : not enough memory"))

    patch.setattr(zstandard, "ZstdDecompressor", Decompressor)


def no_memory_in_a_stream(patch: Patch) -> None:
    class Stream:
        def read(self, _: int) -> bytes:
            try:
                raise OSError(errno.ENOMEM, "no memory")
            except OSError as exc:
                raise Damaged("zstd data is broken after 0 bytes") from exc

    patch.setattr(compressed, "Decompressor", lambda *_: Stream())


FAULTS: dict[str, tuple[str, Callable[[Patch], None]]] = {
    "a reader is killed": ("a.7z", killed),
    "a reader does not answer in time": ("a.7z", silent),
    "no process can be started": ("a.7z", no_process),
    "the time is up in the reader": ("a.7z", late),
    "the time is up": ("a.zip", late),
    "no memory for a member": ("a.zip", no_memory),
    "no memory for a directory": ("a.zip", no_memory_anywhere),
    "no memory for a decoder": ("a.txt.zst", no_memory_for_zstd),
    "no memory in a stream": ("a.txt.zst", no_memory_in_a_stream),
}
FILES = {
    "a.7z": seven_zipped({"a.env": SECRET}),
    "a.zip": zipped({"a.env": SECRET}),
    "a.txt.zst": zstandard.ZstdCompressor().compress(SECRET),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LayerStore]:
    with closing(LayerStore(tmp_path / "cache", pytest.fail)) as opened:
        yield opened


@pytest.fixture
def scans(scanner: Scanner, monkeypatch: Patch) -> list[str]:
    done: list[str] = []
    own = scanner.read_layer

    def counted(stream: Any, what: str, *options: Any) -> Any:
        done.append(what)
        return own(stream, what, *options)

    monkeypatch.setattr(scanner, "read_layer", counted)
    return done


def audited(path: Path, scanner: Scanner, store: LayerStore) -> Audit:
    (found,) = audit(str(path), scanner, Request(), Records(scanner, store))
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_transient_failure_is_said_and_the_next_run_finds_the_secret(
    tmp_path: Path, scanner: Scanner, store: LayerStore, scans: list[str], fault: str
) -> None:
    name, break_it = FAULTS[fault]
    path = image(layer({name: FILES[name]})).docker_archive(tmp_path / "image.tar")
    with pytest.MonkeyPatch.context() as patch:
        break_it(patch)
        failed = audited(path, scanner, store)
    assert failed.findings == () and failed.transient
    assert all(item.reason.endswith(NOT_CACHED) for item in failed.skipped) and failed.skipped
    assert {item.path.partition("!")[0] for item in failed.skipped if item.path} == {f"/{name}"}
    again = audited(path, scanner, store)
    assert len(again.findings) == 1 and again.skipped == () and not again.transient
    assert audited(path, scanner, store).findings == again.findings
    assert len(scans) == 2  # the third is from the cache


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04" + bytes(100), zipped({"a": b"x" * 9})[:-30]], ids=["damaged", "cut off"]
)
def test_what_the_bytes_alone_decide_is_kept(
    tmp_path: Path, scanner: Scanner, store: LayerStore, scans: list[str], data: bytes
) -> None:
    path = image(layer({"a.zip": data})).docker_archive(tmp_path / "image.tar")
    first = audited(path, scanner, store)
    assert first.skipped and not first.transient
    assert audited(path, scanner, store).skipped == first.skipped
    assert len(scans) == 1


def test_layers_without_the_failure_are_kept(
    tmp_path: Path, scanner: Scanner, store: LayerStore, scans: list[str]
) -> None:
    built = image(layer({"a.7z": FILES["a.7z"]}), layer({"b.txt": "b\n"}))
    path = built.docker_archive(tmp_path / "image.tar")
    with pytest.MonkeyPatch.context() as patch:
        killed(patch)
        audited(path, scanner, store)
    audited(path, scanner, store)
    assert len(scans) == 3


def test_a_transient_failure_beyond_the_limit_of_notes_counts() -> None:
    noted = list[tuple[str, bool]]()
    budget = Budget(Limits(notes=3), "a", 1, lambda _, reason, transient: noted.append((reason, transient)))
    for number in range(9):
        budget.skip(None, f"skip {number}", transient=number in (6, 7))
    assert [transient for _, transient in noted] == [False, False, False, True]
    assert noted[-1][0] == "skip 6"


@pytest.mark.parametrize(
    ("exc", "transient"),
    [
        (MemoryError(), True), (OSError(errno.EMFILE, "files"), True), (OSError("Invalid data stream"), False),
        (ValueError("x"), False), (zstandard.ZstdError("Frame requires too much memory for decoding"), False),
    ],
    ids=repr,
)  # fmt: skip
def test_errors_of_the_machine_are_told_from_those_of_the_bytes(exc: Exception, transient: bool) -> None:
    assert is_transient(exc) is transient
    try:
        raise Damaged("data is broken") from exc
    except Damaged as wrapped:
        assert is_transient(wrapped) is transient


@pytest.mark.parametrize(
    ("problem", "transient"),
    [(MemoryError(), True), (OSError(errno.EMFILE, "files"), True), (ValueError("no archive"), False)],
    ids=repr,
)
def test_the_process_of_a_reader_tells_which_failures_are_transient(
    monkeypatch: Patch, problem: Exception, transient: bool
) -> None:
    said = list[dict[str, Any]]()
    monkeypatch.setattr(isolated_worker, "send", lambda _, what, data=b"": said.append(what))
    broken = ArchiveFormat("7z", read_buffer=raising(problem), isolated=True)
    monkeypatch.setitem(FORMATS, "7z", broken)
    request = {"format": "7z", "name": "a.7z", "limits": {}, "time_s": 20.0}
    isolated_worker._answer(request, b"", io.BytesIO())
    assert [(one["skipped"], one["transient"]) for one in said] == [(None, transient)]


def test_a_query_that_is_interrupted_by_the_time_is_transient() -> None:
    """SQLite says "interrupted", which is no error of the database."""
    noted = list[bool]()
    budget = Budget(Limits(), "a", 1, lambda _, __, transient: noted.append(transient), time_s=-1.0)
    budget.skip(None, "can't be read as rpmdb: OperationalError: interrupted")
    assert noted == [True]


def test_a_package_database_that_can_not_be_read_is_said(tmp_path: Path, scanner: Scanner, store: LayerStore) -> None:
    path = image(layer(rpm("etc/acme.conf", SECRET))).docker_archive(tmp_path / "image.tar")
    whole = audited(path, scanner, store)
    assert whole.findings[0].package and not whole.transient and whole.skipped == ()
    with pytest.MonkeyPatch.context() as patch:
        killed(patch)
        failed = audited(path, scanner, store)
    assert failed.transient and [item.path for item in failed.skipped] == ["/var/lib/rpm/rpmdb.sqlite"]
    assert "the package of a file may be unknown" in failed.skipped[0].reason
    assert [finding.package for finding in failed.findings] == [None]
