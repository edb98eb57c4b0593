"""`image-audit init`: a first config file, the git hook and a CI file for a repository."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from auditor.cli.examples import examples
from auditor.cli.messages import safe_line
from auditor.cli.option_types import Word
from auditor.config.ci_files import CI_SYSTEMS
from auditor.config.file import FILE_NAME, load_config
from auditor.config.project_files import ProjectFiles, find_project_files, own_images
from auditor.config.starter_file import starter_text
from auditor.core.dataclass import dataclass
from auditor.core.errors import AuditError
from auditor.core.output_file import create_text
from auditor.core.text import plural
from auditor.hook import git
from auditor.hook import install as installation
from auditor.images import daemon

_ENGINE_TIMEOUT_S = 3
_NONE = "none"


@examples(
    "image-audit init            # asks on a terminal",
    "image-audit init --yes      # with the hook and a CI file",
    "image-audit init --no-input --ci gitlab",
)
@click.command()
@click.option("-y", "--yes", is_flag=True, help="Accept every offer without a question.")
@click.option("--no-input", is_flag=True, help="Ask nothing; write the config file, and what --hook and --ci demand.")
@click.option("--hook/--no-hook", default=None, help="Install the git pre-push hook, or do not offer it.")
@click.option("--ci", type=Word([*CI_SYSTEMS, _NONE]), help="Write a CI file, or do not offer one.")
def command(*, yes: bool, no_input: bool, hook: bool | None, ci: str | None) -> None:
    """Write a first .image-audit.yaml for this repository, and offer the git hook and a CI file.

    The file lists the Dockerfiles below the working directory, the images that compose files build, and the engine's
    images with the name of the folder. Without a terminal nothing is asked. Existing files are never changed.
    """
    if yes and no_input:
        raise click.UsageError("--yes and --no-input exclude each other")
    folder = Path.cwd()
    if hook:
        git.hooks(folder)  # raises UsageError outside of a repository, before anything is written
    found = find_project_files(folder)
    setup = _Setup(folder, found, "yes" if yes else "ask" if sys.stdin.isatty() and not no_input else "no")
    setup.config()
    setup.hook(hook)
    setup.ci(ci)
    _say("Next:")
    for step in setup.next_steps():
        _say(f"  {step}")


@dataclass(slots=True)
class _Setup:
    """The steps for a folder. `answers` is yes, no, or ask."""

    folder: Path
    found: ProjectFiles
    answers: str
    has_hook: bool = False
    ci_step: str = ""
    images: tuple[str, ...] = ()

    def config(self) -> None:
        """Write the config file."""
        path = Path(FILE_NAME)
        tags, engine = _tags()
        self.images = tuple(dict.fromkeys((*self.found.images, *own_images(tags, self.folder))))
        _say(
            f"found: {plural(len(self.found.dockerfiles), 'Dockerfile')}, "
            f"{plural(len(self.found.compose_files), 'compose file')}, {engine}"
        )
        if self.found.truncated:
            _say("the folder has too many files to search; add further Dockerfiles yourself")
        if create_text(path, starter_text(self.images, self.found.dockerfiles), self.folder):
            _say(f"{path}: written; {_listed(self.images, 'image')}, {_listed(self.found.dockerfiles, 'Dockerfile')}")
        else:
            _say(f"{path}: exists, not changed")
        load_config(path)

    def hook(self, wanted: bool | None) -> None:
        """Install the git hook, if the user wants it."""
        if git.root(self.folder) is None:
            return
        if self._accepts(wanted, "Install the git pre-push hook, which audits these images and Dockerfiles?"):
            _say(installation.install(git.hooks(self.folder).folder))
            self.has_hook = True

    def ci(self, wanted: str | None) -> None:
        """Write a CI file, if the user wants it."""
        likely = next((one for one in CI_SYSTEMS.values() if (self.folder / one.sign).exists()), None)
        system = CI_SYSTEMS.get(wanted or "", likely)
        if wanted == _NONE or system is None:
            return
        if self._accepts(True if wanted else None, f"Write a CI file, {system.path}?"):
            dockerfile = next(iter(self.found.dockerfiles), "Dockerfile")
            if create_text(self.folder / system.path, system.text(dockerfile), self.folder):
                _say(f"{system.path}: written")
                self.ci_step = system.next_step.format(path=system.path)
            else:
                _say(f"{system.path}: exists, not changed")

    def next_steps(self) -> Iterator[str]:
        """Yield commands and edits to do next."""
        if not self.images:
            yield f"add the images of this repository to {FILE_NAME}"
        for image in [one for one in self.images if "*" not in one][:1]:
            yield f"image-audit scan {image}"
        for path in self.found.dockerfiles[:1]:
            yield f"image-audit dockerfile {path}"
        if git.root(self.folder):
            installed = self.has_hook or installation.is_ours(git.hooks(self.folder).folder / "pre-push")
            yield "image-audit hook run" if installed else "image-audit hook install"
        if self.ci_step:
            yield self.ci_step

    def _accepts(self, wanted: bool | None, question: str) -> bool:
        if wanted is not None or self.answers != "ask":
            return self.answers == "yes" if wanted is None else wanted
        click.echo(f"{question} [y/N] ", nl=False)
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tags() -> tuple[tuple[str, ...], str]:
    """Return the engine's tags, and a text about them."""
    try:
        tags = daemon.tags(_ENGINE_TIMEOUT_S)
    except AuditError:
        return (), "no engine"
    return tags, f"{plural(len(tags), 'image')} in the engine"


def _listed(values: tuple[str, ...], noun: str) -> str:
    return f"{noun}s: {', '.join(values)}" if values else f"no {noun}s"


def _say(text: str) -> None:
    indent = "  " if text.startswith("  ") else ""
    click.echo(indent + safe_line(text))
