"""Generate man/image-audit.1 from the command line: `python -m tools.manual` prints it, `make docs` writes it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator

import click

from auditor.cli import PROGRAM, group

_HELP = "Show the commands; after a command, its options."
EXIT = (
    ("0", "Audited in full; no finding at or above --fail-on."),
    ("1", "Audited; at least one finding at or above --fail-on."),
    ("2", "Not audited, or not in full under --strict. One line on standard error gives the reason."),
    ("130, 143", "Interrupted by Ctrl-C, or by SIGTERM. No partial file is left."),
)
ENVIRONMENT = (
    ("DOCKER_HOST, DOCKER_CONTEXT", "Address or context of the engine, as for docker."),
    (
        "DOCKER_AUTH_CONFIG, REGISTRY_AUTH_FILE",
        "Registry logins: JSON of a Docker config, or the file of podman login.",
    ),
    ("DOCKER_CONFIG", "Folder of config.json, which has the registry logins."),
    ("FORCE_COLOR", "Set: colours also where standard output is no terminal."),
    ("GH_TOKEN, GITHUB_TOKEN", "Token for the list of repositories of ghcr.io."),
    (
        "GITLAB_TOKEN, GITLAB_HOST",
        "Token for the lists of a GitLab, by default of gitlab.com; in jobs also CI_JOB_TOKEN.",
    ),
    ("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY", "Proxies for registries, and hosts to reach without."),
    ("IMAGE_AUDIT_DEBUG", "Set: print a traceback after an internal error. It may contain secrets of the image."),
    ("IMAGE_AUDIT_KEY_PASSPHRASE", "Passphrase of an encrypted private key of `attest` and `registry scan --attest`."),
    (
        "IMAGE_AUDIT_STORE, IMAGE_AUDIT_NOTIFY",
        "Values of --store and --notify. With _FILE at the end of the name: a file that contains the value.",
    ),
    ("JF_ACCESS_TOKEN, JF_URL", "Token for the lists of the Artifactory at this URL."),
    ("NO_COLOR", "Set: no colours."),
    ("SSL_CERT_FILE", "File of certificate authorities, instead of the default ones."),
    ("XDG_CACHE_HOME", "Parent of the cache folder image-audit. Default: ~/.cache."),
)
FILES = ((".image-audit.yaml", "The config file, searched for from the working directory upward."),)


def manual() -> str:
    """Return the page in roff's man macros, without date and version, so that it changes only with the commands."""
    ctx = click.Context(group, info_name=PROGRAM, help_option_names=["-h", "--help"])  # click keeps the first it makes
    lines = [f'.TH {PROGRAM.upper()} 1 "" "{PROGRAM}" "User Commands"', ".SH NAME"]
    lines += [f"{_text(PROGRAM)} \\- {_text(group.get_short_help_str(200))}"]
    lines += [".SH SYNOPSIS", f".B {_text(PROGRAM)}", _text("COMMAND [OPTIONS] ARGUMENTS")]
    lines += [".SH DESCRIPTION", *_paragraphs(group.help or "")]
    lines += [".SH OPTIONS", *_options(group, ctx), *_item("-h, --help", _HELP), ".SH COMMANDS"]
    for path, command, sub in commands(group, ctx):
        lines += [f'.SS "{_text(path)}"', *_synopsis(path, command, sub), *_paragraphs(command.help or "")]
        lines += _options(command, sub)
    for title, items in (("EXIT STATUS", EXIT), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
        lines += [f'.SH "{title}"', *(line for term, text in items for line in _item(term, text))]
    return "\n".join(lines) + "\n"


def commands(
    parent: click.Group, ctx: click.Context, path: str = ""
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield path, command and context of every command but groups, in the order of the help."""
    for name in parent.list_commands(ctx):
        command = parent.get_command(ctx, name)
        assert command is not None  # noqa: S101 - it was listed
        sub = click.Context(command, info_name=name, parent=ctx)
        if isinstance(command, click.Group):
            yield from commands(command, sub, f"{path}{name} ")
        else:
            yield path + name, command, sub


def _synopsis(path: str, command: click.Command, ctx: click.Context) -> list[str]:
    pieces = command.collect_usage_pieces(ctx)
    return [f".B {_text(f'{PROGRAM} {path}')}", _text(" ".join(pieces)), ".PP"]


def _options(command: click.Command, ctx: click.Context) -> list[str]:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return [line for option in options for line in _item(*(option.get_help_record(ctx) or ("", "")))]


def _item(term: str, text: str) -> list[str]:
    return [".TP", f".B {_text(term)}", _text(text)]


def _paragraphs(help_text: str) -> Iterator[str]:
    r"""Yield the paragraphs of a help text; a paragraph after \b keeps its lines."""
    for number, paragraph in enumerate(inspect.cleandoc(help_text).split("\n\n")):
        if number:
            yield ".PP"
        if paragraph.startswith("\b\n"):
            yield from (".nf", *(_text(line) for line in paragraph.splitlines()[1:]), ".fi")
        else:
            yield _text(" ".join(paragraph.split()))


def _text(text: str) -> str:
    """Escape roff's control characters: backslashes, hyphens, and a dot or quote that begins a line."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


if __name__ == "__main__":
    sys.stdout.write(manual())
