"""`make bench-count`: what a scan costs, counted and not timed, so that a test can hold it against the last.

A layer of the kinds of files that images are made of is scanned; counted are the bytes that each Vectorscan pass
searches, the raw hits, and the calls of Python functions a file in the thread that lists and confirms.
`bench/count.json` holds the figures that stand.
"""

from __future__ import annotations

import io
import json
import random
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

from auditor.detect.detect_secrets_plugins import plugin_rules
from auditor.detect.hits import Hits
from auditor.detect.rule_cache import cached_builtin_rules
from auditor.detect.rules import Ruleset, select
from auditor.detect.vectorscan import VectorscanDatabase
from auditor.scan import Scanner
from tests.images import gzipped, layer

LAST = Path(__file__).with_suffix(".json")
_FILES = 300


def counted(ruleset: Ruleset, cache: Path | None = None) -> dict[str, int]:
    """Scan the layer and return the counts."""
    counts: Counter[str] = Counter()
    search = VectorscanDatabase.scan

    def scan(self: VectorscanDatabase, block: memoryview | bytes, most: int) -> Hits:
        hits = search(self, block, most)
        if self._rules:
            counts[f"bytes searched for {names.get(id(self), 'paths')}"] += len(block)
        counts["raw hits"] += len(hits)
        return hits

    def called(frame: FrameType, event: str, argument: object) -> None:  # noqa: ARG001
        counts["calls"] += event == "call"

    threading.setprofile(called)  # for the thread that scans, which begins with the first layer
    scanner = Scanner(ruleset, 1, cache=cache)
    matcher = scanner.searcher._matcher
    secrets, providers = matcher._name_rules, matcher._provider_rules
    names = {
        id(matcher._token_rules[0]): "tokens", id(matcher._keyword_rules[0]): "words",
        id(secrets._tails): "tails", id(providers._names): "names of providers",
    }  # fmt: skip
    data = layer(_content())
    scanner.scan_layer(io.BytesIO(data), "warm")  # compiles what hits first
    VectorscanDatabase.scan = scan  # type: ignore[method-assign]
    counts.clear()
    sys.setprofile(called)
    try:
        scanner.scan_layer(io.BytesIO(data), "layer")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        VectorscanDatabase.scan = search  # type: ignore[method-assign]
        scanner.close()
    counts["calls a file"] = counts.pop("calls") // _FILES
    return dict(sorted(counts.items()))


def _content() -> dict[str, bytes]:
    """Return settings, code of packages, programs and archives; the same each time."""
    chance = random.Random(1)
    text = b"def area(width, height):\n    return width * height  # in pixels\n\n" * 60
    kinds = {
        "etc/app/{}.conf": lambda: b"".join(b"option%d = value %d\n" % (n, chance.randrange(99)) for n in range(200)),
        "usr/lib/python3/dist-packages/p/{}.py": lambda: text * 4,
        "usr/lib/{}.so": lambda: b"\x7fELF" + chance.randbytes(100_000),
        "srv/{}.json": lambda: json.dumps([chance.random() for _ in range(500)]).encode(),
        "srv/{}.gz": lambda: gzipped(text * 20),
        "srv/{}.tar.gz": lambda: gzipped(layer({f"a/{n}.txt": text for n in range(5)})),
    }
    patterns = list(kinds.items())
    return {patterns[n % len(patterns)][0].format(n): patterns[n % len(patterns)][1]() for n in range(_FILES)}


def main() -> None:
    """Print the counts; with --write keep them as those that stand."""
    counts = counted(select((*cached_builtin_rules(None), *plugin_rules())))
    if "--write" in sys.argv:
        LAST.write_text(json.dumps(counts, indent=1) + "\n")
    print(json.dumps(counts, indent=1))


if __name__ == "__main__":
    main()
