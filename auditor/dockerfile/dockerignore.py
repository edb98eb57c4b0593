"""`.dockerignore`: which files of a folder the builder never sees.

Source: the Dockerfile reference, .dockerignore, and moby/patternmatcher; the tests hold this against an engine. Not the
rules of a .gitignore: a pattern is anchored at the root of the context, and `!` brings a file back whose folder is
excluded.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from auditor.core.errors import DockerfileError
from auditor.dockerfile.input_file import read_small


@dataclass(frozen=True, slots=True)
class IgnorePatterns:
    """Compiled patterns, each with whether it excludes. Of those that match a path or its parent the last decides."""

    patterns: tuple[tuple[re.Pattern[str], bool], ...] = ()

    @property
    def has_exceptions(self) -> bool:
        """Whether a pattern with `!` could bring back something in an excluded folder."""
        return any(not excludes for _, excludes in self.patterns)

    def excludes(self, path: str) -> bool:
        """Whether a path, relative and with slashes, is left out of the context."""
        parents = [path, *_parents(path)]
        matched = (excludes for regex, excludes in reversed(self.patterns) if any(map(regex.fullmatch, parents)))
        return next(matched, False)


def find_dockerignore(dockerfile: Path, context: Path) -> Path | None:
    """Return the file that holds: `NAME.dockerignore` beside the Dockerfile wins over the context's own."""
    candidates = (dockerfile.with_name(f"{dockerfile.name}.dockerignore"), context / ".dockerignore")
    return next((path for path in candidates if path.is_file()), None)


def read_dockerignore(path: Path) -> IgnorePatterns:
    """Read a file of patterns. Raises DockerfileError, which names the line."""
    return compile_patterns(read_small(path).decode("utf-8-sig", "surrogateescape").splitlines(), str(path))


def compile_patterns(lines: Iterable[str], name: str = ".dockerignore") -> IgnorePatterns:
    """Compile patterns. Raises DockerfileError on one that Docker would refuse."""
    compiled = []
    for number, line in enumerate(lines, 1):
        text = "" if line.startswith("#") else line.strip()
        negated = text.startswith("!")
        text = text[1:].strip() if negated else text
        if negated and not text:
            raise DockerfileError(f"{name}:{number}: nothing after !")
        if text:
            try:
                cleaned = posixpath.normpath(text).lstrip("/")
                compiled.append((re.compile(_regex(cleaned), re.DOTALL), not negated))
            except (re.error, ValueError):
                raise DockerfileError(f"{name}:{number}: malformed pattern {text:.60}") from None
    return IgnorePatterns(tuple(pair for pair in compiled if pair[0].pattern))


def _parents(path: str) -> Iterable[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _regex(pattern: str) -> str:
    """Translate a pattern: `*` and `?` stop at a slash, `**` is any number of folders, none too."""
    if pattern == ".":
        return ""
    result, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**", at):
            at += 3 if pattern.startswith("**/", at) else 2
            result += "(?:.*/)?" if at < len(pattern) else ".*"
            continue
        if char == "[":
            end = pattern.index("]", at + 2)
            result += _class(pattern[at + 1 : end])
            at = end
        elif char == "\\" and at + 1 < len(pattern):
            at += 1
            result += re.escape(pattern[at])
        else:
            result += {"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char)
        at += 1
    return result


def _class(inside: str) -> str:
    negated = inside.startswith("^")
    body = re.sub(r"([\[\]&~|^])", r"\\\1", inside.removeprefix("^"))
    return f"[{'^' if negated else ''}{body}]"
