"""Paths of the site's files: stable over sweeps, and safe on every file system."""

from __future__ import annotations

import hashlib
import re

from auditor.fleet.store.rows import ImageRow

OVERVIEW, SECRETS, LAYERS, SWEEPS = "index.html", "secrets.html", "layers.html", "sweeps.html"
TABLES = ("images", "withdrawn", "findings", "secrets", "layers", "changes", "sweeps", "failed")

_SITE_FILE = re.compile(r"(?:(?:images|secrets|csv)/)?[a-z0-9][a-z0-9-]*\.(?:html|csv)")
_LEGIBLE = 60  # characters of the repository name; a digest after them makes names unique


def image_page(image: ImageRow) -> str:
    """Return the path of an image's page, relative to the site."""
    legible = re.sub(r"[^a-z0-9]+", "-", image.repository.lower())[:_LEGIBLE].strip("-")
    unique = hashlib.sha256(image.name.encode()).hexdigest()[:16]
    return f"images/{legible or 'image'}-{unique}.html"


def secret_page(secret: str) -> str:
    """Return the path of a secret's page; `secret` is hexadecimal."""
    return f"secrets/{secret}.html"


def table(name: str) -> str:
    """Return the path of one of TABLES."""
    return f"csv/{name}.csv"


def is_site_file(path: str) -> bool:
    """Whether a path can come from these functions. Other files are never removed."""
    return _SITE_FILE.fullmatch(path) is not None
