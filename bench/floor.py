"""The floor for a scanner that verifies: read every byte, hash it, match it, and do nothing with what is found."""

from __future__ import annotations

import hashlib
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from auditor.detect.detect_secrets_plugins import plugin_rules
from auditor.detect.matcher import Matcher
from auditor.detect.rules import builtin_rules, select

BLOCK = 4 << 20


def main(path: str, cache: str) -> None:
    """Read a file in blocks; hash in one thread, match in two."""
    matcher = Matcher(select((*builtin_rules(), *plugin_rules())), Path(cache))
    digest = hashlib.sha256()
    with Path(path).open("rb", buffering=0) as file, ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(1) as hasher:
        waiting: list[Future[Any]] = []
        while block := file.read(BLOCK):
            waiting += [hasher.submit(digest.update, block), pool.submit(matcher.hits, block)]
            while len(waiting) > 8:
                waiting.pop(0).result()
        for future in waiting:
            future.result()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
