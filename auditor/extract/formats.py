"""The table of archive formats: how each is recognised, and the function that reads it.

A new format is a module with its function, a row in `ARCHIVE_FORMATS`, and, where its first bytes tell it, a row in
auditor/codec/signatures.py with the same name.

A buffered format is read from memory, so its files are bound by the limit `member-bytes`. A streamed one is read front
to back, whatever its size. One with random access is read from memory, from the image where the layer is stored
uncompressed, or from a temporary file. An isolated one goes through native code and is read in a process of its own,
whose address space is bound by `reader-memory` (isolated_reader.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from auditor.codec.random_access import FileAccess, RandomAccess
from auditor.codec.signatures import HEAD, signature_of
from auditor.codec.tar_headers import is_header
from auditor.core.dataclass import dataclass
from auditor.extract import (
    compressed,
    cpio,
    deb,
    der_keys,
    git_objects,
    git_packs,
    isolated_reader,
    java_class,
    pyc,
    rpm,
    sevenzip,
    sqlite_cells,
    tar_archive,
    utf16,
    zip_archive,
)
from auditor.extract.budget import ExtractContext
from auditor.extract.member_stream import Member, MemberStream, as_stream, buffered, random_access

_LOOSE_OBJECT = re.compile(r"(?:^|/)objects/[0-9a-f]{2}/[0-9a-f]{38}(?:[0-9a-f]{24})?$")


@dataclass(frozen=True, slots=True)
class ArchiveFormat:
    """A format that holds files or text. Exactly one of the three functions `read_…` is set."""

    name: str
    """The name in reports (`decoded`), and of its signature."""
    read_stream: Callable[[MemberStream, ExtractContext], Iterator[Member]] | None = None
    read_buffer: Callable[[bytes, ExtractContext], Iterator[Member]] | None = None
    read_random: Callable[[RandomAccess, ExtractContext], Iterator[Member]] | None = None
    isolated: bool = False
    """Whether it is read in a process of its own."""
    endings: tuple[str, ...] = ()
    """File name endings, with their dot, for files without the signature."""
    by_path: Callable[[str, bytes], bool] | None = None
    """Check of a file's path and first bytes: of one with such an ending, or of any where there are none."""
    one_level_when_compressed: bool = False
    """Whether a compressed archive counts as one level of nesting, as `a.tar.gz`."""
    are_plain: Callable[[Sequence[bytes]], Sequence[bool]] | None = None
    """Tells which of several files have nothing to extract and are searched as they are: faster than to read each."""
    members_renamed: bool = False
    """Whether a scan gives members other names once it has read the layer: paths and commits of git blobs."""

    @property
    def streamed(self) -> bool:
        """Whether it is read front to back, so that a stream will do."""
        return self.read_stream is not None

    def members(self, body: bytes | MemberStream | FileAccess, context: ExtractContext) -> Iterator[Member]:
        """Yield the members of an archive; of a file where the format has random access. Raises BudgetExceeded."""
        if self.read_random is not None:
            return self.read_random(body if isinstance(body, FileAccess) else random_access(body, context), context)
        assert not isinstance(body, FileAccess)  # noqa: S101 - as the caller knows by `is_random`
        if self.read_stream is not None:
            return self.read_stream(as_stream(body), context)
        data = body if isinstance(body, bytes) else buffered(body, context)
        if self.isolated:
            return isolated_reader.read(data, context, self.name)
        assert self.read_buffer is not None  # noqa: S101 - one of the two is set
        return self.read_buffer(data, context)


def _is_zip(_: str, head: bytes) -> bool:
    return bool(head)  # a script that starts the archive may stand before it


def _is_old_tar(_: str, head: bytes) -> bool:
    return head[:1] != b"\0" and is_header(head[:HEAD])


def _is_own_pyc(path: str, head: bytes) -> bool:
    """Tell compiled Python that no package installed: of installed packages the plain search finds enough."""
    return head[2:4] == b"\r\n" and "lib/python" not in path


def _is_loose_object(path: str, head: bytes) -> bool:
    return head[:1] == b"x" and _LOOSE_OBJECT.search(path) is not None


ARCHIVE_FORMATS = (
    ArchiveFormat(
        "zip",
        read_random=zip_archive.read,
        endings=(".zip", ".jar", ".war", ".ear", ".pyz", ".pex", ".whl"),
        by_path=_is_zip,
    ),
    ArchiveFormat("tar", tar_archive.read, endings=(".tar",), by_path=_is_old_tar, one_level_when_compressed=True),
    ArchiveFormat("gzip", compressed.gzip),
    ArchiveFormat("bzip2", compressed.bzip2),
    ArchiveFormat("xz", compressed.xz),
    ArchiveFormat("zstd", compressed.zstd),
    ArchiveFormat("cpio", cpio.read, one_level_when_compressed=True),
    ArchiveFormat("deb", deb.read),
    ArchiveFormat("rpm", rpm.read),
    ArchiveFormat("7z", read_buffer=sevenzip.read, isolated=True),
    ArchiveFormat("sqlite", read_buffer=sqlite_cells.read, isolated=True),
    ArchiveFormat("rpmdb", read_buffer=sqlite_cells.read_rpm_headers, isolated=True),
    ArchiveFormat("utf-16le", read_buffer=utf16.read_little_endian),
    ArchiveFormat("utf-16be", read_buffer=utf16.read_big_endian),
    ArchiveFormat("pyc", read_buffer=pyc.read, endings=(".pyc",), by_path=_is_own_pyc),
    ArchiveFormat("class", read_buffer=java_class.read, are_plain=java_class.have_no_words),
    ArchiveFormat("der", read_buffer=der_keys.read, by_path=der_keys.is_der_key),
    ArchiveFormat("git-object", read_buffer=git_objects.read, by_path=_is_loose_object, members_renamed=True),
    ArchiveFormat("git-pack", read_buffer=git_packs.read),
)
"""All formats. `rpmdb` has no signature of its own: provenance reads it by name."""

FORMATS = {row.name: row for row in ARCHIVE_FORMATS}
_BY_ENDING = {ending: row for row in ARCHIVE_FORMATS for ending in row.endings}
_BY_PATH = tuple(row for row in ARCHIVE_FORMATS if row.by_path and not row.endings)


def format_of(path: str, head: bytes) -> ArchiveFormat | None:
    """Return the format of a file by its path and first `HEAD` bytes; None for a file that is not opened."""
    signature = signature_of(head)
    if signature is not None and signature.is_container:
        return FORMATS[signature.name]
    row = _BY_ENDING.get(path[path.rfind(".") :])
    if row is not None and row.by_path is not None and row.by_path(path, head):
        return row
    for row in _BY_PATH:  # called for every file: a generator expression takes twice the time
        if row.by_path is not None and row.by_path(path, head):
            return row
    return None
