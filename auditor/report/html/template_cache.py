"""Compiled templates in the cache folder. They are code: only those written with the key of the folder are loaded."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket

from auditor.core.cache_folder import folder_key, read_cache_file, write_cache_file
from auditor.core.cache_keys import Producer
from auditor.store.mac import SIZE, is_authentic, mac

_MADE_BY = Producer(("report/html",), ("Jinja2", "MarkupSafe"))


class TemplateCache(jinja2.BytecodeCache):
    """Bytecode of templates in a folder; without a folder that this user can write, they are compiled again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key: bytes | None = None
        with suppress(OSError):
            self._key = folder_key(folder)

    def load_bytecode(self, bucket: Bucket) -> None:
        """Load the code of a template, if it was written with the key, for this source and by this version."""
        kept = None if self._key is None else read_cache_file(self._path(bucket))
        if self._key and kept and is_authentic(self._key, kept[:SIZE], *self._fields(bucket, kept[SIZE:])):
            bucket.bytecode_from_string(kept[SIZE:])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write the code of a template."""
        if self._key is not None:
            code = bucket.bytecode_to_string()
            write_cache_file(self._path(bucket), mac(self._key, *self._fields(bucket, code)) + code)

    def _path(self, bucket: Bucket) -> Path:
        return self._folder / f"template-{bucket.key[:32]}"

    @staticmethod
    def _fields(bucket: Bucket, code: bytes) -> tuple[str | bytes, ...]:
        return "template", _MADE_BY.key, bucket.key, code
