"""Names of an image, by which the config file and baselines select it."""

from __future__ import annotations

from pathlib import PurePath

from auditor.findings.selection import untagged
from auditor.images.source import Image
from auditor.images.targets import is_image_id
from auditor.images.transports import TRANSPORTS


def names_of(image: Image) -> frozenset[str]:
    """Return the names of an image: that of the target, else those in its archive, else the file name.

    Further names in the engine or registry are left out, because rules for them are meant for another image.
    """
    transport = TRANSPORTS[image.transport]
    target = transport.bare(image.target)
    if transport.has_names and not is_image_id(target) and "@" not in target:
        return frozenset({target} if target != untagged(target) else {target, f"{target}:latest"})
    return frozenset(image.names or {PurePath(target).name})


def name_without_tag(image: Image) -> str:
    """Return the name that an image shares with its next build."""
    return untagged(min(names_of(image)))
