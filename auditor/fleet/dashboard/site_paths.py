"""Paths of the site's files: stable over sweeps, and safe on every file system."""

from __future__ import annotations

import hashlib
import re

from auditor.fleet.store.rows import ImageRow

OVERVIEW, SECRETS, LAYERS, SWEEPS = "index.html", "secrets.html", "layers.html", "sweeps.html"
REPOSITORIES, OWNERS = "repositories.html", "owners.html"
TABLES = (
    "images", "withdrawn", "findings", "secrets", "repositories", "owners", "layers", "changes", "sweeps", "trend",
    "failed",
)  # fmt: skip
FOLDERS = ("images", "secrets", "repositories", "owners", "csv", "json")

_SITE_FILE = re.compile(rf"(?:(?:{'|'.join(FOLDERS)})/)?[a-z0-9][a-z0-9-]*\.(?:html|csv|json)")
_LEGIBLE = 60  # characters of the repository name; a digest after them makes names unique


def image_page(image: ImageRow) -> str:
    """Return the path of an image's page, relative to the site."""
    return f"images/{_file_name(image.repository, image.name)}.html"


def repository_page(repository: str) -> str:
    """Return the path of a repository's page."""
    return f"repositories/{_file_name(repository, repository)}.html"


def owner_page(team: str) -> str:
    """Return the path of an owner's page."""
    return f"owners/{_file_name(team, team)}.html"


def numbered(path: str, number: int) -> str:
    """Return the path of the `number`-th page of a long list, from 1; the first one has the path itself."""
    return path if number == 1 else f"{path.removesuffix('.html')}-{number}.html"


def secret_page(secret: str) -> str:
    """Return the path of a secret's page; `secret` is hexadecimal."""
    return f"secrets/{secret}.html"


def table(name: str, form: str = "csv") -> str:
    """Return the path of one of TABLES, as `csv` or `json`."""
    return f"{form}/{name}.{form}"


def is_site_file(path: str) -> bool:
    """Whether a path can come from these functions. Other files are never removed."""
    return _SITE_FILE.fullmatch(path) is not None


def _file_name(legible: str, identity: str) -> str:
    """Return a legible name with a digest that makes it unique."""
    start = re.sub(r"[^a-z0-9]+", "-", legible.lower())[:_LEGIBLE].strip("-")
    return f"{start or 'image'}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
