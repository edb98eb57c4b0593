"""Text of a Dockerfile as lines that remember their original number, and edits of its instructions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from auditor.core.dataclass import dataclass
from auditor.core.errors import DockerfileError
from auditor.dockerfile.instructions import Instruction
from auditor.dockerfile.parser import continuation, is_complete

_BOM = "\ufeff"
_WIDTH = 100
_RUN = re.compile(r"(?i)(?P<start>\s*RUN)(?:[ \t]+|$)(?P<rest>.*)")


class NotFixable(Exception):
    """A problem that no fix removes safely. The message is the reason, for the user."""


@dataclass(frozen=True, slots=True)
class SourceText:
    """Lines without their ends. `origins` has the original number of each line, that of the line it replaces if new."""

    lines: tuple[str, ...]
    origins: tuple[int, ...]
    newline: str = "\n"
    bom: str = ""
    final_newline: bool = True

    @classmethod
    def of(cls, text: str, name: str) -> SourceText:
        """Split a text. Raises DockerfileError where ends of lines differ, because edits would change them."""
        bom = _BOM if text.startswith(_BOM) else ""
        parts = text.removeprefix(_BOM).split("\n")
        final = parts[-1] == ""
        parts = parts[:-1] if final else parts
        ended = parts if final else parts[:-1]
        windows = bool(ended) and all(part.endswith("\r") for part in ended)
        lines = tuple(part.removesuffix("\r") if windows else part for part in parts)
        if any(line.endswith("\r") for line in lines):
            raise DockerfileError(f"{name}: some lines end with CRLF, others with LF. Use one of them for --fix")
        return cls(lines, tuple(range(1, len(lines) + 1)), "\r\n" if windows else "\n", bom, final)

    @property
    def text(self) -> str:
        """The whole text."""
        return self.bom + self.newline.join(self.lines) + (self.newline if self.final_newline else "")

    def of_instruction(self, one: Instruction) -> tuple[str, ...]:
        """Return the lines of an instruction, with comments between them."""
        return self.lines[one.line - 1 : one.end_line]

    def with_first_line(self, line: str) -> SourceText:
        """Return the text with another line before the first."""
        return replace(self, lines=(line, *self.lines), origins=(1, *self.origins))


class Editor:
    """Edits of several instructions of one text, applied together by `result`. Edits of one instruction add up."""

    def __init__(self, source: SourceText, escape: str) -> None:
        self._source, self._escape = source, escape
        self._new: dict[int, tuple[Instruction, list[str]]] = {}
        self._before: dict[int, list[tuple[str, int]]] = {}

    @property
    def edited(self) -> frozenset[int]:
        """Line numbers of the edited instructions."""
        return frozenset(self._new) | frozenset(self._before)

    def lines(self, one: Instruction) -> list[str]:
        """Return the lines of an instruction after the edits so far."""
        return self._new[one.line][1] if one.line in self._new else list(self._source.of_instruction(one))

    def set_lines(self, one: Instruction, lines: Iterable[str]) -> None:
        """Replace an instruction; without lines it is removed."""
        self._new[one.line] = one, list(lines)

    def insert_before(self, one: Instruction, lines: Iterable[str], origin: int) -> None:
        """Insert lines before an instruction. `origin` is the current number of the line that they stand for."""
        self._before.setdefault(one.line, []).extend((line, origin) for line in lines)

    def add_mount(self, one: Instruction, mount: str) -> None:
        """Add a --mount to a RUN, unless it has the same already. Raises NotFixable."""
        if any(flag == f"--mount={mount}" or flag.startswith(f"--mount={mount},") for flag in one.flags):
            return
        lines = self.lines(one)
        found = _RUN.fullmatch(lines[0])
        if found is None:
            raise NotFixable(f"line {one.line} continues directly after its keyword: write a space after RUN")
        start, rest = f"{found['start']} --mount={mount} ", found["rest"]
        if len(start) + len(rest) > _WIDTH and rest != self._escape:
            self.set_lines(one, [start + self._escape, f"    {rest}", *lines[1:]])
        else:
            self.set_lines(one, [start + rest, *lines[1:]])

    def remove_word(self, one: Instruction, word: str) -> bool:
        """Remove a word of an instruction, as it is written. Return whether it occurs exactly once."""
        lines = self.lines(one)
        pattern = re.compile(rf"(?<!\S){re.escape(word)}(?:[ \t]+|$)")
        hits = [at for at, line in enumerate(lines) for _ in pattern.finditer(line)]
        if len(hits) != 1:
            return False
        at = hits[0]
        lines[at] = pattern.sub("", lines[at], count=1).rstrip()
        if at and lines[at].strip() in ("", self._escape):
            del lines[at]
        last = max(number for number, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#"))
        if cut := continuation(self._escape).search(lines[last]):
            lines[last] = lines[last][: cut.start()].rstrip()
        self.set_lines(one, lines)
        return True

    def rewrite(self, one: Instruction, change: Callable[[str], str | None]) -> bool:
        """Replace the joined lines of an instruction by the result of a function; None changes nothing."""
        changed = change("\n".join(self.lines(one)))
        if changed is not None:
            self.set_lines(one, changed.split("\n"))
        return changed is not None

    def result(self) -> SourceText:
        """Return the text with all edits. Raises NotFixable if an edited instruction would run into the next one."""
        lines: list[str] = []
        origins: list[int] = []
        source, at = self._source, 0
        for line in sorted(self.edited):
            lines += source.lines[at : line - 1]
            origins += source.origins[at : line - 1]
            for text, current in self._before.get(line, ()):
                lines.append(text)
                origins.append(source.origins[current - 1])
            at = line - 1
            if line in self._new:
                one, new = self._new[line]
                if new and not is_complete(new, self._escape):
                    raise NotFixable(f"line {line} is written in a form that can't be edited safely")
                lines += new
                origins += _aligned(source.origins[line - 1 : one.end_line], len(new))
                at = one.end_line
        return replace(source, lines=(*lines, *source.lines[at:]), origins=(*origins, *source.origins[at:]))


def _aligned(origins: Sequence[int], count: int) -> list[int]:
    return [origins[min(at, len(origins) - 1)] for at in range(count)]
