"""A reader of a page: types its commands into one shell, from top to bottom, and notes what came of each."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.docs.page import Block, Page

# ERR sees each command that ends with something other than 0, where no `if`, `||` or `!` asked for that.
_BEGIN = """\
trap 'codes+="$? "' ERR
pids=()
"""
_COMMAND = """\
exec >{notes}/{number}.out 2>&1 <{notes}/{number}.in
codes=
{text}
echo "$codes" >{notes}/{number}.codes
"""
_FILE = 'mkdir -p "$(dirname {name})" && cp {notes}/{number}.file {name}\n'
_BACKGROUND = """\
(
exec {text}
) &
pids+=($!)
until (: </dev/tcp/127.0.0.1/{port}) 2>/dev/null; do kill -0 $! || break; sleep 0.05; done
"""
_END = """\
exec >{notes}/end.out 2>&1
for pid in "${{pids[@]}}"; do kill -TERM "$pid"; wait "$pid" || echo "what ran in the background ended with $?"; done
echo end
"""
_PROMPT = re.compile(r"^\$ ", re.MULTILINE)
Stand = Callable[[str], str]
"""Puts the services of the test in the place of names that stand for the reader's own."""


@dataclass(frozen=True)
class Command:
    """What is typed at once. `shown` is what the page says that it prints; `None` where it says nothing."""

    block: Block
    text: str
    shown: str | None


@dataclass(frozen=True)
class Done:
    """`exits` are the exit codes other than 0; `None` where the shell did not come to the end of the command."""

    command: Command
    printed: str
    exits: list[int] | None


def read(page: Page, folder: Path, environment: Mapping[str, str], stand: Stand = str) -> list[Done]:
    """Follow the page in an empty folder. What takes more than five minutes is ended."""
    notes, work = folder / "notes", folder / "work"
    notes.mkdir()
    work.mkdir(exist_ok=True)
    script, commands = [_BEGIN], list[Command]()
    for block in page.blocks:
        if "folder" in block.marks:
            script.append(f"cd $(mktemp -d {folder}/folder-XXXX)\n")
        if name := block.marks.get("file"):
            (notes / f"{len(script)}.file").write_text(stand(block.text))
            script.append(_FILE.format(name=shlex.quote(name), notes=notes, number=len(script)))
        for command in _commands(block) if block.runs else ():
            (notes / f"{len(commands)}.in").write_text(stand(block.marks.get("input", "").replace(",", "\n") + "\n"))
            text = stand(command.text)
            if block.language == "python":
                (notes / f"{len(commands)}.py").write_text(text)
                text = f"{sys.executable} {notes}/{len(commands)}.py"
            elif "background" in block.marks:
                text = _BACKGROUND.format(text=text.strip(), port=block.marks["background"])
            script.append(_COMMAND.format(notes=notes, number=len(commands), text=text))
            commands.append(command)
    (notes / "script").write_text("".join([*script, _END.format(notes=notes)]))
    _run(notes / "script", work, environment)
    done = [_done(notes / f"{number}.out", command) for number, command in enumerate(commands)]
    ended = _text(notes / "end.out")
    assert ended in ("", "end\n"), ended
    return done


def _run(script: Path, work: Path, environment: Mapping[str, str]) -> None:
    with (script.parent / "shell").open("wb") as log:
        shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc", script], cwd=work, env=environment, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            shell.wait(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()


def _commands(block: Block) -> Iterator[Command]:
    """A console's block taken apart at its prompts; others as they are."""
    if block.language != "console":
        yield Command(block, block.text, block.output)
        return
    for piece in _PROMPT.split(block.text)[1:]:
        lines = piece.splitlines(keepends=True)
        end = next(at for at, text in enumerate(lines, 1) if not text.endswith("\\\n"))
        yield Command(block, "".join(lines[:end]), "".join(lines[end:]))


def _done(notes: Path, command: Command) -> Done:
    codes = notes.with_suffix(".codes")
    exits = list(map(int, codes.read_text().split())) if codes.exists() else None
    return Done(command, _text(notes.with_suffix(".out")), exits)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
