"""The nouns of image-audit: frozen values, no I/O.

`Digest` is always of the bytes as stored or sent (compressed), `DiffID` always of the uncompressed tar.
Paths inside a layer are relative, normalised and free of `..`; bytes that are not UTF-8 are kept by surrogateescape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Self

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


class Severity(StrEnum):
    """How bad it is when somebody else holds the secret."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for low up to 3 for critical."""
        return _RANKS[self.value]


class Confidence(StrEnum):
    """How sure we are that it is a secret at all."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for low up to 2 for high."""
        return _RANKS[self.value]


_RANKS = {"low": 0, "medium": 1, "high": 2, "critical": 3}


class State(StrEnum):
    """What became of the bytes that hold a finding."""

    DELETED = "deleted"
    OVERWRITTEN = "overwritten"
    PRESENT = "present"
    METADATA = "metadata"


class Kind(IntEnum):
    """What a tar entry makes in the file system.

    A WHITEOUT shows nothing: an overlay file system takes a character device 0:0 for one, and the bytes of a `.wh.`
    file are never extracted.
    """

    FILE = 0
    HARDLINK = 1
    SYMLINK = 2
    CHAR = 3
    BLOCK = 4
    DIR = 5
    FIFO = 6
    WHITEOUT = 7


@dataclass(frozen=True, slots=True)
class Visible:
    """The final file system shows this file version."""


@dataclass(frozen=True, slots=True)
class Overwritten:
    """Layer `by` holds the path anew."""

    by: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """Layer `by` removes the path or a parent of it."""

    by: int


Fate = Visible | Overwritten | Deleted


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """One version of a file: the index of its layer, and of its entry in the layer's listing."""

    layer: int
    entry: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was not read, and why; it stands in the report."""

    path: str | None
    layer: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an image's history. `empty` steps made no layer."""

    created: str | None
    created_by: str | None
    comment: str
    empty: bool


@dataclass(frozen=True, slots=True)
class Platform:
    """`os/architecture[/variant]`."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Config:
    """What an image config says: the parts that an audit reads. OCI image spec, config.md.

    `raw` is the whole parsed document; `diff_ids` has one item a layer.
    """

    platform: Platform | None
    diff_ids: tuple[DiffID, ...]
    history: tuple[Step, ...]
    raw: Mapping[str, Any]


class Secret:
    """A secret, which prints masked.

    It is made with its text, and sealed once its layer is read: from then on it stands for its text without holding it,
    but where the user wants it whole. Equal texts that are sealed under one key are equal secrets.
    """

    __slots__ = ("_text", "few", "identity", "masked")

    def __init__(self, text: str | None, masked: str, few: int | None = None, identity: bytes = b"") -> None:
        """Without a text, `few` and `identity` must be given, as `sealed` makes them."""
        self._text = text
        self.masked = masked
        self.few = few_bits(text or "") if few is None else few
        self.identity = identity

    def reveal(self) -> str:
        """Return the whole secret. Only for --show-secrets, --verify and masking; not to be had of a sealed one."""
        if self._text is None:
            raise ValueError("the secret is sealed")
        return self._text

    def sealed(self, key: bytes, *, keep: bool) -> Secret:
        """Return the secret with an identity that only holders of `key` can test a guess against.

        Its text goes unless `keep` is set.
        """
        import hmac

        if self._text is None:
            return self
        text = self._text.encode("utf-8", "surrogatepass")
        return Secret(self._text if keep else None, self.masked, self.few, hmac.digest(key, text, "sha256")[:16])

    def __repr__(self) -> str:
        return f"Secret({self.masked})"

    def __str__(self) -> str:
        return self.masked

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        if self.identity and other.identity:
            return self.identity == other.identity
        return self._text is not None and self._text == other._text

    def __hash__(self) -> int:
        return hash(self.few)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is never serialised")


ID_BITS = 20
"""Bits of a secret's digest that an id depends on: enough to tell a rotated secret, too few to test a guess of it."""


def few_bits(text: str) -> int:
    """Return the first ID_BITS of a text's SHA-256."""
    import hashlib

    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:3], "big") >> (24 - ID_BITS)


@dataclass(frozen=True, slots=True)
class Package:
    """The installed package that brought a file; `unmodified` is None where the package keeps no checksum."""

    manager: str
    name: str
    version: str
    unmodified: bool | None


@dataclass(frozen=True, slots=True)
class Source:
    """The line of a Dockerfile, from 1, whose instruction added a finding."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One secret at one place of an image, with what became of it. docs/report.md describes the fields.

    Exactly one of `path` and `where` is set: a file, or a place in the metadata. `held_by` are the file versions whose
    bytes hold it, lowest first, or the entries whose header does; of those `entry_path` is the path, for globs.
    """

    id: str
    rule: str
    name: str
    provider: str
    detector: str
    severity: Severity
    confidence: Confidence
    state: State
    path: str | None
    where: str | None
    secret: Secret
    secret_id: str
    held_by: tuple[Version, ...] = ()
    entry_path: str | None = None
    member: str | None = None
    decoded: tuple[str, ...] = ()
    line: int | None = None
    added_in: int | None = None
    added_by: str | None = None
    hidden_in: int | None = None
    hidden_by: str | None = None
    inherited: bool = False
    check: str = "none"
    verified: str | None = None
    package: Package | None = None
    source: Source | None = None
    revoke: str | None = None
    recover: str | None = None
    advice: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.path is None) == (self.where is None):
            raise ValueError("a finding stands in a file or in the metadata")
        if (self.state is State.METADATA) != (self.path is None):
            raise ValueError("a finding's state does not fit its place")
        if self.state is not State.METADATA and (self.hidden_in is None) != (self.state is State.PRESENT):
            raise ValueError("a hidden finding names the layer that hides it, and no other does")
        if self.state is State.METADATA and self.hidden_in is not None and self.entry_path is None:
            raise ValueError("only what stands in an entry's header is hidden with the entry")

    @property
    def is_hidden(self) -> bool:
        """Whether the final image does not show it, though a layer still holds it."""
        return self.hidden_in is not None
