"""`image-audit dockerfile`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from auditor.api import components, rulesets
from auditor.cli import EXIT_CLEAN, EXIT_FOUND, options
from auditor.cli.dockerfile_fix import fix_dockerfile
from auditor.cli.examples import examples
from auditor.cli.messages import warn
from auditor.cli.option_types import Word
from auditor.core.errors import UsageError
from auditor.core.options import AuditOptions
from auditor.core.output_file import write_output
from auditor.core.text import nearest
from auditor.detect.rules import Ruleset
from auditor.dockerfile.build_context import MAX_FILES, BuildContext, open_context
from auditor.dockerfile.check import check, select_problems
from auditor.dockerfile.fix.fixes import Selection
from auditor.dockerfile.parser import read_dockerfile
from auditor.dockerfile.problem_formats import render
from auditor.dockerfile.problems import FORMATS, DockerfileProblem, DockerfileRule
from auditor.scan import Scanner

_OWN_RULES = frozenset(rule.value for rule in DockerfileRule)
_ENDINGS = {ending: form for form, ending in FORMATS.items()}


@examples(
    "image-audit dockerfile Dockerfile",
    "image-audit dockerfile docker/Dockerfile --context . -o problems.sarif",
    "image-audit dockerfile Dockerfile --fix          # print the fixes",
    "image-audit dockerfile Dockerfile --fix --write  # apply them",
)
@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "--format", "form", type=Word(list(FORMATS)), default="table", show_default=True, help="Format of standard output."
)
@click.option(
    "-o", "outputs", multiple=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write a report in the format of its ending: .json .sarif .txt. Repeatable.",
)  # fmt: skip
@click.option(
    "--context", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Build context: the folder sent to the builder.  [default: that of FILE]",
)  # fmt: skip
@click.option("--fix", is_flag=True, help="Print a diff that fixes the problems that have a safe fix.")
@click.option("--write", is_flag=True, help="With --fix: change the files instead.")
@options.fail_on_option
@options.config_option
@click.option("-q", "--quiet", is_flag=True, help="No table.")
@options.cache_dir_option
@options.rule_options
@options.merged(AuditOptions)
def command(
    file: Path, form: str, outputs: tuple[Path, ...], context: Path | None, options: AuditOptions, *, fix: bool,
    write: bool,
) -> int:  # fmt: skip
    """Check a Dockerfile before the build: secrets, needless size, and steps that defeat the build cache.

    --rule and --exclude-rule take the rules of this command (secret-in-env, secret-in-arg, secret-in-run,
    credentials-in-url, secret-file-copied, copy-context, deleted-later, cache-order, large-then-deleted) and those of
    `image-audit rules list`, which detect secrets.

    --fix checks the fixed file again, and drops a fix that does not pass. Standard error lists the fixed problems, and
    the reason for each that is left. Secrets in the diff are masked. The exit code and -o are about the problems that
    are left.
    """
    if write and not fix:
        raise click.UsageError("--write needs --fix")
    if fix and form != "table":
        raise click.UsageError(f"--fix prints a diff: --format {form} is not possible, -o FILE is")
    files = [(path, _format_of(path)) for path in outputs]
    with _checking(file, context, options) as (scanner, build_context, chosen):
        if fix:
            problems: Sequence[DockerfileProblem] = fix_dockerfile(
                file, build_context, scanner, chosen, write=write, quiet=options.quiet
            )
        else:
            problems = chosen(check(read_dockerfile(file), scanner, build_context))
    for path, ending in files:
        write_output(path, render(ending, file, problems, width=100, color=False))
    if not fix and not (options.quiet and form == "table"):
        _print(form, file, problems)
    fail_on = options.fail_on
    return EXIT_FOUND if fail_on and any(p.severity.rank >= fail_on.rank for p in problems) else EXIT_CLEAN


@contextmanager
def _checking(
    file: Path, context: Path | None, options: AuditOptions
) -> Iterator[tuple[Scanner, BuildContext, Selection]]:
    """Open the scanner and the build context, and choose rules. Raises AuditError."""
    only, without = frozenset(options.only_rules), frozenset(options.exclude_rules)
    read_dockerfile(file)  # its errors come before those of the context
    build_context = open_context(file, context)
    # The rules of this command are chosen below.
    options = replace(options, only_rules=(), exclude_rules=(), jobs=1)
    rules = _detection_rules(rulesets.ruleset(options), only, without)
    with components.scanner(options, rules) as scanner:
        yield scanner, build_context, lambda found: select_problems(found, only & _OWN_RULES, without)
    if build_context.truncated:
        warn(f"{file}: the build context has more than {MAX_FILES} files; the rest was not checked")


def _print(form: str, file: Path, problems: Sequence[DockerfileProblem]) -> None:
    options.print_text(render(form, file, problems, width=options.terminal_width(), color=options.color()))


def _detection_rules(known: Ruleset, only: frozenset[str], without: frozenset[str]) -> Ruleset:
    """Choose detection rules. Raises UsageError on the name of a rule that neither they nor this command have."""
    for name in sorted((only | without) - _OWN_RULES - known.by_id.keys()):
        near = nearest(name, (*sorted(_OWN_RULES), *known.by_id))
        raise UsageError(
            f"unknown rule {name!r}{near or ';'} `image-audit rules list` and `image-audit dockerfile -h` list all"
        )
    chosen_ids = only - _OWN_RULES
    return Ruleset(tuple(r for r in known.rules if (not chosen_ids or r.id in chosen_ids) and r.id not in without))


def _format_of(path: Path) -> str:
    try:
        return _ENDINGS[path.suffix.lower()]
    except KeyError:
        raise UsageError(f"-o {path}: unknown file ending. Use one of {', '.join(_ENDINGS)}") from None
