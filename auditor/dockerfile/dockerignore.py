"""Patterns of `.dockerignore`.

Source: the Dockerfile reference and moby/patternmatcher; tests compare with an engine. The rules differ from those of
.gitignore: patterns are anchored at the root of the context, and `!` includes a file even if its folder is excluded.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from pathlib import Path

from auditor.core.dataclass import dataclass
from auditor.core.errors import DockerfileError
from auditor.dockerfile.input_file import read_small


@dataclass(frozen=True, slots=True)
class IgnorePatterns:
    """Compiled patterns, each with True for exclusion. The last pattern that matches a path or its parent decides."""

    patterns: tuple[tuple[re.Pattern[str], bool], ...] = ()

    @property
    def has_exceptions(self) -> bool:
        """Whether a pattern with `!` may include files of an excluded folder."""
        return any(not excludes for _, excludes in self.patterns)

    def excludes(self, path: str) -> bool:
        """Return whether a path (relative, with slashes) is excluded from the context."""
        parents = [path, *_parents(path)]
        matched = (excludes for regex, excludes in reversed(self.patterns) if any(map(regex.fullmatch, parents)))
        return next(matched, False)


def find_dockerignore(dockerfile: Path, context: Path) -> Path | None:
    """Return the ignore file: `NAME.dockerignore` beside the Dockerfile wins over the one of the context."""
    candidates = (dockerfile.with_name(f"{dockerfile.name}.dockerignore"), context / ".dockerignore")
    return next((path for path in candidates if path.is_file()), None)


def read_dockerignore(path: Path) -> IgnorePatterns:
    """Read an ignore file. Raises DockerfileError with the line number."""
    return compile_patterns(read_small(path).decode("utf-8-sig", "surrogateescape").splitlines(), str(path))


def compile_patterns(lines: Iterable[str], name: str = ".dockerignore") -> IgnorePatterns:
    """Compile patterns. Raises DockerfileError for a pattern that Docker rejects."""
    compiled = []
    for number, line in enumerate(lines, 1):
        text = "" if line.startswith("#") else line.strip()
        negated = text.startswith("!")
        text = text[1:].strip() if negated else text
        if negated and not text:
            raise DockerfileError(f"{name}:{number}: pattern missing after !")
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
    """Translate a pattern: `*` and `?` stop at a slash, `**` is zero or more folders."""
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
