"""Real paths of a layer's entries: symbolic links among their parents are followed as an engine's extraction does.

Docker and Podman extract each layer into an empty folder, in the order of its tar, before an overlay file system lays
it on the layers below. So an entry `bin/sh` behind a link `bin -> usr/bin` of the same layer makes `usr/bin/sh`, and a
link of a lower layer is not followed: the folder that the entry implies takes its place.
Source: moby pkg/archive (Unpack), containers/storage pkg/archive.
"""

from __future__ import annotations

from auditor.core.errors import Damaged
from auditor.core.limits import Limits, named

_MAX_LINKS = 40  # that Linux follows in one path


class PathResolver:
    """Follows the symbolic links that a layer has made so far. Feed it every entry, in the order of the tar."""

    def __init__(self, limits: Limits) -> None:
        self._links: dict[str, str] = {}
        self._folders: dict[str, str] = {}  # real path of each folder asked for
        self._walked: set[str] = set()  # real folders that the paths in `_folders` lead through
        self._above: set[str] = set()  # folders that hold a link, directly or below
        self.noted: set[str] = set()
        """Real paths of links, and of folders that hold one: of what else is put there `put` has to be told."""
        self._limits = limits
        self._steps, self._memory = self._limits.link_steps, self._limits.paths_bytes  # that are left
        self._last = ""  # the folder of the path before

    def real(self, path: str) -> str:
        """Return the path that an entry makes: links among its parents followed, its own name kept.

        Where the links form a loop no engine extracts the layer, and the path is returned as it is. Raises Damaged
        where the links of a layer cost more steps than the limit `link-steps`, or its folders, each of which has a name
        for every one above it, more memory than `paths-bytes`.
        """
        folder, slash, name = path.rpartition("/")
        if folder != self._last:
            self._last = folder
            self._memory -= (folder.count("/") + 1) * (len(folder) // 2 + 64)
            if self._memory < 0:
                most = self._limits.paths_bytes
                raise Damaged(f"tar: folders that take more than {most} bytes of memory {named('paths-bytes')}")
        if not slash or not self._links:
            return path
        found = self._folders.get(folder)
        if found is None:
            found = self._folders[folder] = self._walk(folder)
        return path if found == folder else f"{found}/{name}" if found else name

    def link_at(self, path: str) -> str | None:
        """Return the target of the symbolic link at a real path; None where none is."""
        return self._links.get(path)

    def put(self, path: str, link: str | None, *, folder: bool = False) -> None:
        """Note what stands at a real path from now on: a symbolic link to `link`, a folder, or anything else."""
        if path in self._above and not folder:
            self._remove_below(path)
        if link is None:
            if self._links and self._links.pop(path, None) is not None:
                self._forget()
            return
        if path in self._walked or path in self._links:
            self._forget()
        self._links[path] = link
        self.noted.add(path)
        parent = path.rpartition("/")[0]
        while parent and parent not in self._above:
            self._above.add(parent)
            self.noted.add(parent)
            parent = parent.rpartition("/")[0]

    def _forget(self) -> None:
        self._folders.clear()
        self._walked.clear()

    def _remove_below(self, path: str) -> None:
        """Drop the links below a folder that something else replaces."""
        self._spend(len(self._links) + len(self._above))
        below = path + "/"
        self._links = {link: target for link, target in self._links.items() if not link.startswith(below)}
        self._above = {folder for folder in self._above if folder != path and not folder.startswith(below)}
        self._forget()

    def _walk(self, path: str) -> str:
        """Return the real path of a folder."""
        names, real, followed = path.split("/")[::-1], "", 0
        while names:
            name = names.pop()
            if name in ("", "."):
                continue
            if name == "..":
                real = real.rpartition("/")[0]
                continue
            at = f"{real}/{name}" if real else name
            target = self._links.get(at)
            if target is None:
                real = at
                self._walked.add(at)
                continue
            followed += 1
            if followed > _MAX_LINKS:
                return path
            if target.startswith("/"):
                real = ""
            parts = target.split("/")
            self._spend(len(parts))
            names += parts[::-1]
        return real

    def _spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise Damaged(f"tar: more than {self._limits.link_steps} steps along symbolic links {named('link-steps')}")
