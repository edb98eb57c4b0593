"""Fuzz every target for its share of the minutes, and say what came of it: `python -m fuzz [--minutes N] [TARGET...]`.

Inputs that were worth keeping stay in .fuzz/, where the next run begins; one that breaks a target is written to
.fuzz/findings/, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import time
from pathlib import Path

from fuzz.seeds import seeds
from fuzz.targets import TARGETS

FOLDER = Path(".fuzz")
_TIMEOUT_S, _MEMORY_MB = 30, 1024  # of one input
_RUNS = re.compile(r"^#(\d+)\s+DONE|stat::number_of_executed_units:\s*(\d+)|^#(\d+)", re.M)


def main() -> int:
    """Return 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("--minutes", type=float, default=5, help="for all targets together")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET")
    given = parser.parse_args()
    chosen = given.targets or list(TARGETS)
    print(f"{'target':<12}{'executions':>12}{'seconds':>9}  findings")
    found = [_fuzzed(name, round(given.minutes * 60 / len(chosen))) for name in chosen]
    return int(any(found))


def _fuzzed(name: str, seconds: int) -> int:
    """Fuzz one target; return how many inputs broke it: one, because libFuzzer stops there."""
    corpus, findings = FOLDER / name, FOLDER / "findings"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds()[name]:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    command = [
        sys.executable, "-m", "fuzz.one", name, f"-max_total_time={max(seconds, 1)}", f"-timeout={_TIMEOUT_S}",
        f"-rss_limit_mb={_MEMORY_MB}", "-max_len=8192", f"-artifact_prefix={findings}/{name}-",
        "-print_final_stats=1", str(corpus),
    ]  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    took = time.monotonic() - began
    runs = max((int(next(filter(None, match))) for match in _RUNS.findall(done.stderr)), default=0)
    print(f"{name:<12}{runs:>12,}{took:>9.0f}  {'none' if done.returncode == 0 else '1'}", flush=True)
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
    return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
