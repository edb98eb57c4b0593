"""The visible tree that a trace computes is what `docker export` writes."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from auditor.codec.tar_headers import normalise
from auditor.core.limits import DEFAULT
from auditor.images.resolve import open_target
from auditor.layers.file_history import FileHistory, implied_folders
from auditor.layers.layer_index import index_layer
from tests.conftest import docker
from tests.images import file, folder, hardlink, image, layer, opaque, symlink, whiteout

# What the engine itself puts into every container.
ENGINE = {".dockerenv", "dev", "dev/console", "dev/pts", "dev/shm", "etc", "etc/hostname", "etc/hosts", "etc/mtab",
          "etc/resolv.conf", "proc", "sys"}  # fmt: skip


def exported(name: str) -> set[str]:
    """The paths of `docker export`, read as a stream."""
    container = docker("create", name, "x")
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as process:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                paths = {normalise(member.name) for member in tar}
            if process.stdout:
                process.stdout.read()
        return paths - {""}
    finally:
        docker("rm", container)


def traced(target: str) -> set[str]:
    (only,) = open_target(target, DEFAULT)
    listings = []
    for made in only.layers:
        with made.content.open() as stream:
            listings.append(index_layer(stream, target, DEFAULT).listing)
    tree = FileHistory(listings).visible()
    return set(tree) | set(implied_folders(tree))


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
def test_the_traced_tree_is_what_docker_export_writes(engine: str, tmp_path: Path) -> None:
    name = f"image-audit-test-{os.getpid()}/export:1"
    built = image(
        layer(
            folder("a"), file("a/one", "1"), file("a/two", "2"), folder("b"), file("b/x", "x"), folder("c/d"),
            file("c/d/e", "e"), symlink("l", "a"), file("f", "f"), hardlink("h", "f"), folder("o"), file("o/old"),
            file("caf\udce9"), file("n" * 120 + "/" + "m" * 120),
        ),
        layer(whiteout("a/one"), file("b", "now a file"), symlink("c", "a"), opaque("o"), file("o/new")),
        layer(whiteout("b"), whiteout("f"), file("implied/by/this"), file("l/replaced")),
        names=(name,),
    )  # fmt: skip
    archive = built.docker_archive(tmp_path / "a.tar")
    docker("load", "-i", str(archive))
    try:
        assert exported(name) - ENGINE == traced(str(archive)) - ENGINE == traced(name) - ENGINE
    finally:
        docker("rmi", "-f", name)
