"""Unified diff of a fixed file, with secrets masked. Source of the form: POSIX, diff, "Diff -u Output Format"."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import overload

from auditor.core.errors import without_logins
from auditor.core.globs import MASK
from auditor.core.text import printable
from auditor.dockerfile.fix.source_text import SourceText
from auditor.dockerfile.instructions import BuildStep
from auditor.dockerfile.parser import parse
from auditor.dockerfile.secret_values import literal_secrets
from auditor.dockerfile.stages import build_stage_graph
from auditor.scan import Scanner

_CONTEXT_LINES = 3
_VARIABLE = re.compile(r"[\"']?\$(?:\w+|\{\w+\})[\"']?")
"""Reference to a variable, which some rules take for a password."""
_NO_NEWLINE = "\\ No newline at end of file"


class MaskedLines(Sequence[str]):
    """Lines of a Dockerfile, each masked when it is read: secrets by `****`, control characters by escapes."""

    def __init__(self, source: SourceText, name: str, scanner: Scanner) -> None:
        """Parse the text. Raises DockerfileError."""
        dockerfile = parse(source.text.removeprefix(source.bom), name)
        self._lines, self._scanner, self._escape = source.lines, scanner, dockerfile.escape
        self._end = source.newline.removesuffix("\n")
        self._ended = len(self._lines) if source.final_newline else len(self._lines) - 1
        steps = {
            step.instruction.line: step
            for stage in build_stage_graph(dockerfile).stages
            for step in (stage.start, *stage.steps)
        }
        self._steps = [steps.get(one.line, BuildStep(one)) for one in dockerfile.instructions]
        self._starts = [step.instruction.line for step in self._steps]
        self._values: dict[int, list[str]] = {}

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[index] for index in range(*at.indices(len(self)))]
        data = self._lines[at].encode("utf-8", "surrogateescape")
        for item in sorted(self._scanner.searcher.search_text(self._lines[at]), key=lambda item: -item.start):
            if not _VARIABLE.fullmatch(data[item.start : item.end].decode("utf-8", "replace")):
                data = data[: item.start] + MASK.encode() + data[item.end :]
        line = data.decode("utf-8", "replace")
        for value in self._values_at(at + 1):
            line = line.replace(value, MASK) if value else MASK
        # A tab is kept, because the diff must fit the file.
        shown = "\t".join(map(printable, without_logins(line).split("\t")))
        return shown + (self._end if at < self._ended else "")

    def _values_at(self, line: int) -> list[str]:
        """Return the secrets of the instruction at a line, the longest first.

        An empty text stands for a secret that is not on a line as a whole, so that each line is masked completely.
        """
        found = bisect_right(self._starts, line) - 1
        if found < 0 or line > self._steps[found].instruction.end_line:
            return []
        if found not in self._values:
            step = self._steps[found]
            secrets = {one.value for one in literal_secrets(self._scanner, step, self._escape)}
            # Variables of earlier instructions are expanded; their values stand there.
            pieces = {
                piece.strip()
                for value in secrets - set(step.variables.values())
                for piece in value.split("\n")
                if piece.strip() and not _VARIABLE.fullmatch(piece.strip())
            }
            raw = self._lines[step.instruction.line - 1 : step.instruction.end_line]
            shown = {piece if any(piece in text for text in raw) else "" for piece in pieces}
            self._values[found] = sorted(shown, key=len, reverse=True)
        return self._values[found]


def unified_diff(
    names: tuple[str, str], before: Sequence[str], after: Sequence[str], shown: tuple[Sequence[str], Sequence[str]],
    *, ends: tuple[bool, bool] = (True, True),
) -> Iterator[str]:  # fmt: skip
    """Yield the lines of a diff without their ends; nothing without a difference.

    `before` and `after` are compared, `shown` are printed in their place. `ends` tells whether the last line of each
    has an end.
    """
    groups = list(SequenceMatcher(None, before, after).get_grouped_opcodes(_CONTEXT_LINES))
    if groups:
        yield f"--- {names[0]}"
        yield f"+++ {names[1]}"
    for group in groups:
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        for tag, low, high, new_low, new_high in group:
            if tag == "equal":
                yield from _marked(" ", shown[0], low, high, ends[0])
                continue
            yield from _marked("-", shown[0], low, high, ends[0])
            yield from _marked("+", shown[1], new_low, new_high, ends[1])


def _range(low: int, high: int) -> str:
    length = high - low
    start = low + 1 if length else low
    return str(start) if length == 1 else f"{start},{length}"


def _marked(mark: str, lines: Sequence[str], low: int, high: int, ended: bool) -> Iterator[str]:
    for at in range(low, high):
        yield f"{mark}{lines[at]}"
        if at == len(lines) - 1 and not ended:
            yield _NO_NEWLINE
