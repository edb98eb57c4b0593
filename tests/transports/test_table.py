"""Every row of TRANSPORTS opens the same image, and its attributes say what other packages rely on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from auditor.advice.exported import export_command
from auditor.core.errors import AuditError
from auditor.core.limits import DEFAULT
from auditor.images.resolve import open_target
from auditor.images.targets import TargetForm, is_explicit, parse_target
from auditor.images.transports import TRANSPORTS, Transport, transport_of
from tests.conftest import docker
from tests.fleet.planted import Remote
from tests.images import Built, image, layer, with_names

NAME = f"image-audit-test-{os.getpid()}/table:1"
BUILT = image(layer({"a": "one\n"}), layer({"b": "two\n"}), names=(NAME,))


@contextmanager
def in_engine(built: Built, folder: Path) -> Iterator[str]:
    docker("load", "-i", str(with_names(built, NAME).docker_archive(folder / "load.tar")))
    try:
        yield NAME
    finally:
        docker("rmi", "-f", NAME)


@contextmanager
def as_container(built: Built, folder: Path) -> Iterator[str]:
    with in_engine(built, folder) as name:
        container = docker("create", name, "x").strip()
        try:
            yield container
        finally:
            docker("rm", container)


@contextmanager
def at_path(built: Built, folder: Path, write: Callable[[Built, Path], Path]) -> Iterator[str]:
    yield str(write(built, folder / "image"))


VALUES: dict[str, Callable[[Built, Path], AbstractContextManager[str]]] = {
    "docker-daemon": in_engine,
    "container": as_container,
    "docker-archive": lambda built, folder: at_path(built, folder, Built.docker_archive),
    "oci-archive": lambda built, folder: at_path(built, folder, Built.oci_archive),
    "oci": lambda built, folder: at_path(built, folder, Built.oci_folder),
}
"""Puts an image where a transport finds it, and yields the target without its prefix."""

ROWS = [pytest.param(row, id=name) for name, row in TRANSPORTS.items()]
LOCAL = [pytest.param(row, id=name) for name, row in TRANSPORTS.items() if not (row.needs_engine or row.in_registry)]
ENGINE = [pytest.param(row, id=name) for name, row in TRANSPORTS.items() if row.needs_engine]


def check(row: Transport, value: str) -> None:
    (opened,) = open_target(row.prefix + value, DEFAULT)
    assert opened.transport == row.name
    assert opened.config.diff_ids[:2] == tuple(BUILT.config["rootfs"]["diff_ids"])
    assert len(opened.layers) == 2 + row.is_container


@pytest.mark.parametrize("row", LOCAL)
def test_a_row_of_files_opens_the_image(row: Transport, tmp_path: Path) -> None:
    with VALUES[row.name](BUILT, tmp_path) as value:
        check(row, value)


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("row", ENGINE)
def test_a_row_of_the_engine_opens_the_image(row: Transport, engine: str, tmp_path: Path) -> None:
    with VALUES[row.name](BUILT, tmp_path) as value:
        check(row, value)


@pytest.mark.registry
def test_the_row_of_registries_opens_the_image(start_registry: Any) -> None:
    (row,) = [row for row in TRANSPORTS.values() if row.in_registry]
    address = start_registry()
    Remote(address).push("team/table", "1", BUILT)
    check(row, f"{address}/team/table:1")


def test_every_row_is_opened_by_a_test() -> None:
    assert {*VALUES, *(name for name, row in TRANSPORTS.items() if row.in_registry)} == set(TRANSPORTS)


@pytest.mark.parametrize("row", ROWS)
def test_a_prefix_selects_its_row_and_no_other(row: Transport) -> None:
    target = f"{row.prefix}registry.example.com/app:1"
    assert transport_of(target) is row and is_explicit(target)
    parsed = parse_target(target)
    assert (parsed.form, parsed.transport) == (TargetForm.PREFIXED, row)
    assert parsed.is_file == (row.file_ending is not None)
    with pytest.raises(AuditError):
        parse_target(row.prefix)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in TRANSPORTS.values() if not row.needs_engine])
def test_a_missing_image_is_an_error_of_one_line(row: Transport) -> None:
    with pytest.raises(AuditError) as caught:
        open_target(f"{row.prefix}127.0.0.1:1/no/such/image", DEFAULT)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("row", ROWS)
def test_attributes_agree(row: Transport) -> None:
    assert not (row.has_names and row.has_tag), "a name has its own tag"
    assert row.needs_engine or not (row.in_engine or row.is_container)
    assert row.has_names == (row.needs_engine or row.in_registry), "other targets are paths"
    assert bool(row.import_command) == (not row.has_names), "the engine has or pulls what has a name"


@pytest.mark.parametrize("row", ROWS)
def test_the_export_command_imports_what_the_engine_lacks(row: Transport) -> None:
    command = export_command(f"{row.prefix}app", row.name, "app:1", "app:flat", {})
    first = shlex.split(command)[0]
    assert first == (row.import_command[0] if row.import_command else "docker")
    assert f"docker export {'app' if row.is_container else ''}".strip() in command
