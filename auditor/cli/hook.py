"""`image-audit hook`: the git pre-push hook."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import EXIT_CLEAN, EXIT_FAILED, EXIT_FOUND, options
from auditor.cli.examples import examples
from auditor.config import resolve

if TYPE_CHECKING:
    from auditor.config.file import Settings
    from auditor.hook.run import Result


@examples("image-audit hook install")
@click.group()
def command() -> None:
    """Install, remove or run the git pre-push hook, which audits what .image-audit.yaml names before a push."""


@examples("image-audit hook install")
@command.command()
def install() -> None:
    """Write the hook where git looks for it. A hook that is there runs first, and its verdict counts."""
    from auditor.hook import git
    from auditor.hook import install as place

    hooks = git.hooks(Path.cwd())
    click.echo(place.install(hooks.folder))
    if hooks.shared:
        options.warn(
            "core.hooksPath is set for all your repositories: the hook runs in each that has a .image-audit.yaml"
        )


@examples("image-audit hook uninstall")
@command.command()
def uninstall() -> None:
    """Remove the hook, and put back the one that was there before."""
    from auditor.hook import git
    from auditor.hook import install as place

    click.echo(place.uninstall(git.hooks(Path.cwd()).folder))


@examples("image-audit hook run")
@command.command()
@click.argument("remote", nargs=-1, metavar="[REMOTE] [URL]")
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Instead of the .image-audit.yaml found."
)
@click.option("--strict", is_flag=True, help="Stop too where an image is not there or not read in full.")
def run(remote: tuple[str, ...], config_path: Path | None, strict: bool) -> int:
    """Audit the images and Dockerfiles of .image-audit.yaml; exit with 1 where the push is to be stopped.

    git calls this with the name and the address of the remote, and the refs on standard input. SKIP=image-audit in
    the environment skips it, as does git push --no-verify.
    """
    from auditor.config.file import load_settings
    from auditor.hook import git

    if "image-audit" in [word.strip() for word in os.environ.get("SKIP", "").split(",")]:
        options.warn("skipped, as SKIP says")
        return EXIT_CLEAN
    # Without a remote it is not git that calls, and standard input may hold anything, such as the script of a CI job.
    if remote and git.deletes_only(sys.stdin):
        return EXIT_CLEAN
    settings = load_settings(config_path, git.root(Path.cwd()))
    if not settings.images and not settings.dockerfiles:
        said = f"{settings.path} names neither images nor dockerfiles" if settings.path else "no .image-audit.yaml here"
        options.warn(f"{said}: nothing to audit")
        return EXIT_CLEAN
    return _verdict(settings, _run(settings), strict=strict or settings.strict_hook)


def _run(settings: Settings) -> Result:
    from auditor.cli.progress import progress
    from auditor.hook.run import run as audit_all
    from auditor.pipeline import Request

    baseline = resolve.baseline(settings, None)
    request = Request(selection=options.selection(settings, {}, baseline))
    cache = resolve.cache(None)
    rules = resolve.ruleset(settings, cache=cache)
    with (
        progress(quiet=False, verbose=False) as shown,
        resolve.scanner(rules, None, shown, cache=cache, limits=resolve.limits(settings)) as scanner,
        resolve.layer_store(cache, options.warn) as store,
    ):
        result = audit_all(settings, scanner, request, store)
    resolve.held_against(baseline, settings, [audit for _, audit in result.images], options.warn)
    return result


def _verdict(settings: Settings, result: Result, *, strict: bool) -> int:
    from auditor.findings.selection import failing
    from auditor.hook import message

    fail_on = resolve.severity(settings.fail_on)
    names = [name for name, _ in result.images]
    parts = [
        message.of_image(name, audit, found, several=names.count(name) > 1)
        for name, audit in result.images
        if (found := failing(audit.findings, fail_on))
    ]
    parts += [
        message.of_dockerfile(path, bad)
        for path, problems in result.dockerfiles
        if (bad := [p for p in problems if fail_on and p.severity.rank >= fail_on.rank])
    ]
    for text in (*result.missing, *result.failed):
        options.warn(f"not audited: {text}")
    unread = [name for name, audit in result.images if audit.skipped]
    for name in unread if strict else ():
        options.warn(f"not read in full: `image-audit scan {name}` says what and why")
    if parts:
        click.echo(message.stopped(parts), err=True)
    if result.failed:
        options.warn("the push is stopped, as not all could be audited; SKIP=image-audit git push passes")
        return EXIT_FAILED
    if parts:
        return EXIT_FOUND
    if strict and (result.missing or unread):
        options.warn("the push is stopped, as strict says; SKIP=image-audit git push passes")
        return EXIT_FAILED
    return EXIT_CLEAN
