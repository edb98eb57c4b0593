"""Commands that `make bench` measures on one image: this program, the floor, and every peer that is installed."""

from __future__ import annotations

import functools
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Measure, measured

FLOOR, SCAN, ONE_JOB, AGAIN = "floor: read, hash, match", "scan", "scan --jobs 1", "scan, again"
GZIP, ZSTD = "scan of the OCI archive, gzip", "scan of the OCI archive, zstd"
ENGINE, ENGINE_AGAIN, HOOK = "scan of the engine's image", "scan of the engine's image, again", "hook run, again"
FLATTEN, BETTERLEAKS = "flatten", "Betterleaks"
OURS = (sys.executable, "-m", "auditor")
_PACKED = {GZIP: "gzip", ZSTD: "zstd"}
_PEERS = {
    BETTERLEAKS: ("betterleaks", "fs", "{}", "--exit-code=0", "--no-banner", "-s"),
    "Gitleaks": ("gitleaks", "dir", "{}", "--max-archive-depth=8", "--exit-code=0", "--no-banner"),
    "Kingfisher": ("kingfisher", "scan", "{}", "--no-validate", "--no-update-check", "--no-limits"),
    "Trivy": ("trivy", "image", "--scanners", "secret", "--input", "{}", "--quiet"),
}


@dataclass(slots=True)
class Row:
    """A command to be measured. `before` prepares each run and is not measured. `own` commands must not fail."""

    name: str
    command: Sequence[str]
    before: Callable[[], object] = lambda: None
    folder: Path | None = None
    own: bool = True
    runs: list[Measure] = field(default_factory=list)

    def run(self) -> None:
        """Measure one run. Raises SystemExit where a command of this program fails."""
        self.before()
        run = measured(self.command, self.folder)
        if self.own and run.exit_code not in (0, 1):
            raise SystemExit(f"{self.name}: exit code {run.exit_code}: {' '.join(self.command)}")
        self.runs.append(run)

    @property
    def median(self) -> Measure:
        """The medians of all runs, and the highest peak of memory."""
        return Measure(
            statistics.median(run.wall_s for run in self.runs),
            statistics.median(run.cpu_s for run in self.runs),
            max(run.pss_mb for run in self.runs),
            self.runs[-1].exit_code,
        )


def rows(archive: Path, folder: Path, cache: Path) -> list[Row]:
    """Return the commands for an archive that `docker save` wrote. `folder` takes other forms of it and outputs.

    `cache` is the folder that this program caches in. Rows that need an engine, skopeo or a peer are left out where it
    is missing.
    """
    forget = functools.partial(_forget, cache)
    scan = (*OURS, "scan", "-q", str(archive))
    output = folder / "flat.tar"
    return [
        Row(FLOOR, (sys.executable, "-m", "bench.floor", str(archive), str(cache))),
        Row(SCAN, scan, forget),
        Row(AGAIN, scan),
        Row(ONE_JOB, (*scan, "--jobs", "1"), forget),
        *_packed(archive, folder, forget),
        *_engine(archive, folder, forget),
        *(
            Row(name, (*OURS, "flatten", "-q", str(archive), "-o", str(output), *options), lambda: forget(output))
            for name, options in ((FLATTEN, ()), ("flatten --excise", ("--excise",)))
        ),
        *_peers(archive, folder / "empty"),
    ]


def _forget(cache: Path, *outputs: Path) -> None:
    """Remove what is known of layers, and outputs; compiled rules stay."""
    for path in (cache / "layers.sqlite", *outputs):
        path.unlink(missing_ok=True)


def _packed(archive: Path, folder: Path, forget: Callable[[], object]) -> list[Row]:
    if not shutil.which("skopeo"):
        return []
    found = []
    for name, compression in _PACKED.items():
        path = folder / f"{compression}.tar"
        options = ("--insecure-policy", "copy", "-q", "--dest-compress-format", compression)
        subprocess.run(("skopeo", *options, f"docker-archive:{archive}", f"oci-archive:{path}:1"), check=True)
        found.append(Row(name, (*OURS, "scan", "-q", str(path)), forget))
    return found


def _engine(archive: Path, folder: Path, forget: Callable[[], object]) -> list[Row]:
    if not shutil.which("docker") or subprocess.run(("docker", "info"), capture_output=True, check=False).returncode:
        return []
    loaded = subprocess.run(("docker", "load", "-i", archive), capture_output=True, text=True, check=True).stdout
    name = loaded.rpartition(": ")[2].strip()
    repository = folder / "repository"
    subprocess.run(("git", "init", "-q", repository), check=True)
    (repository / ".image-audit.yaml").write_text(f'images: ["{name}"]\n')
    scan = (*OURS, "scan", "-q", f"docker-daemon:{name}")
    return [
        Row(ENGINE, scan, forget),
        Row(ENGINE_AGAIN, scan),
        Row(HOOK, (*OURS, "hook", "run"), folder=repository),
    ]


def _peers(archive: Path, empty: Path) -> list[Row]:
    """Return the peers, run in an empty folder, because some also scan the working directory or read settings there."""
    empty.mkdir()
    commands = {name: tuple(part.format(archive) for part in command) for name, command in _PEERS.items()}
    return [
        Row(name, command, folder=empty, own=False) for name, command in commands.items() if shutil.which(command[0])
    ]
