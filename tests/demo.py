"""`make demo`: the story of layer1 and layer2, without an engine.

A base image, a commit that adds /secret.txt, a commit that deletes it: written as `docker save` would, audited, the
deleted file recovered, and the image flattened. The token is made now and works nowhere.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.images import story

FOLDER = Path("build/demo")


def main() -> int:
    """Run the story; 0 where it came out as it should."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    archive, page = FOLDER / "layer2.tar", FOLDER / "report.html"
    built, secret = story()
    built.docker_save(archive)
    scan = _run("scan", str(archive), "-o", str(page))
    recovered = _run("recover", str(archive), "/secret.txt")
    flattened = _run("flatten", str(archive), "--excise", "-o", str(FOLDER / "layer2-clean.tar"), "--force")
    print(f"\nThe HTML report: {page.resolve()}")
    told = (
        scan.returncode == 1 and secret in recovered.stdout and secret not in scan.stdout and flattened.returncode == 0
    )
    return 0 if told else 1


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    print(f"$ image-audit {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "auditor", *arguments], text=True, capture_output=True, check=False)
    print(done.stdout + done.stderr, end="", flush=True)
    return done


if __name__ == "__main__":
    sys.exit(main())
