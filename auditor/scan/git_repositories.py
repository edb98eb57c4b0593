"""Commits and paths of loose git objects in a layer. They are known only at the end of the layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from auditor.extract import git_objects
from auditor.extract.git_commits import CommitHistory
from auditor.scan.file_content import BufferedContent
from auditor.scan.record import LayerMatch

_MAX_BYTES = 256 << 20
"""Bytes of commits and trees of all repositories of a layer; blobs of later ones stay without commit and path."""


class GitRepositories:
    """Git repositories of a layer. `histories` are by the folder of their objects."""

    def __init__(self) -> None:
        self.histories: dict[str, CommitHistory] = {}
        self._size = 0

    def add(self, path: str, content: BufferedContent) -> None:
        """Add a loose object by its path; ignore any other file."""
        if git_objects.object_name(path) is not None:
            history = self.histories.setdefault(path.rpartition("/objects/")[0], CommitHistory())
            if self._size < _MAX_BYTES:
                self._size -= history.size
                git_objects.add_loose_object(history, path, content.data)
                self._size += history.size

    def append(self, histories: Mapping[str, CommitHistory]) -> None:
        """Add the objects of repositories, which may be in other parts of the layer too."""
        for folder, other in histories.items():
            history = self.histories.setdefault(folder, CommitHistory())
            if self._size < _MAX_BYTES:
                self._size -= history.size
                history.append(other)
                self._size += history.size

    def with_commits(self, matches: Sequence[LayerMatch], paths: Sequence[str]) -> list[LayerMatch]:
        """Return the matches; the member of one in a blob of a known commit has that commit and path."""
        if not self.histories:
            return list(matches)
        blob_paths = {folder: history.blob_paths() for folder, history in self.histories.items()}
        return [self._with_commit(match, paths[match.entry], blob_paths) for match in matches]

    @staticmethod
    def _with_commit(match: LayerMatch, path: str, blob_paths: dict[str, dict[str, str]]) -> LayerMatch:
        blob = git_objects.object_name(path)
        in_commit = blob_paths.get(path.rpartition("/objects/")[0], {}).get(blob) if blob else None
        if not in_commit or not match.member:
            return match
        inner = match.member.partition("!")[2]
        return replace(match, member=f"{in_commit}!{inner}" if inner else in_commit)
