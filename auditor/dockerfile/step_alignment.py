"""Alignment of an image's history with a Dockerfile: the instruction of each build step.

Builders write steps differently: the classic builder `/bin/sh -c #(nop) COPY file:0a… in /app` and `/bin/sh -c make`,
BuildKit `COPY . /app # buildkit` and `RUN |1 V=2 /bin/sh -c make # buildkit`. Both texts are normalized to words, and
the alignment is their longest common subsequence, in which a similar pair counts less than an equal one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property

from auditor.core.dataclass import dataclass
from auditor.core.image_config import HistoryStep
from auditor.dockerfile.instructions import BuildStep, Dockerfile
from auditor.dockerfile.parser import KEYWORDS
from auditor.dockerfile.shell_commands import script
from auditor.dockerfile.shell_words import expand, parse_assignments, split_words, unquote
from auditor.dockerfile.stages import StageGraph, build_stage_graph, copy_words

_MAX_STEPS = 500
_MAX_WORDS = 400
_LAYERS = ("RUN", "COPY", "ADD")
_NOP = re.compile(r"^(?:\|\d+ .*?)?(?:\S+(?: -\S+)* )?#\(nop\) +", re.S)
_BUILD_ARGS = re.compile(r"^(?:RUN )?\|(\d+) ", re.S)
_SHELL = re.compile(r"^(?:/\S*/)?(?:sh|ash|bash|dash|zsh|cmd|powershell|pwsh)(?:\.exe)?(?: [-/]\S+)+ ", re.S)
_HASHED = re.compile(r"^(?:file|dir|multi|copy|archive):")
_MIN_COMMON = 0.5
"""Minimum share of common words of two texts of the same step."""


@dataclass(frozen=True)
class _StepText:
    """Normalized step or instruction: keyword and words. `hashed`: the words contain a digest instead of file names."""

    keyword: str
    words: tuple[str, ...]
    hashed: bool = False

    @cached_property
    def bag(self) -> frozenset[str]:
        """Words without order."""
        return frozenset(self.words)


def instruction_lines(dockerfile: Dockerfile, history: Sequence[HistoryStep]) -> tuple[int | None, ...]:
    """Return the line of the instruction of each history step, None for steps without one.

    All are None if fewer than half of the layer-making instructions have a step: the image has another Dockerfile.
    """
    graph = build_stage_graph(dockerfile)
    instructions = [(step.instruction.line, _normalized_instruction(graph, step)) for step in _image_steps(graph)]
    steps = [_normalized_step(step.created_by or "") for step in history[-_MAX_STEPS:]]
    pairs = _aligned(steps, [text for _, text in instructions])
    layer_makers = sum(text.keyword in _LAYERS for _, text in instructions)
    matched = sum(steps[at].keyword in _LAYERS for at in pairs)
    if matched * 2 < layer_makers or not pairs:
        return (None,) * len(history)
    offset = len(history) - len(steps)
    return tuple(instructions[pairs[at - offset]][0] if at - offset in pairs else None for at in range(len(history)))


def _image_steps(graph: StageGraph) -> list[BuildStep]:
    """Return the steps of the final stage and of the stages it is based on, lowest first."""
    stages = [stage for stage in graph.stages if graph.in_image(stage)]
    steps = [step for stage in stages for step in stage.steps if not step.instruction.onbuild]
    return steps[-_MAX_STEPS:]


def _normalized_instruction(graph: StageGraph, step: BuildStep) -> _StepText:
    one, escape = step.instruction, graph.dockerfile.escape
    match one.keyword:
        case "RUN":
            text = " ".join(one.words) if one.words is not None else script(step, escape)
            if text == one.text:
                text += "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in one.heredocs)
            return _StepText("RUN", _words(text))
        case "COPY" | "ADD":
            return _StepText(one.keyword, tuple(copy_words(step, escape)))
        case "ENV" | "LABEL":
            pairs = parse_assignments(one.text, escape)
            return _StepText(
                one.keyword, _words(" ".join(f"{name}={expand(value, step.variables)}" for name, value in pairs))
            )
        case _:
            text = " ".join(unquote(word, escape) for word in split_words(one.text, escape))
            return _StepText(one.keyword, _words(_unbracketed(expand(text, step.variables))))


def _normalized_step(created_by: str) -> _StepText:
    text = " ".join(created_by.split()).removesuffix(" # buildkit")
    text, plain = _NOP.subn("", text, count=1)
    text = text.strip()
    keyword, _, rest = text.partition(" ")
    if plain == 0 and (keyword not in KEYWORDS or keyword == "RUN"):
        return _StepText("RUN", _words(_command(text)))
    if keyword in ("COPY", "ADD"):
        words = tuple(word for word in rest.split() if not word.startswith("--"))
        hashed = bool(words and _HASHED.match(words[0]))
        return _StepText(keyword, words[-1:] if hashed else words, hashed)
    return _StepText(keyword, _words(_unbracketed(rest)))


def _command(text: str) -> str:
    """Return a command without the build arguments and the shell that builders prepend."""
    given = _BUILD_ARGS.match(text)
    if given:
        # That number of arguments follows, whose values may contain blanks; they end at the shell.
        rest = text[given.end() :]
        shell = re.search(r"(?:^| )(?=/\S+/(?:sh|ash|bash|dash|zsh) -)", rest)
        text = rest[shell.end() :] if shell else " ".join(rest.split(" ")[int(given[1]) :])
    return _SHELL.sub("", text.removeprefix("RUN "), count=1)


def _words(text: str) -> tuple[str, ...]:
    text = re.sub(r"<<-?['\"]?\w+['\"]? ?|\(EOF\)", " ", text.replace('"', "").replace("'", ""))
    return tuple(text.split()[:_MAX_WORDS])


def _unbracketed(text: str) -> str:
    """Convert the JSON form `["a","b"]` and Go's `map[80/tcp:{}]` to words."""
    if text.startswith("["):
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, list):
            return " ".join(map(str, value))
    return re.sub(r"map\[|:\{\}|/tcp|[\[\]\",]", " ", text)


def _aligned(steps: Sequence[_StepText], instructions: Sequence[_StepText]) -> dict[int, int]:
    """Return the pairs step: instruction of the best alignment; of equally good ones that of the latest steps."""
    rows, columns = len(steps), len(instructions)
    best = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    scores = [[_similarity(step, one) for one in instructions] for step in steps]
    for row in range(1, rows + 1):
        for column in range(1, columns + 1):
            score = scores[row - 1][column - 1]
            joined = best[row - 1][column - 1] + score if score else 0.0
            best[row][column] = max(joined, best[row - 1][column], best[row][column - 1])
    pairs: dict[int, int] = {}
    row, column = rows, columns
    while row and column:
        score = scores[row - 1][column - 1]
        if score and best[row][column] == best[row - 1][column - 1] + score:
            row, column = row - 1, column - 1
            pairs[row] = column
        elif best[row][column] == best[row][column - 1]:
            column -= 1
        else:
            row -= 1
    return pairs


def _similarity(step: _StepText, one: _StepText) -> float:
    """Return the similarity of a step and an instruction: 0 if different, 2 if equal."""
    if step.keyword != one.keyword:
        return 0.0
    if step.hashed:
        return 1.0 if step.words and one.words and _same_target(step.words[-1], one.words[-1]) else 0.0
    if step.words == one.words:
        return 2.0
    if step.keyword == "HEALTHCHECK":  # the history shows Go's struct
        return 1.0
    if step.keyword in ("COPY", "ADD"):
        same = step.words and one.words and _same_target(step.words[-1], one.words[-1])
        return 1.0 if same else 0.0
    together = step.bag | one.bag
    shared = len(step.bag & one.bag) / len(together) if together else 0.0
    return shared if shared >= _MIN_COMMON else 0.0


def _same_target(made: str, written: str) -> bool:
    """Compare two targets of COPY: the history may have an absolute path for a relative one of the Dockerfile."""
    made, written = made.rstrip("/."), written.rstrip("/.").removeprefix("./")
    return (
        made == written
        or (not written.startswith("/") and made.endswith(f"/{written}"[: len(written) + 1]))
        or not written
    )
