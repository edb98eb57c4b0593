"""Names of the site's files: the same in every sweep, safe on every file system, whatever a repository is called."""

from __future__ import annotations

import hashlib
import re

from auditor.fleet.store.rows import ImageRow

OVERVIEW, SECRETS, LAYERS, SWEEPS = "index.html", "secrets.html", "layers.html", "sweeps.html"
TABLES = ("images", "withdrawn", "findings", "secrets", "layers", "changes", "sweeps", "failed")

_OURS = re.compile(r"(?:(?:images|secrets|csv)/)?[a-z0-9][a-z0-9-]*\.(?:html|csv)")
_LEGIBLE = 60  # characters of a repository's name; the digest after it tells names apart


def image_page(image: ImageRow) -> str:
    """Return the path of an image's page below the site's folder."""
    legible = re.sub(r"[^a-z0-9]+", "-", image.repository.lower())[:_LEGIBLE].strip("-")
    told_apart = hashlib.sha256(image.name.encode()).hexdigest()[:16]
    return f"images/{legible or 'image'}-{told_apart}.html"


def secret_page(secret: str) -> str:
    """Return the path of a secret's page; `secret` is hexadecimal."""
    return f"secrets/{secret}.html"


def table(name: str) -> str:
    """Return the path of one of TABLES."""
    return f"csv/{name}.csv"


def is_site_file(path: str) -> bool:
    """Whether a path is one that these functions return: nothing else is ever removed."""
    return _OURS.fullmatch(path) is not None
