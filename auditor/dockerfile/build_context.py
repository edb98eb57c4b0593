"""The build context: which files an instruction would copy, and what is in them."""

from __future__ import annotations

import fnmatch
import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from auditor.core.errors import UsageError
from auditor.dockerfile.dockerignore import IgnorePatterns, compile_patterns, find_dockerignore, read_dockerignore

MAX_FILES = 100_000
MAX_READ = 1 << 20
"""Bytes of one file that are looked at."""
_UNREAD = (".git", "node_modules")
"""Folders that are listed and not entered: what they hold is their own kind of problem."""


@dataclass(frozen=True, slots=True)
class ContextFile:
    """A file of the context, or a folder that is not entered (`size` None). `path` is relative, with slashes."""

    path: str
    size: int | None


class BuildContext:
    """The folder that is sent to the builder, less what .dockerignore excludes. Symbolic links are not followed."""

    def __init__(self, root: Path, ignored: IgnorePatterns) -> None:
        self._root, self._ignored = root, ignored
        self.cut = False

    @cached_property
    def entries(self) -> tuple[ContextFile, ...]:
        """Every file, sorted; where there are more than MAX_FILES the rest is missing and `cut` is true."""
        found: list[ContextFile] = []
        for entry in self._walk():
            if len(found) == MAX_FILES:
                self.cut = True
                break
            found.append(entry)
        return tuple(sorted(found, key=lambda entry: entry.path))

    def chosen(self, source: str, exclude: Iterable[str] = ()) -> list[ContextFile]:
        """Return the files that a source of COPY chooses: a file, all below a folder, what a glob matches."""
        wanted = posixpath.normpath(source.lstrip("/") or ".")
        left_out = compile_patterns(exclude, "--exclude")
        return [e for e in self.entries if _chooses(wanted, e.path) and not left_out.excludes(e.path)]

    def read(self, path: str) -> bytes | None:
        """Return the beginning of a file, None where it can't be read."""
        target = self._root / path
        try:
            if target.is_symlink() or not target.is_file():
                return None
            with target.open("rb") as file:
                return file.read(MAX_READ)
        except OSError:
            return None

    def _walk(self) -> Iterator[ContextFile]:
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                items = sorted(os.scandir(self._root / folder), key=lambda item: item.name)
            except OSError:
                continue
            for item in items:
                path = posixpath.join(folder, item.name)
                excluded = self._ignored.excludes(path)
                if item.is_dir(follow_symlinks=False):
                    if item.name in _UNREAD:
                        if not excluded or self._kept_inside(path):
                            yield ContextFile(path, None)
                    elif not excluded or self._ignored.has_exceptions:
                        waiting.append(path)
                elif item.is_file(follow_symlinks=False) and not excluded:
                    yield ContextFile(path, item.stat(follow_symlinks=False).st_size)

    def _kept_inside(self, folder: str) -> bool:
        return self._ignored.has_exceptions and not self._ignored.excludes(f"{folder}/config")


def open_context(dockerfile: Path, folder: Path | None) -> BuildContext:
    """Return the context of a Dockerfile, by default the folder it stands in. Raises UsageError, DockerfileError."""
    root = folder or dockerfile.parent
    if not root.is_dir():
        raise UsageError(f"--context {root}: no such folder")
    ignored = find_dockerignore(dockerfile, root)
    return BuildContext(root, read_dockerignore(ignored) if ignored else IgnorePatterns())


def _chooses(wanted: str, path: str) -> bool:
    """Go's filepath.Match for a source: `*` stops at a slash; a folder that matches brings all below it."""
    if wanted == ".":
        return True
    parts, given = path.split("/"), wanted.split("/")
    return len(parts) >= len(given) and all(map(fnmatch.fnmatchcase, parts, given))
