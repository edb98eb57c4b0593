"""Files that the commands of a RUN add and remove."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator
from itertools import islice

from auditor.dockerfile.instructions import BuildStep
from auditor.dockerfile.shell_commands import Command, commands
from auditor.dockerfile.stages import absolute_path, mounts

_INSTALL = re.compile(
    r"^npm (?:ci|i|install|clean-install)(?: --?\S+)*$|^(?:yarn|pnpm|bun)(?: (?:i|install))?(?: --?\S+)*$"
)
MAX_PATHS = 500
"""Maximum number of paths of one command, and of one RUN."""
_URL = re.compile(r"(?i)^(?:https?|ftp|git|ssh)://|^git@")


def added(command: Command) -> Iterator[tuple[str, str]]:
    """Yield the absolute path of each file or folder that a command creates, and the kind of creation."""
    for path in command.written:
        yield path, "written"
    yield from _fetched(command)
    yield from _made(command)


def _fetched(command: Command) -> Iterator[tuple[str, str]]:
    paths = command.plain()
    match command.name:
        case "curl":
            by_url = _short(command, "O") or "--remote-name" in command.words
            yield from _downloads(command, command.option("-o", "--output"), by_url)
        case "wget":
            yield from _downloads(command, command.option("-O", "--output-document"), True)
        case "git" if paths[:1] == ["clone"]:
            urls = [at for at, word in enumerate(paths) if _URL.match(word)]
            if urls:
                name = posixpath.basename(paths[urls[0]].rstrip("/")).removesuffix(".git")
                yield absolute_path(next(iter(paths[urls[0] + 1 :]), name), command.folder), "cloned"
        case "npm" | "yarn" | "pnpm" | "bun" if _INSTALL.search(" ".join(command.words)):
            yield absolute_path("node_modules", command.folder), "installed"
        case "tar" | "bsdtar" | "unzip":
            target = command.option("-d") if command.name == "unzip" else command.option("-C", "--directory")
            if target and target not in (".", "/"):
                yield absolute_path(target, command.folder), "unpacked"


def _made(command: Command) -> Iterator[tuple[str, str]]:
    paths = command.plain()
    match command.name:
        case "tee" | "touch":
            yield from ((absolute_path(path, command.folder), "written") for path in paths)
        case "cp" | "mv" | "install" if len(paths) > 1:
            name = "/" + posixpath.basename(paths[0]) if paths[-1].endswith("/") else ""
            yield absolute_path(paths[-1], command.folder) + name, "written"
        case "dd":
            yield from ((absolute_path(word[3:], command.folder), "filled") for word in paths if word.startswith("of="))
        case "fallocate" | "truncate" if paths:
            yield absolute_path(paths[-1], command.folder), "filled"
        case "ssh-keygen":
            key = command.option("-f")
            if key:
                yield absolute_path(key, command.folder), "written"


def removed(command: Command) -> Iterator[tuple[str, str]]:
    """Yield each absolute path or glob that a command removes, and the kind of removal."""
    paths = command.plain()
    match command.name:
        case "rm" | "unlink" | "rmdir":
            yield from ((absolute_path(path, command.folder), "removes") for path in paths)
        case "shred" if _short(command, "u") or "--remove" in command.words:
            yield from ((absolute_path(path, command.folder), "removes") for path in paths)
        case "mv" if len(paths) > 1:
            yield from ((absolute_path(path, command.folder), "moves") for path in paths[:-1])
        case "find" if "-delete" in command.words or "rm" in command.words:
            name = command.option("-name")
            for path in paths[: 1 if not command.words[1:2] or not command.words[1].startswith("-") else 0]:
                yield absolute_path(f"{path}/{name}" if name else path, command.folder), "removes"


def command_effects(step: BuildStep, escape: str) -> tuple[dict[str, str], dict[str, str], list[Command]]:
    """Return the files that a RUN adds and keeps, the files of earlier steps that it removes, and its commands.

    Paths in a mount are left out: they do not reach the layer.
    """
    made: dict[str, str] = {}
    removed_paths: dict[str, str] = {}
    found = commands(step, escape)
    for command in found:
        for path, how in islice(removed(command), MAX_PATHS):
            own = [one for one in made if covers(path, one)]
            for one in own:
                del made[one]
            if not own:
                removed_paths[path] = how
        removed_paths = dict(islice(removed_paths.items(), MAX_PATHS))
        made |= dict(islice(added(command), max(0, MAX_PATHS - len(made))))
    hidden = [
        absolute_path(target, step.folder)
        for m in mounts(step.instruction)
        if (target := m.get("target") or m.get("dst"))
    ]

    def kept(paths: dict[str, str]) -> dict[str, str]:
        return {path: how for path, how in paths.items() if not any(covers(mount, path) for mount in hidden)}

    return kept(made), kept(removed_paths), found


def covers(removal: str, path: str) -> bool:
    """Return whether removing a path or glob removes another path."""
    patterns, parts = removal.split("/"), path.split("/")
    if len(parts) < len(patterns):
        return False
    return all(fnmatch.fnmatchcase(part, pattern) for part, pattern in zip(parts, patterns, strict=False))


def _downloads(command: Command, named: str | None, by_url: bool) -> Iterator[tuple[str, str]]:
    if named and named != "-":
        yield absolute_path(named, command.folder), "downloaded"
    elif by_url and not named:
        for url in filter(_URL.match, command.plain()):
            name = posixpath.basename(url.split("?")[0].rstrip("/"))
            yield absolute_path(name, command.folder), "downloaded"


def _short(command: Command, letter: str) -> bool:
    return any(re.fullmatch(rf"-[A-Za-z]*{letter}[A-Za-z]*", word) for word in command.words[1:])
