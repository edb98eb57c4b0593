"""`image-audit dockerfile --fix`: the diff, the changed files, and the messages."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from auditor.cli.messages import warn
from auditor.core.globs import MASK
from auditor.core.output_file import replace_text
from auditor.core.text import printable
from auditor.dockerfile.build_context import BuildContext
from auditor.dockerfile.dockerignore import find_dockerignore
from auditor.dockerfile.fix.fixes import FixedFiles, Selection, fix_file
from auditor.dockerfile.fix.masked_diff import MaskedLines, unified_diff
from auditor.dockerfile.fix.source_text import SourceText
from auditor.dockerfile.input_file import read_small
from auditor.dockerfile.parser import read_text
from auditor.dockerfile.problems import DockerfileProblem
from auditor.scan import Scanner


def fix_dockerfile(
    file: Path, context: BuildContext, scanner: Scanner, chosen: Selection, *, write: bool, quiet: bool
) -> Sequence[DockerfileProblem]:
    """Print the fixes as a diff, or write them. Return the problems that are left, with their lines after the fix.

    Raises DockerfileError, UsageError.
    """
    source = SourceText.of(read_text(file), str(file))
    existing = find_dockerignore(file, context.root)
    ignore_path = existing or context.root / ".dockerignore"
    ignore_text = read_small(existing).decode("utf-8", "surrogateescape") if existing else ""
    ignore_lines = ignore_text.removeprefix("\ufeff").splitlines()
    result = fix_file(str(file), source, ignore_lines, context, scanner, chosen)
    if write:
        if result.ignore_lines is not None:
            added = result.ignore_lines[len(ignore_lines) :]
            text = ignore_text if ignore_text.endswith("\n") or not ignore_text else f"{ignore_text}\n"
            replace_text(ignore_path, text + "".join(f"{line}\n" for line in added), context.root)
        if result.source != source:
            replace_text(file, result.source.text, context.root)
    else:
        lines = list(_dockerfile_diff(file, source, result, scanner))
        if any(line.startswith(("-", " ")) and MASK in line for line in lines):
            warn("secrets in the diff are masked, so `patch` can't apply it: use --fix --write")
        lines += _ignore_diff(ignore_path, ignore_lines, result, is_new=existing is None)
        click.echo("".join(f"{line}\n" for line in lines), nl=False)
    _report(file, result, quiet=quiet)
    return result.remaining


def _dockerfile_diff(file: Path, source: SourceText, result: FixedFiles, scanner: Scanner) -> Iterator[str]:
    before, after = (MaskedLines(text, str(file), scanner) for text in (source, result.source))
    ends = source.final_newline, result.source.final_newline
    return unified_diff(_names(file), source.lines, result.source.lines, (before, after), ends=ends)


def _ignore_diff(path: Path, lines: Sequence[str], result: FixedFiles, *, is_new: bool) -> Iterator[str]:
    if result.ignore_lines is not None:
        old, new = _names(path)
        shown = [printable(line) for line in lines], [printable(line) for line in result.ignore_lines]
        yield from unified_diff(("/dev/null" if is_new else old, new), lines, result.ignore_lines, shown)


def _names(path: Path) -> tuple[str, str]:
    """Return the names of a file in the head of a diff: as `git diff` writes them, below the working directory."""
    relative = os.path.relpath(path)
    name = printable(relative)
    return (name, name) if relative.startswith("..") else (f"a/{name}", f"b/{name}")


def _report(file: Path, result: FixedFiles, *, quiet: bool) -> None:
    for problem in () if quiet else result.fixed:
        warn(f"{file}:{problem.line}: fixed {problem.rule}")
    for problem, reason in result.unfixed:
        warn(f"{file}:{problem.line}: not fixed {problem.rule}: {reason}")
    for note in () if quiet else result.notes:
        warn(note)
    if result.build_options and not quiet:
        warn(f"build it with: docker build {' '.join(result.build_options)} …")
    if not quiet and not result.fixed and not result.unfixed:
        warn(f"{file}: no problems found")
