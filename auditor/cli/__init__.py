"""One module a command: parse, call, print, exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

import click

from auditor.cli.examples import examples
from auditor.cli.signals import Signals, Terminated
from auditor.core.version import __version__

_COMMANDS = {
    "scan": "Audit images: which secrets can still be dug out of their layers, and how to get rid of them.",
    "history": "Show every step of an image, and what its layers add, overwrite, delete and waste.",
    "recover": "Bring a deleted or overwritten file back out of an image's layers.",
    "flatten": "Make an image without its hidden files, and prove that it shows the same.",
    "dockerfile": "Find in a Dockerfile, before the build, what would leak, weigh or rebuild for nothing.",
    "registry": "Audit every image of a registry, and tell what is new since the last time.",
    "hook": "Install the git pre-push hook, which stops a push while an image of the repository leaks.",
    "baseline": "Go through the findings that are known and accepted, one by one.",
    "config": "Show what the config file and the options come to, and where each value is from.",
    "cache": "Show or clear what is kept of layers that were read.",
    "rules": "List the detection rules, show the page of one, check your own.",
    "completion": "Print the script that makes bash, zsh or fish complete image-audit.",
}
EXIT_CLEAN, EXIT_FOUND, EXIT_FAILED = 0, 1, 2
PROGRAM = "image-audit"


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        import importlib

        command: click.Command = importlib.import_module(f"auditor.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in _COMMANDS:
            from auditor.core.text import nearest

            raise click.UsageError(f"no command {args[0]!r}{nearest(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the version, and the number and digest of the rules that a scan without options uses."""
    if not wanted:
        return
    from auditor.detect.detect_secrets_plugins import plugin_rules
    from auditor.detect.rules import builtin_rules, select

    rules = select((*builtin_rules(), *plugin_rules()))
    click.echo(f"{PROGRAM} {__version__}, rules {rules.digest[:19]} ({len(rules.rules):,})")
    ctx.exit()


@examples(
    "image-audit scan app                             # an image of your engine",
    "image-audit scan app -o report.html              # the same as a page",
    "image-audit flatten app --excise -t app:clean    # without what is hidden",
)
@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def group() -> None:
    """Find the secrets that can still be dug out of a container image, and get rid of them."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 clean, 1 findings, 2 not audited, 130 and 143 interrupted."""
    signals = Signals()
    try:
        signals.arm()
        status = _run(arguments, signals)
        signals.disarm()
    except (KeyboardInterrupt, Terminated) as exc:
        status = _ended(exc)
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
            raise signals.error() from exc  # whatever else fails on the way out
        raise
    return status


def _run(arguments: list[str] | None, signals: Signals) -> int:
    from auditor.core.errors import AuditError, reason
    from auditor.core.process import disable_core_dumps

    disable_core_dumps()
    try:
        status = _called(arguments, signals)
    except click.exceptions.Exit as exc:
        status = exc.exit_code
    except click.UsageError as exc:
        status = _misused(exc)
    except click.ClickException as exc:
        status = _fail(exc.format_message())
    except AuditError as exc:
        status = _fail(str(exc))
    except click.Abort as exc:
        # Click takes EOFError for Ctrl-D at one of its prompts. There are none, so it is a file that ends too early.
        status = _broken(exc.__cause__) if isinstance(exc.__cause__, EOFError) else _ended(KeyboardInterrupt())
    except BrokenPipeError:
        # The reader has what it wants; point stdout elsewhere so that the exit does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    except (OSError, MemoryError) as exc:
        status = _fail(reason(exc))
    except Exception as exc:
        status = _broken(exc)
    return status if isinstance(status, int) else 0


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _ended(error: KeyboardInterrupt | Terminated) -> int:
    """Say which signal ended the run."""
    number = error.args[0] if isinstance(error, Terminated) else signal.SIGINT
    _say("interrupted" if number == signal.SIGINT else "terminated")
    return 128 + int(number)


def _broken(error: BaseException) -> int:
    """Say that the program is at fault. Python would exit with 1, which here means findings."""
    # A traceback could show what an image holds.
    if os.environ.get("IMAGE_AUDIT_DEBUG"):
        raise error
    from auditor.core.errors import reason

    return _fail(reason(error))


def _misused(error: click.UsageError) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # its message is the help
        click.echo(error.format_message(), err=True)
        return EXIT_FAILED
    hint = f"; see `{error.ctx.command_path} --help`" if error.ctx else ""
    return _fail(error.format_message().rstrip(".") + hint)


def _fail(message: str) -> int:
    _say(message)
    return EXIT_FAILED


def _say(message: str) -> None:
    from auditor.core.text import printable
    from auditor.detect.message_masking import masked_line

    click.echo(f"{PROGRAM}: " + printable(masked_line(" ".join(message.split()))), err=True)
