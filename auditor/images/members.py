"""Members of an archive, at the paths where an engine's extraction puts them."""

from __future__ import annotations

import io
import posixpath
from dataclasses import dataclass
from typing import BinaryIO

from auditor.codec.file_slices import FileSlice
from auditor.codec.tar_headers import Header, normalise
from auditor.core.entries import EntryKind
from auditor.core.errors import Damaged
from auditor.core.limits import Limits, named
from auditor.images.source import LayerRef

_MAX_HOPS = 40
"""Symbolic links that one path may lead through, as in Linux."""


@dataclass(frozen=True, slots=True)
class BufferedMember:
    """A JSON document in memory."""

    data: bytes

    def open(self) -> BinaryIO:
        """Return a stream over the bytes."""
        return io.BytesIO(self.data)


Member = BufferedMember | FileSlice | LayerRef


class Members:
    """Files by path. Docker unpacks an archive before it reads it, so links count as in a folder."""

    def __init__(self, what: str, limits: Limits) -> None:
        """`what` names the archive in errors."""
        self._what, self._most = what, limits.image_members
        self._files: dict[str, Member] = {}
        self._links: dict[str, str] = {}

    def add(self, header: Header, member: Member | None) -> None:
        """Add an entry; `member` is the content of a file. Raises Damaged where there are too many."""
        most = self._most
        if max(len(self._files), len(self._links)) >= most:
            raise Damaged(f"{self._what}: more than {most} members {named('image-members')}")
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
        """Return the file that a path leads to; None where it leads to none."""
        place = self._resolved(path, final=True)
        return None if place is None else self._files.get(place)

    def _link(self, path: str, target: str) -> None:
        """Give a path the file of another one; where that comes later, follow it as a symbolic link."""
        place = self._resolved(target, final=False)
        if place == path or place is None:
            return
        self._files.pop(path, None)
        self._links.pop(path, None)
        if place in self._files:
            self._files[path] = self._files[place]
        else:
            self._links[path] = self._links.get(place, "/" + place)

    def _resolved(self, path: str, *, final: bool) -> str | None:
        """Return a path without links in its folders, with `final` none in its name; None where they lead nowhere.

        `..` and an absolute target stay below the archive's root.
        """
        ahead, done, hops = normalise(path).split("/")[::-1], "", 0
        while ahead:
            part = ahead.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = posixpath.dirname(done)
                continue
            here = f"{done}/{part}" if done else part
            target = self._links.get(here) if ahead or final else None
            if target is None:
                done = here
                continue
            hops += 1
            if hops > _MAX_HOPS:
                return None
            if target.startswith("/"):
                done = ""
            ahead += target.split("/")[::-1]
        return done
