"""Extractor: matches in members, in decoded parts and in names of members."""

from __future__ import annotations

import base64
import gzip
import io
import threading
import zipfile

import pytest

from auditor.scan.extractor import ExtractionResult, Extractor
from auditor.scan.file_content import BufferedContent, StreamedContent
from tests.images import token

TOKEN = token(12)


def zipped(files: dict[str, str]) -> bytes:
    with zipfile.ZipFile(packed := io.BytesIO(), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def buffered(data: bytes) -> BufferedContent:
    content = BufferedContent()
    for start in range(0, len(data), 100):
        content.add(memoryview(data)[start : start + 100])
    return content


def extracted(extractor: Extractor, path: str, data: bytes, *, has_matches: bool = False) -> ExtractionResult:
    return extractor.extract(7, path, buffered(data), has_matches)


def test_a_match_in_a_member_names_entry_member_and_line(extractor: Extractor) -> None:
    result = extracted(extractor, "/srv/a.zip", zipped({"one.txt": "x", "in/two.txt": f"\n\n{TOKEN}\n"}))
    (match,) = result.matches
    assert (match.entry, match.member, match.line, match.rule) == (7, "in/two.txt", 3, "github-pat")
    assert result.is_archive and result.count == 2 and result.checksums is not None and not result.transient


def test_a_secret_in_a_members_name_is_a_match_once(extractor: Extractor) -> None:
    result = extracted(extractor, "/srv/a.zip", zipped({f"{TOKEN}/{number}.txt": "x" for number in range(3)}))
    assert [(match.member, match.line) for match in result.matches] == [(f"{TOKEN}/0.txt", None)]


def test_a_decoded_part_of_a_text_has_the_line_of_the_text(extractor: Extractor) -> None:
    encoded = base64.b64encode(f"key {TOKEN} of the service".encode()).decode()
    result = extracted(extractor, "/srv/config.txt", f"first\nvalue: {encoded}\n".encode())
    (match,) = result.matches
    assert (match.member, match.decoded, match.line, result.is_archive) == (None, ("base64",), 2, False)


@pytest.mark.parametrize("has_matches", [False, True])
def test_checksums_belong_to_files_with_matches(extractor: Extractor, has_matches: bool) -> None:
    result = extracted(extractor, "/srv/a.zip", zipped({"one.txt": "x"}), has_matches=has_matches)
    assert (result.checksums is not None) is has_matches


def test_a_damaged_archive_is_skipped_with_a_reason(extractor: Extractor) -> None:
    result = extracted(extractor, "/srv/a.gz", gzip.compress(TOKEN.encode() * 50)[:-20])
    assert result.skipped and not result.transient


def test_a_streamed_archive_is_read_while_it_arrives(extractor: Extractor) -> None:
    data = gzip.compress(f"a\n{TOKEN}\n".encode())
    content, results = StreamedContent(data[:512], len(data)), list[ExtractionResult]()
    reader = threading.Thread(target=lambda: results.append(extractor.extract(1, "/a.gz", content, False)))
    reader.start()
    for start in range(0, len(data), 7):
        content.add(data[start : start + 7])
    content.add(b"")
    reader.join(60)
    assert [(match.line, match.decoded) for match in results[0].matches] == [(2, ("gzip",))]
    assert results[0].checksums is None


def test_a_stopped_stream_discards_pieces_instead_of_waiting() -> None:
    content = StreamedContent(b"", 10)
    content.stop()
    for _ in range(5):
        content.add(b"piece")
