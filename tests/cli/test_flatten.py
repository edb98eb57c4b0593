"""`image-audit flatten` at its edges: what it refuses, and that nothing is left of what fails."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.images import file, image, layer, story


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return story()[0].docker_archive(tmp_path / "in.tar")


def refused(done: object, *words: str) -> None:
    from tests.conftest import Result

    assert isinstance(done, Result)
    assert done.status == 2 and done.out == "" and len(done.err.splitlines()) == 1, done.err
    assert all(word in done.err for word in words), done.err


def test_one_place_to_write_to_and_one_way(cli: Cli, target: Path) -> None:
    refused(cli("flatten", target), "want one of -o FILE, -t NAME or --push REF")
    refused(cli("flatten", target, "-o", "a", "-t", "b"), "want one of -o FILE")
    refused(cli("flatten", target, "-o", "a", "--excise", "--minimal"), "want at most one of --excise")
    refused(cli("flatten", target, "-t", "Bad Name"), "is no image reference")
    refused(cli("flatten", target, "-t", "a", "--format", "oci-archive"), "--format is for -o")
    refused(cli("flatten", target, "-o", "a", "--compress", "gzip", "--level", "12"), "gzip knows 1 to 9")


def test_layers_that_are_not_there_or_too_high(cli: Cli, target: Path) -> None:
    refused(cli("flatten", target, "-o", "a", "--from", "3"), "--from 3", "has the layers 0 to 2")
    refused(cli("flatten", target, "-o", "a", "--from", "-1"), "--from -1", "has the layers 0 to 2")
    none = image().docker_archive(cli.folder / "none.tar")
    refused(cli("flatten", none, "-o", "a", "--from", "0"), "--from 0", "has no layers")
    none.unlink()
    refused(cli("flatten", target, "-o", "a", "--from", "2"), "--from 2: layer 1", "leaks too", "--minimal")
    assert not list(cli.folder.iterdir())


def test_an_output_that_exists_or_is_the_target(cli: Cli, target: Path) -> None:
    (cli.folder / "a").write_text("precious")
    refused(cli("flatten", target, "-o", "a"), "a: exists; --force overwrites it")
    assert (cli.folder / "a").read_text() == "precious"
    refused(cli("flatten", target, "-o", target, "--force"), "is the target itself")
    refused(cli("flatten", target, "-o", "none/a"), "none: no such folder")
    refused(cli("flatten", target, "-o", cli.folder), "is no plain file")
    refused(cli("flatten", "docker://a.example/b:1", "--push", "a.example/b:1"), "b:1: is the target itself", "--force")
    done = cli("flatten", target, "-o", "a", "--force")
    assert done.status == 0 and (cli.folder / "a").stat().st_size > 100
    assert [path.name for path in cli.folder.iterdir()] == ["a"]


def test_the_proof_has_a_place_of_its_own(cli: Cli, target: Path) -> None:
    """That is seen before: where the proof can't be written there is no output either."""
    refused(cli("flatten", target, "-o", "a", "--proof", "none/p.json"), "none: no such folder")
    refused(cli("flatten", target, "-o", "a", "--proof", "a"), "--proof a: is the output itself")
    refused(cli("flatten", target, "-o", "a", "--proof", target), "is the target itself")
    refused(cli("flatten", target, "-o", "a", "--proof", "/dev/null"), "is no plain file; --proof wants one")
    assert not list(cli.folder.iterdir()) and cli("scan", target).status == 1


def test_no_such_target_and_no_such_engine(cli: Cli, target: Path) -> None:
    refused(cli("flatten", "none.tar", "-o", "a"), "none.tar")
    refused(cli("flatten", target, "-t", "a"), "no Docker engine")
    refused(cli("flatten", target, "--push", "127.0.0.1:1/a"), "Connection refused")
    assert not list(cli.folder.iterdir())


def test_a_damaged_layer_leaves_nothing(cli: Cli, target: Path) -> None:
    data = target.read_bytes()
    at = data.index(b"my secret")
    target.write_bytes(data[:at] + b"MY" + data[at + 2 :])
    refused(cli("flatten", target, "-o", "a"), "layer 1: diff_id is", "damaged")
    assert not list(cli.folder.iterdir())


def test_a_full_disk_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    source = image(layer(file("big", os.urandom(2 << 20)))).docker_archive(tmp_path / "big.tar")
    done = subprocess.run(
        [sys.executable, "-m", "auditor", "flatten", str(source), "-o", "a"],
        cwd=cli.folder,
        env=cli.environment,
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )
    assert done.returncode == 2 and done.stderr.decode().startswith("image-audit: .: can't be written: File too large")
    assert len(done.stderr.splitlines()) == 1
    assert not list(cli.folder.iterdir())


def test_an_archive_on_standard_input(cli: Cli, target: Path) -> None:
    with target.open("rb") as stream:
        done = cli("flatten", "-", "-o", "a.oci", stdin=stream)
    assert done.status == 0 and "oci-archive" in done.out, done.err
    assert cli("scan", "oci-archive:a.oci").status == 0


def test_nothing_hidden_is_said_and_no_failure(cli: Cli, tmp_path: Path) -> None:
    source = image(layer({"a": "x"})).docker_archive(tmp_path / "clean.tar")
    done = cli("flatten", source, "-o", "a.tar", "--excise")
    assert done.status == 0 and "nothing hidden was found in it" in done.out and "1 kept byte for byte" in done.out
