"""Sweeps of a registry with 600 tags in 60 repositories, beside a bare loop over its tag lists and manifests.

`python -m bench.fleet_bytes`. The registry is Debian's docker-registry on loopback; what was asked is read from its
access log. Each image has a base that others share and two small layers of its own.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.fleet.planted import Remote, base
from tests.images import Built, image, layer, token, whiteout

REPOSITORIES, TAGS, BASES = 60, 10, 6
_LINE = re.compile(r'"(?P<method>GET|HEAD) (?P<path>\S+) HTTP/1\.1" (?P<status>\d+) (?P<bytes>\d+)')


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    seconds: float
    lists: int
    manifests: int
    blobs: int
    bytes: int


class Registry:
    """A real registry in a folder, and its access log."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        config = folder / "config.yml"
        config.write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {folder}/data}}\n"
            f"http: {{addr: '{self.address}'}}\n"
        )
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
        for _ in range(100):
            try:
                requests.get(f"http://{self.address}/v2/", timeout=1)
                return
            except requests.ConnectionError:
                time.sleep(0.05)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def measured(self, name: str, work: Callable[[], None]) -> Row:
        """Do something; return how long it took, and what the registry was asked for."""
        start = self._log.stat().st_size
        began = time.monotonic()
        work()
        seconds = time.monotonic() - began
        time.sleep(0.2)  # for the log
        with self._log.open("rb") as log:
            log.seek(start)
            found = [match for line in log if (match := _LINE.search(line.decode(errors="replace")))]
        paths = [match["path"] for match in found]
        return Row(
            name,
            seconds,
            sum("/tags/list" in path or "_catalog" in path for path in paths),
            sum("/manifests/" in path for path in paths),
            sum("/blobs/" in path for path in paths),
            sum(int(match["bytes"]) for match in found if match["method"] == "GET"),
        )


def built(repository: int, tag: int) -> Built:
    """An image on a shared base; one in ten has a secret that its last layer deletes."""
    noise = random.Random(repository * 1000 + tag).randbytes(20_000).hex()
    files = {"app/main.txt": f"{repository} {tag}\n", "app/data": noise}
    secret = {"app/.env": f"GITHUB_TOKEN={token(repository)}\n"} if tag == 0 else {}
    layers = [base(repository % BASES, 400_000), layer({**files, **secret})]
    layers.append(layer(whiteout("app/.env"), {"app/version": str(tag)}))
    return image(*layers)


def fill(address: str) -> None:
    remote = Remote(address)

    def push(repository: int) -> None:
        for tag in range(TAGS):
            remote.push(f"team{repository % 5}/app{repository}", f"1.{tag}", built(repository, tag))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(push, range(REPOSITORIES)))


def bare_loop(address: str) -> None:
    """The least that tells what a registry holds: every tag list, every tag's manifest, one after the other."""
    session = requests.Session()
    session.trust_env = False
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"}
    for repository in session.get(f"http://{address}/v2/_catalog?n=1000").json()["repositories"]:
        for tag in session.get(f"http://{address}/v2/{repository}/tags/list").json()["tags"]:
            session.get(f"http://{address}/v2/{repository}/manifests/{tag}", headers=accept).raise_for_status()


@contextmanager
def environment(folder: Path) -> Iterator[dict[str, str]]:
    yield {**os.environ, "XDG_DATA_HOME": str(folder / "home"), "DOCKER_CONFIG": str(folder / "docker")}


def sweep(address: str, folder: Path) -> None:
    command = [sys.executable, "-m", "auditor", "registry", "scan", address, "--format", "json", "--fail-on", "never"]
    with environment(folder) as env:
        done = subprocess.run(command, env=env, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert len(found["images"]) >= REPOSITORIES * TAGS and not found["failed"]


def table(rows: list[Row]) -> str:
    loop = rows[0].seconds
    lines = [
        "| | seconds | times the bare loop | tag lists | manifests | blobs | bytes |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row.name} | {row.seconds:.1f} | {row.seconds / loop:.1f} | {row.lists} | {row.manifests} | {row.blobs} "
        f"| {row.bytes / 1e6:.2f} MB |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-fleet-"))
    registry = Registry(folder)
    try:
        fill(registry.address)
        sweep_it = lambda: sweep(registry.address, folder)  # noqa: E731
        loop = [registry.measured("bare loop", lambda: bare_loop(registry.address)) for _ in range(3)]
        subprocess.run([sys.executable, "-m", "auditor", "rules", "list"], capture_output=True, check=True)
        rows = [min(loop, key=lambda row: row.seconds), registry.measured("first sweep", sweep_it)]
        again = [registry.measured("second sweep", sweep_it) for _ in range(3)]
        rows.append(min(again, key=lambda row: row.seconds))
        Remote(registry.address).push("team0/app0", "2.0", built(REPOSITORIES, 0))
        rows.append(registry.measured("one new tag", sweep_it))
        print(f"{REPOSITORIES * TAGS} tags, {REPOSITORIES} repositories, {BASES} bases, loopback\n")
        print(table(rows))
    finally:
        registry.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
