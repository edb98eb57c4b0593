"""Makes the archive that `make bench` measures on: 4,000 files, half text, half noise."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.images import image, layer


def main(path: Path) -> None:
    """Write the archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = Path(__file__).read_bytes() * 80
    files = {f"srv/{n // 100}/{n}.txt": text if n % 2 else os.urandom(len(text)) for n in range(4000)}
    image(layer(files)).docker_archive(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
