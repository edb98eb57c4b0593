"""Build context: the files that COPY and ADD can copy."""

from __future__ import annotations

import fnmatch
import os
import posixpath
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from auditor.core.dataclass import dataclass
from auditor.core.errors import UsageError
from auditor.dockerfile.dockerignore import IgnorePatterns, compile_patterns, find_dockerignore, read_dockerignore

MAX_FILES = 100_000
MAX_READ = 1 << 20
"""Bytes read of one file."""
_UNREAD = (".git", "node_modules")
"""Folders that are listed but not entered: rules treat them as a whole."""


@dataclass(frozen=True, slots=True)
class ContextFile:
    """File of the context, or a folder that is not entered (`size` None). `path` is relative, with slashes."""

    path: str
    size: int | None


class BuildContext:
    """Folder sent to the builder, without files excluded by .dockerignore. Symbolic links are not followed."""

    def __init__(self, root: Path, ignored: IgnorePatterns) -> None:
        self._root, self._ignored = root, ignored
        self.truncated = False

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def with_patterns(self, ignored: IgnorePatterns) -> BuildContext:
        """Return the same folder with other patterns of .dockerignore."""
        return BuildContext(self._root, ignored)

    @cached_property
    def entries(self) -> tuple[ContextFile, ...]:
        """Files of the context, sorted. Above MAX_FILES the rest is missing and `truncated` is set."""
        found: list[ContextFile] = []
        for entry in self._walk():
            if len(found) == MAX_FILES:
                self.truncated = True
                break
            found.append(entry)
        return tuple(sorted(found, key=lambda entry: entry.path))

    def matching(self, source: str, exclude: Iterable[str] = ()) -> list[ContextFile]:
        """Return the files that a source of COPY matches: a file, files below a folder, or matches of a glob."""
        pattern = posixpath.normpath(source.lstrip("/") or ".")
        excluded = compile_patterns(exclude, "--exclude")
        return [e for e in self.entries if _matches(pattern, e.path) and not excluded.excludes(e.path)]

    def read(self, path: str) -> bytes | None:
        """Return the first MAX_READ bytes of a file, None if it can't be read."""
        target = self._root / path
        try:
            if target.is_symlink() or not target.is_file():
                return None
            with target.open("rb") as file:
                return file.read(MAX_READ)
        except OSError:
            return None

    def _walk(self) -> Iterator[ContextFile]:
        pending = [""]
        while pending:
            folder = pending.pop()
            try:
                items = sorted(os.scandir(self._root / folder), key=lambda item: item.name)
            except OSError:
                continue
            for item in items:
                path = posixpath.join(folder, item.name)
                excluded = self._ignored.excludes(path)
                if item.is_dir(follow_symlinks=False):
                    if item.name in _UNREAD:
                        if not excluded or self._includes_below(path):
                            yield ContextFile(path, None)
                    elif not excluded or self._ignored.has_exceptions:
                        pending.append(path)
                elif item.is_file(follow_symlinks=False) and not excluded:
                    yield ContextFile(path, item.stat(follow_symlinks=False).st_size)

    def _includes_below(self, folder: str) -> bool:
        return self._ignored.has_exceptions and not self._ignored.excludes(f"{folder}/config")


def open_context(dockerfile: Path, folder: Path | None) -> BuildContext:
    """Return the context of a Dockerfile, by default its own folder. Raises UsageError, DockerfileError."""
    root = folder or dockerfile.parent
    if not root.is_dir():
        raise UsageError(f"--context {root}: no such directory")
    ignored = find_dockerignore(dockerfile, root)
    return BuildContext(root, read_dockerignore(ignored) if ignored else IgnorePatterns())


def _matches(pattern: str, path: str) -> bool:
    """Match as Go's filepath.Match does: `*` stops at a slash, and a matching folder includes all files below it."""
    if pattern == ".":
        return True
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) >= len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))
