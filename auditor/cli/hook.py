"""`image-audit hook`: the git pre-push hook."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from auditor.api import components, criteria, results, rulesets
from auditor.cli import EXIT_CLEAN, EXIT_FAILED, EXIT_FOUND, options
from auditor.cli.examples import examples
from auditor.cli.messages import warn
from auditor.cli.progress import progress
from auditor.config.file import load_config
from auditor.config.resolve import resolve
from auditor.core.options import HookOptions
from auditor.findings.selection import failing
from auditor.hook import git, message
from auditor.hook import install as installation
from auditor.hook.run import HookResult, run_hook

_SKIP_COMMAND = "SKIP=image-audit git push"


@examples("image-audit hook install")
@click.group()
def command() -> None:
    """Install, remove or run the git pre-push hook, which audits the images of .image-audit.yaml before a push."""


@examples("image-audit hook install")
@command.command()
def install() -> None:
    """Install the hook in the repository's hook folder. An existing hook runs first and can stop the push too."""
    hooks = git.hooks(Path.cwd())
    click.echo(installation.install(hooks.folder))
    if hooks.shared:
        warn("core.hooksPath is set for all your repositories: the hook runs in each that has a .image-audit.yaml")


@examples("image-audit hook uninstall")
@command.command()
def uninstall() -> None:
    """Remove the hook, and restore the previous one."""
    click.echo(installation.uninstall(git.hooks(Path.cwd()).folder))


@examples("image-audit hook run")
@command.command()
@click.argument("remote", nargs=-1, metavar="[REMOTE] [URL]")
@options.config_option
@click.option("--strict", is_flag=True, help="Stop the push also if an image is missing or not read in full.")
def run(remote: tuple[str, ...], config: Path | None, strict: bool) -> int:
    """Audit the images and Dockerfiles of .image-audit.yaml; exit with 1 to stop the push.

    git runs this with the name and the address of the remote, and the refs on standard input. SKIP=image-audit in the
    environment skips it, as does git push --no-verify.
    """
    if "image-audit" in [word.strip() for word in os.environ.get("SKIP", "").split(",")]:
        warn("skipped, because SKIP contains image-audit")
        return EXIT_CLEAN
    # Without a remote the caller is not git, and standard input may be anything, such as the script of a CI job.
    if remote and git.deletes_only(sys.stdin):
        return EXIT_CLEAN
    config_file = load_config(config, git.root(Path.cwd()))
    merged = resolve(HookOptions, config_file, {"strict": strict or None})
    if not merged.images and not merged.dockerfiles:
        reason = f"{merged.config} has neither images nor dockerfiles" if merged.config else "no .image-audit.yaml here"
        warn(f"{reason}: nothing to audit")
        return EXIT_CLEAN
    return _verdict(merged, _run(merged))


def _run(options: HookOptions) -> HookResult:
    baseline = criteria.baseline(options)
    rules = rulesets.ruleset(options)
    with (
        progress(quiet=False, verbose=False) as display,
        components.scanner(options, rules, display) as scanner,
        components.layer_store(options, warn) as store,
    ):
        result = run_hook(options, scanner, criteria.selection(options, baseline), store)
    results.with_baseline([audit for _, audit in result.images], options, baseline, warn)
    return result


def _verdict(options: HookOptions, result: HookResult) -> int:
    """Print the findings that stop the push, and return the exit code."""
    fail_on = options.fail_on
    names = [name for name, _ in result.images]
    parts = [
        message.image_lines(name, audit, found, several=names.count(name) > 1)
        for name, audit in result.images
        if (found := failing(audit.findings, fail_on))
    ]
    parts += [
        message.dockerfile_lines(path, bad)
        for path, problems in result.dockerfiles
        if (bad := [p for p in problems if fail_on and p.severity.rank >= fail_on.rank])
    ]
    for text in (*result.missing, *result.failed):
        warn(f"not audited: {text}")
    unread = [name for name, audit in result.images if audit.skipped]
    for name in unread if options.strict else ():
        warn(f"{name}: not read in full; `image-audit scan {name}` lists the parts and reasons")
    if parts:
        click.echo(message.stopped(parts), err=True)
    if result.failed:
        warn(f"push stopped: not everything could be audited. To push all the same: {_SKIP_COMMAND}")
        return EXIT_FAILED
    if parts:
        return EXIT_FOUND
    if options.strict and (result.missing or unread):
        warn(f"push stopped: strict is set, and not everything was audited. To push all the same: {_SKIP_COMMAND}")
        return EXIT_FAILED
    return EXIT_CLEAN
