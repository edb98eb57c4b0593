"""Real paths of a layer's entries: symbolic links among their parents are followed as engines follow them.

Docker and Podman extract each layer into an empty folder, in the order of its tar. An overlay file system merges the
folders. So an entry `bin/sh` behind a link `bin -> usr/bin` of the same layer creates `usr/bin/sh`. A link of a lower
layer is not followed: the implied folder `bin` replaces it.
Source: moby pkg/archive (Unpack), containers/storage pkg/archive.
"""

from __future__ import annotations

from collections.abc import Iterable

from auditor.core.errors import Damaged
from auditor.core.limits import Limits, limit_note

_MAX_LINKS = 40  # limit of Linux for one path


class PathResolver:
    """Resolver of the symbolic links that a layer has created so far. Add every entry, in the order of the tar."""

    def __init__(self, limits: Limits) -> None:
        self._links: dict[str, str] = {}
        self._folders: dict[str, str] = {}  # real path of each resolved folder
        self._walked: set[str] = set()  # real folders on the way to those in `_folders`
        self._above: set[str] = set()  # folders with a link in them, at any depth
        self.tracked: set[str] = set()
        """Real paths of links, and of folders with a link in them. Any entry at one of these must go through `add`."""
        self.has_followed = False
        """Whether a link among the parents of a path was followed."""
        self._limits = limits
        self._steps, self._memory = self._limits.link_steps, self._limits.paths_bytes  # remaining budget
        self._last = ""  # folder of the previous path

    def real(self, path: str) -> str:
        """Return the path that an entry creates: links among its parents are followed, its own name is kept.

        A path through a loop of links is returned unchanged: no engine extracts such a layer. Raises Damaged where the
        links take more steps than the limit `link-steps`, or the names of all folders more memory than `paths-bytes`.
        """
        folder, slash, name = path.rpartition("/")
        if folder != self._last:
            self._last = folder
            self._use_memory((folder.count("/") + 1) * (len(folder) // 2 + 64))
        if not slash or not self._links:
            return path
        found = self._folders.get(folder)
        if found is None:
            found = self._folders[folder] = self._real_folder(folder)
        return path if found == folder else f"{found}/{name}" if found else name

    def affects(self, paths: Iterable[str], folders: Iterable[str], other: PathResolver) -> bool:
        """Whether some entries would get other real paths behind the entries added so far than on their own.

        `paths` are the real paths that `other` returned for the entries and for targets of hard links; `folders` are
        all folders above them. The answer may be true where the paths would be the same, never the other way round.
        """
        if not self._links:
            return False
        return other.has_followed or not self._links.keys().isdisjoint(folders) or not self.tracked.isdisjoint(paths)

    def append(self, other: PathResolver) -> None:
        """Add the entries of a resolver whose paths are not affected by those added so far. Raises Damaged."""
        for path, link in other._links.items():
            self.add(path, link)
        self._use_memory(self._limits.paths_bytes - other._memory)
        self._spend(self._limits.link_steps - other._steps)

    def link_at(self, path: str) -> str | None:
        """Return the target of the symbolic link at a real path; None for any other path."""
        return self._links.get(path)

    def add(self, path: str, link: str | None, *, folder: bool = False) -> None:
        """Add an entry at a real path: a symbolic link to `link`, a folder, or another kind."""
        if path in self._above and not folder:
            self._remove_below(path)
        if link is None:
            if self._links and self._links.pop(path, None) is not None:
                self._clear_cache()
            return
        if path in self._walked or path in self._links:
            self._clear_cache()
        self._links[path] = link
        self.tracked.add(path)
        parent = path.rpartition("/")[0]
        while parent and parent not in self._above:
            self._above.add(parent)
            self.tracked.add(parent)
            parent = parent.rpartition("/")[0]

    def _clear_cache(self) -> None:
        self._folders.clear()
        self._walked.clear()

    def _remove_below(self, path: str) -> None:
        """Remove the links below a folder that another entry replaces."""
        self._spend(len(self._links) + len(self._above))
        below = path + "/"
        self._links = {link: target for link, target in self._links.items() if not link.startswith(below)}
        self._above = {folder for folder in self._above if folder != path and not folder.startswith(below)}
        self._clear_cache()

    def _real_folder(self, path: str) -> str:
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
            self.has_followed = True
            if followed > _MAX_LINKS:
                return path
            if target.startswith("/"):
                real = ""
            parts = target.split("/")
            self._spend(len(parts))
            names += parts[::-1]
        return real

    def _use_memory(self, count: int) -> None:
        self._memory -= count
        if self._memory < 0:
            most = self._limits.paths_bytes
            raise Damaged(f"tar: folders that take more than {most} bytes of memory {limit_note('paths-bytes')}")

    def _spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise Damaged(
                f"tar: more than {self._limits.link_steps} steps along symbolic links {limit_note('link-steps')}"
            )
