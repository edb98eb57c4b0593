"""Dockerfiles, compose files and the images that they name, in a folder and below it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from auditor.core.dataclass import dataclass
from auditor.core.errors import ConfigError
from auditor.core.yaml_file import load_yaml

_MAX_FILES = 50_000
_MAX_DEPTH = 6
_MAX_FOUND = 50
_MAX_BYTES = 1 << 20
_LEFT_OUT = frozenset(
    (".git", ".hg", ".svn", ".venv", "venv", "node_modules", "vendor", "target", "dist", "build", ".tox", "__pycache__")
)
_DOCKERFILE = re.compile(r"(?i)(?:Dockerfile|Containerfile)(?:\.[\w.-]+)?|[\w.-]+\.(?:Dockerfile|Containerfile)")
_NO_DOCKERFILE = re.compile(r"(?i)\.(?:dockerignore|md|txt|j2|tpl|template|orig|bak|rej)$")
_FROM = re.compile(rb"(?im)^\s*FROM\s+\S")
_COMPOSE = re.compile(r"(?:docker-)?compose(?:\.[\w-]+)?\.ya?ml")
_IMAGE = re.compile(r"[a-z0-9][\w./:@-]{0,254}")


@dataclass(frozen=True, slots=True)
class ProjectFiles:
    """Files by their paths below the folder. `images` are those that compose files build, by their names.

    `truncated` is set where the folder has more files than are looked at.
    """

    dockerfiles: tuple[str, ...]
    compose_files: tuple[str, ...]
    images: tuple[str, ...]
    truncated: bool = False


def find_project_files(folder: Path) -> ProjectFiles:
    """Search a folder. Symbolic links are not followed; files that can't be read are left out."""
    dockerfiles, compose_files, images = list[str](), list[str](), list[str]()
    truncated = False
    for count, path in enumerate(_walk(folder)):
        if count >= _MAX_FILES or len(dockerfiles) + len(compose_files) >= _MAX_FOUND:
            truncated = True
            break
        name = path.name
        if _DOCKERFILE.fullmatch(name) and not _NO_DOCKERFILE.search(name) and _FROM.search(_read(path)):
            dockerfiles.append(path.relative_to(folder).as_posix())
        elif _COMPOSE.fullmatch(name):
            compose_files.append(path.relative_to(folder).as_posix())
            images += _built_images(path)
    return ProjectFiles(
        tuple(sorted(dockerfiles)), tuple(sorted(compose_files)), tuple(dict.fromkeys(images)), truncated
    )


def own_images(tags: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Return the images of an engine that were built from a folder, as far as their names tell.

    An image is taken for the folder's own if its last part, without tag, is the folder's name, or begins with it and a
    hyphen or underscore, as compose names images. Several tags of a repository become one glob.
    """
    base = re.sub(r"[^a-z0-9_-]", "", folder.resolve().name.lower())
    own: dict[str, list[str]] = {}
    for tag in tags:
        repository = tag.rpartition(":")[0]
        name = repository.rpartition("/")[2]
        if base and (name == base or name.startswith((f"{base}-", f"{base}_"))):
            own.setdefault(repository, []).append(tag)
    return tuple(found[0] if len(found) == 1 else f"{repository}:*" for repository, found in own.items())


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        below = Path(root)
        depth = len(below.relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT) if depth < _MAX_DEPTH else []
        yield from (
            path for path in (below / name for name in sorted(files)) if str(path).isprintable() and _is_plain(path)
        )


def _is_plain(path: Path) -> bool:
    """Whether a path is a regular file: no link, and no pipe, which would never end."""
    return path.is_file() and not path.is_symlink()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES)
    except OSError:
        return b""


def _built_images(path: Path) -> Iterator[str]:
    """Yield the names of the images that a compose file builds, without variables."""
    try:
        root = load_yaml(path) if path.stat().st_size <= _MAX_BYTES else None
        services = root.mapping().get("services") if root else None
        for service in services.mapping().values() if services else ():
            keys = service.mapping()
            image = keys["image"].text() if "image" in keys and "build" in keys else ""
            if _IMAGE.fullmatch(image):
                yield image
    except (ConfigError, OSError):  # the file of another program: the images before the error count
        return
