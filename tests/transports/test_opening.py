"""Opening a target reads no layer, and a stream is read exactly once."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor.codec.file_slices import FileSlice
from auditor.core.errors import ImageError
from auditor.core.limits import DEFAULT
from auditor.images.resolve import open_source, open_target
from auditor.images.source import LayerRef
from auditor.pipeline import Request, audit
from auditor.scan import Scanner
from tests.images import file, image, layer, token

MARK = os.urandom(3000)
"""Content of a layer that no compression hides in a read."""
BUILT = image(layer(file("base", "1")), layer(file("mark.bin", MARK), file("token.txt", token(3))))

REREADABLE: dict[str, Callable[[Path], str]] = {
    "docker-archive, old": lambda p: str(BUILT.docker_archive(p / "a.tar")),
    "docker-archive, new": lambda p: str(BUILT.docker_save(p / "a.tar")),
    "oci-archive": lambda p: f"oci-archive:{BUILT.oci_archive(p / 'a.tar', 'gzip')}",
    "oci": lambda p: f"oci:{BUILT.oci_folder(p / 'layout', 'gzip')}",
}
FORMS = {"old": BUILT.docker_archive, "new": BUILT.docker_save}


class Pipe(io.RawIOBase):
    """Standard input that counts the bytes read from it and can't seek."""

    def __init__(self, data: bytes) -> None:
        self._data, self.position = data, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._data[self.position : self.position + min(len(buffer), 512)]
        buffer[: len(piece)] = piece
        self.position += len(piece)
        return len(piece)


@pytest.mark.parametrize("form", REREADABLE)
def test_opening_a_rereadable_target_reads_no_layer(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = REREADABLE[form](tmp_path)
    opened: list[FileSlice] = []
    own = FileSlice.open

    def counted(content: FileSlice) -> Any:
        opened.append(content)
        return own(content)

    monkeypatch.setattr(FileSlice, "open", counted)
    source = open_source(target, DEFAULT)
    assert list(source.streams()) == []
    (found,) = source.images()
    contents = [made.content for made in found.layers]
    assert not any(content is one for content in contents for one in opened)
    assert all(isinstance(content, FileSlice) for content in contents)


@pytest.mark.parametrize("form", FORMS)
def test_opening_a_stream_reads_no_layer_and_the_stream_is_read_once(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = FORMS[form](tmp_path / "a.tar").read_bytes()
    pipe = Pipe(data)
    monkeypatch.setattr("auditor.images.resolve._standard_input", lambda _: io.BufferedReader(pipe, 512))
    source = open_source("-", DEFAULT)
    assert pipe.position == 0
    read: dict[LayerRef, bytes] = {}
    for ref, stream in source.streams():
        assert pipe.position < len(data)
        read[ref] = stream.read()
    assert pipe.position == len(data)
    (found,) = source.images()
    contents = [made.content for made in found.layers]
    assert [read[content] for content in contents if isinstance(content, LayerRef)] == list(BUILT.layers)
    with pytest.raises(ImageError, match="already read"):
        contents[0].open()


def test_a_layer_that_the_reader_leaves_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe(BUILT.docker_archive(tmp_path / "a.tar").read_bytes())
    monkeypatch.setattr("auditor.images.resolve._standard_input", lambda _: io.BufferedReader(pipe, 512))
    source = open_source("-", DEFAULT)
    names = [ref.name for ref, _ in source.streams()]
    assert len(names) == len(set(names)) >= len(BUILT.layers)
    assert len(source.images()) == 1


def test_a_compressed_archive_is_a_stream_for_audits_and_a_copy_for_others(tmp_path: Path, scanner: Scanner) -> None:
    target = str(BUILT.docker_archive(tmp_path / "a.tar.gz", squeeze=gzip.compress))
    (once,) = audit(target, scanner, Request())
    assert all(isinstance(made.content, LayerRef) for made in once.image.layers)
    assert [finding.path for finding in once.findings] == ["/token.txt"]
    (again,) = open_target(target, DEFAULT)
    for _ in range(2):
        with again.layers[1].content.open() as stream:
            assert stream.read() == BUILT.layers[1]


def test_a_damaged_layer_of_a_stream_fails_its_image(tmp_path: Path, scanner: Scanner) -> None:
    broken = image(layer(file("a", "1"))[:700], names=("broken:1",))
    target = str(broken.docker_archive(tmp_path / "a.tar.gz", squeeze=gzip.compress))
    with pytest.raises(ImageError, match=r"a\.tar\.gz"):
        audit(target, scanner, Request())
