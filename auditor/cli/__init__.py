"""The command line: one module per command, which parses options, calls the package and sets the exit code.

This package holds no logic of audits. Its command modules are imported when they run, so that help is fast.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from typing import Any

import click

from auditor.cli.examples import examples
from auditor.cli.signals import Signals, Terminated
from auditor.core.cache_folder import cache_folder
from auditor.core.errors import AuditError, reason
from auditor.core.process import disable_core_dumps
from auditor.core.text import nearest
from auditor.core.version import PROGRAM as PROGRAM
from auditor.core.version import __version__

_COMMANDS = {
    "scan": "Audit images: find secrets in every layer, and how to remove them.",
    "history": "Show the steps of an image, and what each layer adds, overwrites, deletes and wastes.",
    "explore": "Walk through layers, files and secrets of an image in the terminal.",
    "recover": "Recover a deleted or overwritten file from the layers of an image.",
    "flatten": "Rebuild an image without its hidden files, and prove that it shows the same files.",
    "attest": "Sign a statement of an image's audit and attach it in the registry; or verify one.",
    "dockerfile": "Check a Dockerfile before the build: secrets, needless size, wasted build cache.",
    "init": "Write a first .image-audit.yaml, and offer the git hook and a CI file.",
    "registry": "Audit every image of a registry, and report the changes since the last sweep.",
    "hook": "Install the git pre-push hook, which stops a push while an image of the repository leaks.",
    "baseline": "Review the accepted findings, one by one.",
    "config": "Show the merged values of config file and options, with their sources.",
    "cache": "Show or clear the cache of layers.",
    "rules": "List the detection rules, show the page of a rule, check custom rules.",
    "completion": "Print the script that completes image-audit in a shell, or install the docker plugin.",
}
EXIT_CLEAN, EXIT_FOUND, EXIT_FAILED = 0, 1, 2


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"auditor.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in _COMMANDS:
            raise click.UsageError(f"unknown command {args[0]!r}{nearest(args[0], _COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


def _print_version(ctx: click.Context, _: click.Parameter, is_set: bool) -> None:
    """Print the version, and the number and digest of the rules of a scan without options."""
    if not is_set:
        return
    # Help and errors work without the rules.
    from auditor.detect.rule_cache import default_rules
    from auditor.detect.rules import select

    rules = select(default_rules(cache_folder()))
    click.echo(f"{PROGRAM} {__version__}, rules {rules.digest[:19]} ({len(rules.rules):,})")
    ctx.exit()


@examples(
    "image-audit scan app                             # an image of your engine",
    "image-audit scan app -o report.html              # write a page",
    "image-audit flatten app --excise -t app:clean    # remove hidden files",
)
@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def group() -> None:
    """Find secrets that can still be read from the layers of a container image, and remove them."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 clean, 1 findings, 2 not audited, 130 and 143 interrupted."""
    signals = Signals()
    try:
        signals.arm()
        status = _run(arguments, signals)
        signals.disarm()
    except (KeyboardInterrupt, Terminated) as exc:
        status = _interrupted(exc)
    finally:
        signals.restore()
    if signals.raised:
        _flush()
        os._exit(status)  # without waiting for threads, which may still be at work
    sys.exit(status)


def _called(arguments: list[str] | None, signals: Signals) -> Any:
    try:
        status = group.main(arguments, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except BaseException as exc:
        if signals.raised:
            raise signals.error() from exc  # other errors follow from the interruption
        raise
    return status


def _run(arguments: list[str] | None, signals: Signals) -> int:
    disable_core_dumps()
    try:
        status = _called(arguments, signals)
    except click.exceptions.Exit as exc:
        status = exc.exit_code
    except click.UsageError as exc:
        status = _misused(exc, sys.argv[1:] if arguments is None else arguments)
    except click.ClickException as exc:
        status = _fail(exc.format_message())
    except AuditError as exc:
        status = _fail(str(exc))
    except click.Abort as exc:
        # Click takes EOFError for Ctrl-D at a prompt. There are no prompts, so a file has ended too early.
        cause = exc.__cause__
        status = _internal_error(cause) if isinstance(cause, EOFError) else _interrupted(KeyboardInterrupt())
    except BrokenPipeError:
        # The reader has closed the pipe; point stdout elsewhere so that Python's exit prints no error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    except (OSError, MemoryError) as exc:
        status = _fail(reason(exc))
    except Exception as exc:
        status = _internal_error(exc)
    return status if isinstance(status, int) else 0


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _interrupted(error: KeyboardInterrupt | Terminated) -> int:
    """Print the kind of the signal, and return its exit code."""
    number = error.args[0] if isinstance(error, Terminated) else signal.SIGINT
    # Without `_warn`: its imports fail if the signal has left a module half imported.
    click.echo(f"{PROGRAM}: {'interrupted' if number == signal.SIGINT else 'terminated'}", err=True)
    return 128 + int(number)


def _internal_error(error: BaseException) -> int:
    """Print an internal error. Python would exit with 1, which means findings."""
    if os.environ.get("IMAGE_AUDIT_DEBUG"):
        raise error  # not by default: a traceback may contain secrets of an image
    return _fail(reason(error))


def _misused(error: click.UsageError, arguments: list[str]) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # its message is the help
        click.echo(error.format_message(), err=True)
        return EXIT_FAILED
    message = error.format_message()
    if isinstance(error, click.NoSuchOption):
        # The types of options import the limits, which help does not need.
        from auditor.cli.suggestions import unknown_option

        message = unknown_option(error, arguments)
    message = message.rstrip(".")
    hint = f"{'' if message.endswith(('?', '?)')) else '.'} See `{error.ctx.command_path} --help`" if error.ctx else ""
    return _fail(message + hint)


def _fail(message: str) -> int:
    _warn(message)
    return EXIT_FAILED


def _warn(message: str) -> None:
    try:
        # Masking imports the rules, which help does not need.
        from auditor.cli.messages import warn

        warn(message)
    except MemoryError as exc:  # the rules take more than is left
        click.echo(f"{PROGRAM}: {reason(exc)}", err=True)
