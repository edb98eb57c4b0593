"""`image-audit dockerfile`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from auditor.cli import EXIT_CLEAN, EXIT_FOUND, options
from auditor.cli.examples import examples
from auditor.config import resolve
from auditor.config.file import FAIL_ON, load_settings
from auditor.core.errors import UsageError
from auditor.core.text import nearest
from auditor.detect.rules import Ruleset
from auditor.dockerfile.problems import FORMATS, DockerfileRule

OWN = frozenset(rule.value for rule in DockerfileRule)
_ENDINGS = {ending: form for form, ending in FORMATS.items()}


@examples(
    "image-audit dockerfile Dockerfile",
    "image-audit dockerfile docker/Dockerfile --context . -o problems.sarif",
)
@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="table", show_default=True)
@click.option(
    "-o", "outputs", multiple=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write a report; the ending tells the format: .json .sarif .txt. Repeatable.",
)  # fmt: skip
@click.option(
    "--context", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="The folder that is sent to the builder.  [default: that of FILE]",
)  # fmt: skip
@click.option(
    "--fail-on", type=click.Choice(FAIL_ON), default=None,
    help="Exit with 1 on a finding at least that severe.  [default: high]",
)  # fmt: skip
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Instead of the .image-audit.yaml found."
)
@click.option("-q", "--quiet", is_flag=True, help="No table.")
@options.cache_dir_option
@options.rule_options
def command(file: Path, form: str, outputs: tuple[Path, ...], context: Path | None, **given: Any) -> int:
    """Find in a Dockerfile, before the build, what would leak, what makes the image fat, what makes the cache useless.

    --rule and --exclude-rule take the rules of this command (secret-in-env, secret-in-arg, secret-in-run,
    credentials-in-url, secret-file-copied, copy-context, deleted-later, cache-order, large-then-deleted) and those of
    `image-audit rules list`, by which secrets are known.
    """
    from auditor.core.output_file import write_output
    from auditor.dockerfile.build_context import MAX_FILES, open_context
    from auditor.dockerfile.check import check, select_problems
    from auditor.dockerfile.parser import read_dockerfile
    from auditor.dockerfile.problem_formats import render

    settings = load_settings(given["config_path"])
    forms = [(path, _format_of(path)) for path in outputs]
    only, without = frozenset(given["only_rules"]), frozenset((*settings.exclude.rules, *given["exclude_rules"]))
    parsed, files = read_dockerfile(file), open_context(file, context)
    rules = _detection(resolve.ruleset(settings, given["extra_rules"]), only, without)
    with resolve.scanner(rules, 1, cache=resolve.cache(given["cache_dir"])) as scanner:
        problems = select_problems(check(parsed, scanner, files), only & OWN, without)
    if files.truncated:
        options.warn(f"{file}: the context has more than {MAX_FILES} files; the rest was not looked at")
    for path, ending in forms:
        write_output(path, render(ending, file, problems, width=100, color=False))
    if not (given["quiet"] and form == "table"):
        width = shutil.get_terminal_size((80, 24)).columns
        click.echo(render(form, file, problems, width=width, color=options.color()), nl=False)
    fail_on = resolve.severity(given["fail_on"] or settings.fail_on)
    return EXIT_FOUND if fail_on and any(p.severity.rank >= fail_on.rank for p in problems) else EXIT_CLEAN


def _detection(known: Ruleset, only: frozenset[str], without: frozenset[str]) -> Ruleset:
    """Choose from the detection rules. Raises UsageError on a name that is neither theirs nor of this command."""
    for name in sorted((only | without) - OWN - known.by_id.keys()):
        raise UsageError(f"no rule {name!r}{nearest(name, (*sorted(OWN), *known.by_id))}")
    wanted = only - OWN
    return Ruleset(tuple(r for r in known.rules if (not wanted or r.id in wanted) and r.id not in without))


def _format_of(path: Path) -> str:
    try:
        return _ENDINGS[path.suffix.lower()]
    except KeyError:
        raise UsageError(f"-o {path}: unknown file ending. Use one of {', '.join(_ENDINGS)}") from None
