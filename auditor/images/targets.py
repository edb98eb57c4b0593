"""Targets as users write them, parsed into a transport, a name or a path."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

from auditor.core.dataclass import dataclass
from auditor.core.errors import UsageError
from auditor.images.transports import Transport, transport_of
from auditor.registry.reference import parse_reference

ARCHIVE_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".oci")
_IMAGE_ID = re.compile(r"(sha256:)?[0-9a-f]{12,64}")


class TargetForm(Enum):
    """Syntactic form of a target."""

    PREFIXED = "a transport's prefix and a value"
    PATH = "a path of an archive or a layout"
    NAME = "a name or ID, of the engine or else of a registry"
    STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed target. `transport` is set for prefixed targets; `tag` selects one image of an archive."""

    text: str
    form: TargetForm
    value: str
    transport: Transport | None = None
    tag: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether the value is the path of a single file, or may be."""
        if self.transport is not None:
            return self.transport.file_ending is not None
        return self.form is TargetForm.PATH


def parse_target(text: str) -> Target:
    """Parse a target. Raises UsageError on an empty or malformed one."""
    if not text.strip() or "\0" in text:
        raise UsageError("the target is empty; name an image, an archive, a folder, or - for standard input")
    if text == "-":
        return Target(text, TargetForm.STANDARD_INPUT, "")
    transport = transport_of(text)
    if transport is not None:
        value, tag = transport.bare(text), None
        if transport.in_registry:
            parse_reference(value)
        elif not value:
            raise UsageError(f"{text}: nothing follows {transport.prefix}")
        if transport.has_tag:
            value, tag = _split_tag(value)
        return Target(text, TargetForm.PREFIXED, value, transport, tag)
    if Path(text).exists() or text.startswith(("/", "./", "../", "~")) or text.endswith(ARCHIVE_ENDINGS):
        return Target(text, TargetForm.PATH, text)
    if not is_image_id(text):
        parse_reference(text)
    return Target(text, TargetForm.NAME, text)


def is_image_id(text: str) -> bool:
    """Whether a name is, or may be, an image ID, complete or abbreviated as docker prints it."""
    return _IMAGE_ID.fullmatch(text) is not None


def is_explicit(text: str) -> bool:
    """Whether a text has a transport's prefix or the syntax of a path, so that it can be no bare image name."""
    return transport_of(text) is not None or text.startswith(("/", "./", "../")) or text.endswith(ARCHIVE_ENDINGS)


def _split_tag(text: str) -> tuple[str, str | None]:
    """Split `FILE[:TAG]`. The colon may belong to the name of an existing file."""
    if Path(text).exists() or ":" not in text:
        return text, None
    for position, char in enumerate(text):
        if char == ":" and Path(text[:position]).exists():
            return text[:position], text[position + 1 :]
    path, _, tag = text.partition(":")
    return path, tag
