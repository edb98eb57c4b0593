"""Git repositories whose objects lie loose in a layer: which commit and path a blob had, known only at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from auditor.extract import git_objects
from auditor.extract.git_commits import CommitHistory
from auditor.scan.file_content import BufferedContent
from auditor.scan.record import LayerMatch

_MOST = 256 << 20
"""Bytes of the commits and trees of all repositories of a layer; what comes later names no blob."""


class Repositories:
    """The histories of a layer's repositories, by the folder of their objects."""

    def __init__(self) -> None:
        self._histories: dict[str, CommitHistory] = {}
        self._held = 0

    def remember(self, path: str, content: BufferedContent) -> None:
        """Take a loose object, by its path; any other file is passed over."""
        if git_objects.object_name(path) is not None:
            history = self._histories.setdefault(path.rpartition("/objects/")[0], CommitHistory())
            if self._held < _MOST:
                self._held -= history.size
                git_objects.add_loose_object(history, path, content.whole())
                self._held += history.size

    def named(self, matches: Sequence[LayerMatch], paths: Sequence[str]) -> list[LayerMatch]:
        """Return matches with the commit and path of the blobs that they stand in, where a commit tells."""
        if not self._histories:
            return list(matches)
        blob_paths = {folder: history.blob_paths() for folder, history in self._histories.items()}
        result = []
        for match in matches:
            path = paths[match.entry]
            name = git_objects.object_name(path)
            place = blob_paths.get(path.rpartition("/objects/")[0], {}).get(name) if name else None
            if place and match.member:
                rest = match.member.partition("!")[2]
                match = replace(match, member=f"{place}!{rest}" if rest else place)  # noqa: PLW2901
            result.append(match)
        return result
