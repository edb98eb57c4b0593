"""A sweep of 50,000 images and 1 PB, simulated with rates that were measured: the tables of docs/scale.md.

`python -m bench.scale`. The registry is made of families, a repository each: releases on a base that many families
share, a layer of dependencies that changes with every few releases, a layer of data or models that changes rarely, and
a small one of the application's own. Layers are handed to workers as they come, each at the rate of whatever is
narrowest.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

IMAGES, REPOSITORIES, BASES = 50_000, 1_000, 200
TOTAL_BYTES = 1e15

SCAN = 220e6
"""Stored bytes a second that one worker of two cores hashes, unpacks and matches: Debian's /usr/lib, gzip at 2.7:1."""
NETWORK = 1.25e9
"""Of one worker: 10 Gbit/s."""
REGISTRY = 5e9
"""Of the registry and its storage, to all: 40 Gbit/s."""
REQUEST_S = 0.015
"""A manifest, over a network; 8 at a time."""
AUDIT_S = 0.025
"""An image whose records are there, with what is written to the store: 10,000 files."""
LARGEST = 50e9
"""Bytes of a layer: what hosted registries take."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the registry holds: the sizes of its unique layers, and how often an image uses one."""

    unique: list[float]
    uses: int
    total: float


def fleet(seed: int = 1) -> Fleet:
    """Draw a registry, scaled so that its images add up to some TOTAL_BYTES."""
    draw = random.Random(seed)
    sizes: dict[tuple[str, ...], float] = {}
    uses = list[tuple[str, ...]]()
    releases = IMAGES // REPOSITORIES
    for repository in range(REPOSITORIES):
        base = f"base{min(int(draw.paretovariate(0.6)), BASES)}"
        weight = draw.lognormvariate(0, 0.8)
        for release in range(releases):
            parts: list[tuple[tuple[str, ...], float]] = [
                ((base, str(release // 25)), 0.3),
                ((f"dependencies{repository}", str(release // 4)), 1.0 * weight),
                ((f"data{repository}", str(release // 12)), 4.0 * weight),
                ((f"application{repository}", str(release)), 0.05 * weight),
            ]
            for key, scale in parts:
                sizes.setdefault(key, scale * draw.lognormvariate(0, 0.5))
                uses.append(key)
    scale = TOTAL_BYTES / sum(sizes[key] for key in uses)
    unique = {key: min(size * scale, LARGEST) for key, size in sizes.items()}
    return Fleet([*unique.values()], len(uses), sum(unique[key] for key in uses))


def makespan(layers: list[float], workers: int) -> tuple[float, str]:
    """Return the seconds until the last layer is read, and what bounds a worker's rate while all are busy.

    All busy workers go at one rate, so that their places are counted in bytes that each has read.
    """
    free = [0.0] * workers
    for size in layers:
        heapq.heapreplace(free, free[0] + size)
    seconds, at = 0.0, 0.0
    for idle, end in enumerate(sorted(free)):
        seconds += (end - at) / min(rates(workers - idle).values())
        at = end
    bounds = rates(workers)
    return seconds, min(bounds, key=lambda name: bounds[name])


def rates(busy: int) -> dict[str, float]:
    """Return what bounds a worker, in bytes a second."""
    return {"a worker's cores": SCAN, "a worker's network": NETWORK, "the registry": REGISTRY / busy}


def duration(seconds: float) -> str:
    """Return `3.2 days`, `5.1 h`, `12 min`."""
    for unit, length in (("days", 86_400), ("h", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min"


def main() -> None:
    found = fleet()
    unique = sum(found.unique)
    largest = max(found.unique)
    print(f"{IMAGES:,} images of {REPOSITORIES:,} repositories, {found.total / 1e15:.2f} PB as pulled one by one\n")
    print("| | |\n|---|--:|")
    print(f"| layers, as images list them | {found.uses:,} |")
    print(f"| unique layers | {len(found.unique):,} |")
    print(f"| unique bytes | {unique / 1e12:.0f} TB |")
    print(f"| largest layer | {largest / 1e9:.0f} GB |")
    print(f"| manifests and configs, first sweep | {duration(IMAGES * 2 * REQUEST_S / 8)} |")
    print(f"| tags, each later sweep | {duration(IMAGES * REQUEST_S / 8)} |")
    print(f"| audits, in the one process that sweeps | {duration(IMAGES * AUDIT_S)} |")
    print("\n| workers | reading every unique layer | bound by | share of the ideal |\n|--:|--:|---|--:|")
    for workers in (1, 4, 16, 32, 64, 128):
        seconds, bound = makespan(found.unique, workers)
        ideal = unique / (SCAN * workers)
        print(f"| {workers} | {duration(seconds)} | {bound} | {ideal / seconds:.0%} |")
    changed = random.Random(2).sample(found.unique, len(found.unique) // 100)
    print(f"\nA day that brings 1 % of the layers anew: {duration(makespan(changed, 1)[0])} on one worker.")


if __name__ == "__main__":
    main()
