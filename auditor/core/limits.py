"""Limits on hostile input: names, units, defaults and meanings, in one table.

    Limits        values; a field `json_bytes` is the limit `json-bytes` of --limit and of the config file
    TABLE         name, default, unit and meaning of each limit, in the order of the documentation
    limits_of     limits from values by name, as --limit NAME=VALUE and the config file give them
    DEFAULT       limits without options
    limit_note    name of a limit at the end of an error or a reason in the report

`config.resolve` builds the limits of a run once, and readers take them as a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import field, fields
from typing import Any, cast

from auditor.core.dataclass import dataclass

BYTES, NUMBER, SECONDS, FOLD = "bytes", "number", "seconds", "-fold"
IMAGE, LAYER, FILE, REPORT, REGISTRY = "an image", "a layer", "a file", "a report", "a registry"
RECORDS, AUDITS = (LAYER, FILE), (IMAGE, LAYER, FILE)
"""Groups of limits that cached values depend on: records of layers, audits of images."""
_MOST = 1 << 60
_SIZE = re.compile(r"(\d{1,18})\s*(?:([KMGT])i?)?B?", re.IGNORECASE)
_TIME = re.compile(r"(\d{1,9})\s*(s|m|h)?", re.IGNORECASE)
_COUNT = re.compile(r"\d{1,18}")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def _limit(group: str) -> Any:
    def limit(value: int, unit: str, meaning: str) -> Any:
        return field(default=value, metadata={"unit": unit, "meaning": meaning, "group": group})

    return limit


_image, _layer, _file, _report, _registry = map(_limit, (IMAGE, LAYER, FILE, REPORT, REGISTRY))


@dataclass(frozen=True, slots=True)
class Limits:
    """Values of all limits, in their units."""

    json_bytes: int = _image(32 << 20, BYTES, "one JSON document: a manifest, a config, an index, an attestation")
    json_total: int = _image(128 << 20, BYTES, "all JSON documents of a target")
    json_depth: int = _image(200, NUMBER, "nested lists and objects in a JSON document")
    json_values: int = _image(1_000_000, NUMBER, "values of a JSON document, and of all configs of a target")
    index_depth: int = _image(4, NUMBER, "nested indexes")
    manifests: int = _image(1000, NUMBER, "manifests of a target; entries of an index, or of manifest.json")
    layers: int = _image(4096, NUMBER, "layers of an image, blobs of an artifact")
    image_members: int = _image(200_000, NUMBER, "members of an image's archive")
    texts: int = _image(200_000, NUMBER, "texts of a config, and of each attestation, that are searched")
    text_bytes: int = _image(1 << 20, BYTES, "one such text")
    findings_image: int = _image(15_000, NUMBER, "findings of an image")

    header_bytes: int = _layer(1 << 20, BYTES, "one extension header of a tar: a long name, or pax records")
    headers_bytes: int = _layer(4 << 20, BYTES, "all headers of one entry of a tar")
    path_length: int = _layer(4096, NUMBER, "characters of a path, or of a link's target")
    path_depth: int = _layer(1024, NUMBER, "nested folders in a path")
    link_steps: int = _layer(20_000_000, NUMBER, "steps along symbolic links among the parents of a layer's entries")
    entries: int = _layer(4_000_000, NUMBER, "entries of a layer, whiteouts too")
    paths_bytes: int = _layer(256 << 20, BYTES, "memory of all paths and links' targets of a layer, or of an archive")
    layer_bytes: int = _layer(256 << 30, BYTES, "a layer, stored or uncompressed")
    layer_growth_free: int = _layer(1 << 30, BYTES, "uncompressed bytes of a layer that are always allowed")
    layer_growth: int = _layer(1100, FOLD, "growth of a layer beyond layer-growth-free")
    layer_growth_large: int = _layer(200, FOLD, "growth of a layer beyond four times layer-growth-free")
    decoder_memory: int = _layer(128 << 20, BYTES, "memory of a decoder of zstd or xz")
    raw_hits: int = _layer(20_000, NUMBER, "raw hits of a rule in a block of 8 MiB; more are only partly confirmed")
    findings_layer: int = _layer(10_000, NUMBER, "findings of a layer")
    unpacked_layer_free: int = _layer(4 << 30, BYTES, "bytes extracted from a layer's files that are always allowed")
    unpacked_layer: int = _layer(20, FOLD, "growth of a layer beyond unpacked-layer-free, by extraction of its files")
    databases_bytes: int = _layer(256 << 20, BYTES, "all package databases of a layer")

    archive_bytes: int = _file(64 << 20, BYTES, "an archive that is read as a whole")
    indexed_bytes: int = _file(2 << 30, BYTES, "an archive that is read by its directory, as a zip is")
    database_bytes: int = _file(64 << 20, BYTES, "one package database")
    nesting: int = _file(5, NUMBER, "nested archives; a compressed tar is one")
    members: int = _file(250_000, NUMBER, "members of all archives in a file, and cells of databases")
    git_objects: int = _file(200_000, NUMBER, "objects of a git pack")
    member_bytes: int = _file(32 << 20, BYTES, "a member of an archive that can't be read as a stream")
    unpacked_bytes: int = _file(1 << 30, BYTES, "all bytes extracted from a file")
    growth_free: int = _file(16 << 20, BYTES, "bytes extracted from a file that are always allowed")
    growth: int = _file(1000, FOLD, "growth of a file beyond growth-free, by extraction")
    file_time: int = _file(20, SECONDS, "time for the extraction of a file")
    stretches: int = _file(2000, NUMBER, "encoded parts of a text")
    codings: int = _file(3, NUMBER, "nested encodings")
    notes: int = _file(20, NUMBER, "reported skips in one file")
    findings_file: int = _file(1000, NUMBER, "findings of a file")
    reader_memory: int = _file(640 << 20, BYTES, "address space of the process that reads 7z and SQLite")

    line_shown: int = _report(160, NUMBER, "characters of an instruction in tables and messages")

    registry_time: int = _registry(60, SECONDS, "until a registry's answer begins, and then per MiB of it")
    registry_wait: int = _registry(120, SECONDS, "longest wait before a retry that a registry may ask for")
    registry_retry: int = _registry(300, SECONDS, "from a request's first failure to its last try")
    registry_headers: int = _registry(256 << 10, BYTES, "headers of an answer")
    registry_error: int = _registry(64 << 10, BYTES, "the body of an error, or of a token server's answer")
    registry_redirects: int = _registry(10, NUMBER, "redirects of a request")
    registry_pages: int = _registry(10_000, NUMBER, "pages of a list of tags or repositories")
    registry_names: int = _registry(1_000_000, NUMBER, "names of such a list")

    def differences(self, groups: Collection[str] = ()) -> str:
        """Return limits that differ from the defaults, such as `json-depth=5 layers=100`, of some groups or of all."""
        chosen = (limit for limit in TABLE if not groups or limit.group in groups)
        return " ".join(
            f"{limit.name}={limit.value_in(self)}" for limit in chosen if limit.value_in(self) != limit.default
        )


DEFAULT = Limits()
"""The limits where the user sets none."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A row of the table of limits."""

    attribute: str
    default: int
    unit: str
    meaning: str
    group: str
    """Scope of the count: IMAGE, LAYER, FILE, REPORT or REGISTRY."""

    @property
    def name(self) -> str:
        """Name for --limit, the config file and reports."""
        return self.attribute.replace("_", "-")

    def value_in(self, limits: Limits) -> int:
        """Return the value of this limit."""
        value: int = getattr(limits, self.attribute)
        return value

    def shown(self, value: int) -> str:
        """Return a value with its unit: `64 MiB`, `20 s`, `1,000`."""
        if self.unit == BYTES:
            power = max((p for p in range(5) if value and value % (1 << 10 * p) == 0), default=0)
            return f"{value >> 10 * power:,} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
        return f"{value:,}{' s' if self.unit == SECONDS else self.unit if self.unit == FOLD else ''}"

    def parse(self, text: str) -> int:
        """Parse a value. Raises ValueError with the expected form."""
        value = _parsed(self.unit, text.strip().replace(",", "").replace("_", ""))
        if value is None or not 0 < value <= _MOST:
            raise ValueError(f"{self.name}: {text!r:.60} is not {_EXPECTED[self.unit]}")
        return value


_EXPECTED = {
    BYTES: "a number of bytes from 1, such as 500000, 64KiB, 64MiB or 2GiB",
    SECONDS: "a time from 1 s, such as 30, 30s or 5m",
    NUMBER: "a number from 1, such as 20000",
    FOLD: "a factor from 1, such as 1000",
}
TABLE = tuple(Limit(f.name, cast(int, f.default), **f.metadata) for f in fields(Limits))
BY_NAME = {limit.name: limit for limit in TABLE}


def _parsed(unit: str, text: str) -> int | None:
    if unit == BYTES:
        found = _SIZE.fullmatch(text)
        return int(found[1]) << (10 * " KMGT".index((found[2] or " ").upper())) if found else None
    if unit == SECONDS:
        found = _TIME.fullmatch(text)
        return int(found[1]) * _SECONDS[(found[2] or "s").lower()] if found else None
    return int(text) if _COUNT.fullmatch(text) else None


def limits_of(values: Mapping[str, int]) -> Limits:
    """Return limits with some values, by name; the others are the defaults."""
    return Limits(**{BY_NAME[name].attribute: value for name, value in values.items()})


def limit_note(name: str) -> str:
    """Return `(limit NAME)`. Raises KeyError on an unknown name, a programming error."""
    return f"(limit {BY_NAME[name].name})"
