"""Digests: `Digest` of bytes as stored or sent, `DiffID` of the uncompressed tar of a layer."""

from __future__ import annotations

import re
from typing import Self

from auditor.core.errors import ImageError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class Digest(str):
    """`algorithm:hex` of bytes as stored or sent. OCI image spec, descriptor.md#digests."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Raise ImageError unless `text` is a sha256 or sha512 digest."""
        if not isinstance(text, str) or not _DIGEST.fullmatch(text):
            raise ImageError(f"not a sha256 or sha512 digest: {text!r:.100}")
        return super().__new__(cls, text)

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return self.partition(":")[2]


class DiffID(Digest):
    """The digest of a layer's uncompressed tar. OCI image spec, config.md#layer-diffid."""

    __slots__ = ()
