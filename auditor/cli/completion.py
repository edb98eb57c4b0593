"""`image-audit completion`: shell completion of commands, options, files, limits and rules."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from auditor.cli import PROGRAM, group
from auditor.cli.examples import examples
from auditor.core.limits import TABLE


@examples('eval "$(image-audit completion bash)"')
@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that makes a shell complete image-audit.

    \b
    bash:  eval "$(image-audit completion bash)"    in ~/.bashrc
    zsh:   eval "$(image-audit completion zsh)"     in ~/.zshrc, after compinit
    fish:  image-audit completion fish | source     in ~/.config/fish/config.fish
    """
    complete = get_completion_class(shell)
    assert complete is not None  # noqa: S101 - click has all three
    # click itself looks for this environment variable.
    click.echo(complete(group, {}, PROGRAM, "_IMAGE_AUDIT_COMPLETE").source())


def files(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:  # noqa: ARG001
    """Complete a target as a file, which may be an archive or a folder."""
    return [CompletionItem(typed, type="file")]


def limits(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:  # noqa: ARG001
    """Complete the name of a limit."""
    return [CompletionItem(f"{row.name}=", help=row.meaning) for row in TABLE if row.name.startswith(typed)]


def rules(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:  # noqa: ARG001
    """Complete the id of a built-in rule."""
    # Every command imports this module for its options; only completion itself needs the rules.
    from auditor.detect.detect_secrets_plugins import plugin_rules
    from auditor.detect.rules import builtin_rules

    known = (*builtin_rules(), *plugin_rules())
    return [CompletionItem(rule.id, help=rule.name) for rule in known if rule.id.startswith(typed)]
