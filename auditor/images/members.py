"""Members of an archive, at the paths that an engine's extraction gives them."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Mapping
from typing import BinaryIO

from auditor.codec.file_slices import FileSlice
from auditor.codec.tar_headers import Header, normalise
from auditor.core.dataclass import dataclass
from auditor.core.entries import EntryKind
from auditor.core.errors import Damaged
from auditor.core.limits import Limits, limit_note
from auditor.images.source import LayerRef

_MAX_HOPS = 40
"""Symbolic links in the resolution of one path, as in Linux."""


@dataclass(frozen=True, slots=True)
class BufferedMember:
    """A JSON document in memory."""

    data: bytes

    def open(self) -> BinaryIO:
        """Return a stream over the bytes."""
        return io.BytesIO(self.data)


Member = BufferedMember | FileSlice | LayerRef


class Members:
    """Files by path. Links are followed: Docker unpacks an archive into a folder before reading it.

    `used` has the files that `get` returned, by the requested path.
    """

    def __init__(self, what: str, limits: Limits) -> None:
        self._what, self._most = what, limits.image_members
        self._files: dict[str, Member] = {}
        self._links: dict[str, str] = {}
        self.used: dict[str, Member] = {}

    @classmethod
    def restored(cls, what: str, limits: Limits, used: Mapping[str, Member]) -> Members:
        """Return members that answer every path of an earlier `used`."""
        members = cls(what, limits)
        for path, member in used.items():
            resolved = members._resolved(path, final=False)
            if resolved is not None:
                members._files[resolved] = member
        return members

    def add(self, header: Header, member: Member | None) -> None:
        """Add an entry; `member` is the content of a file. Raises Damaged above the limit."""
        most = self._most
        if max(len(self._files), len(self._links)) >= most:
            raise Damaged(f"{self._what}: more than {most} members {limit_note('image-members')}")
        path = self._resolved(header.path, final=False)
        if path is None:
            return
        match header.kind:
            case EntryKind.FILE if member is not None:
                self._links.pop(path, None)
                self._files[path] = member
            case EntryKind.SYMLINK:
                self._files.pop(path, None)
                self._links[path] = header.link
            case EntryKind.HARDLINK:
                self._link(path, header.link)
            case EntryKind.DIR:
                self._links.pop(path, None)
            case _:
                pass

    def get(self, path: str) -> Member | None:
        """Return the file at a path, through links; None without one."""
        resolved = self._resolved(path, final=True)
        member = None if resolved is None else self._files.get(resolved)
        if member is not None:
            self.used[path] = member
        return member

    def _link(self, path: str, target: str) -> None:
        """Add a hard link. If its target comes later in the archive, treat it as a symbolic link."""
        resolved = self._resolved(target, final=False)
        if resolved == path or resolved is None:
            return
        self._files.pop(path, None)
        self._links.pop(path, None)
        if resolved in self._files:
            self._files[path] = self._files[resolved]
        else:
            self._links[path] = self._links.get(resolved, "/" + resolved)

    def _resolved(self, path: str, *, final: bool) -> str | None:
        """Return a path with the links among its folders resolved, with `final` its last part too; None for a loop.

        `..` and an absolute target stay below the archive's root.
        """
        parts, resolved, hops = normalise(path).split("/")[::-1], "", 0
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            if part == "..":
                resolved = posixpath.dirname(resolved)
                continue
            here = f"{resolved}/{part}" if resolved else part
            target = self._links.get(here) if parts or final else None
            if target is None:
                resolved = here
                continue
            hops += 1
            if hops > _MAX_HOPS:
                return None
            if target.startswith("/"):
                resolved = ""
            parts += target.split("/")[::-1]
        return resolved
