"""`image-audit completion`: shell completion of commands, options, images, files, limits and rules."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import BashComplete, CompletionItem, ShellComplete, get_completion_class

from auditor.cli import PROGRAM, group
from auditor.cli.examples import examples
from auditor.core.cache_folder import cache_folder
from auditor.core.limits import TABLE

_ENGINE_PREFIX = "docker-daemon:"
_ENGINE_TIMEOUT_S = 1
_MAX_ITEMS = 500


@examples('eval "$(image-audit completion bash)"', "image-audit completion --docker-plugin")
@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), required=False)
@click.option("--docker-plugin", is_flag=True, help="Install the plugin of the docker command: `docker imageaudit`.")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Folder of the plugin.  [default: cli-plugins in $DOCKER_CONFIG, else in ~/.docker]",
)  # fmt: skip
def command(shell: str | None, folder: Path | None, *, docker_plugin: bool) -> None:
    """Print the script that makes a shell complete image-audit, or install the plugin of the docker command.

    Names of images come from the engine, if one answers within a second.

    \b
    bash:  eval "$(image-audit completion bash)"    in ~/.bashrc
    zsh:   eval "$(image-audit completion zsh)"     in ~/.zshrc, after compinit
    fish:  image-audit completion fish | source     in ~/.config/fish/config.fish
    """
    if docker_plugin == bool(shell):
        raise click.UsageError("name a shell (bash, zsh or fish), or use --docker-plugin")
    if folder and not docker_plugin:
        raise click.UsageError("--dir needs --docker-plugin")
    if docker_plugin:
        # Every command imports this module for its options; only this one writes files.
        from auditor.cli.docker_plugin import install, plugin_folder

        click.echo(install(folder or plugin_folder()))
        return
    complete: type[ShellComplete] | None = _Bash if shell == "bash" else get_completion_class(shell or "")
    assert complete is not None  # noqa: S101 - click has all three
    # click itself looks for this environment variable.
    click.echo(complete(group, {}, PROGRAM, "_IMAGE_AUDIT_COMPLETE").source())


class _Bash(BashComplete):
    """Completion for bash of words with colons, such as NAME:TAG, which bash splits at each colon."""

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' response completion type value word last words=()
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        last=$((${#words[@]} - 1))
        if ((last > 0)) && [[ $word == :* || ${words[last]} == *: ]]; then
            words[last]+=$word
        else
            words+=("$word")
        fi
    done
    last=$((${#words[@]} - 1))
    word=${words[last]}
    [[ $word == *:* && $COMP_WORDBREAKS == *:* ]] && word=${word%%"${word##*:}"} || word=
    response=$(env COMP_WORDS="${words[*]}" COMP_CWORD=$last %(complete_var)s=bash_complete $1)
    for completion in $response; do
        IFS=',' read type value <<< "$completion"
        case $type in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            plain) COMPREPLY+=("${value#"$word"}") ;;
        esac
    done
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


def targets(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:  # noqa: ARG001
    """Complete a target as an image of the engine, and as a file, which may be an archive or a folder."""
    prefix = _ENGINE_PREFIX if typed.startswith(_ENGINE_PREFIX) else ""
    images = [f"{prefix}{name}" for name in _images() if name.startswith(typed.removeprefix(prefix))]
    if not images:
        return [CompletionItem(typed, type="file")]
    # bash completes files only where no word matches, so paths that match too are listed as words.
    files = sorted(item.name for item in Path().iterdir() if item.name.startswith(typed)) if typed else []
    return [CompletionItem(word) for word in (*images, *files)[:_MAX_ITEMS]]


def _images() -> tuple[str, ...]:
    """Return NAME:TAG of the engine's images; none where no engine answers in time."""
    # The Docker SDK takes 0.1 s to import, which other commands need not pay.
    from auditor.core.errors import AuditError
    from auditor.images import daemon

    try:
        return daemon.tags(_ENGINE_TIMEOUT_S)
    except AuditError:
        return ()


def limits(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:  # noqa: ARG001
    """Complete the name of a limit."""
    return [CompletionItem(f"{row.name}=", help=row.meaning) for row in TABLE if row.name.startswith(typed)]


def rules(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:  # noqa: ARG001
    """Complete the id of a built-in rule."""
    # Every command imports this module for its options; only completion itself needs the rules.
    from auditor.detect.rule_cache import default_rules

    known = default_rules(cache_folder())
    return [CompletionItem(rule.id, help=rule.name) for rule in known if rule.id.startswith(typed)]
