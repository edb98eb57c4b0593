"""What the engine loads and pulls is an image here too, with the same layers: the engine is the referee."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from auditor.codec.json_documents import canonical_keys, key_names, parse_json
from auditor.core.errors import Damaged
from auditor.core.limits import DEFAULT
from auditor.pipeline import Request, audit
from auditor.scan import Scanner
from tests.images import digest
from tests.transports import oddities
from tests.transports.oddities import ARCHIVES, BUILT, MANIFESTS, NAME, Pusher


def states(target: object, scanner: Scanner) -> list[set[tuple[str, str | None]]]:
    """State and path of what is found in each image, without what stands in its history."""
    audits = audit(str(target), scanner, Request())
    return [{(f.state.value, f.path) for f in one.findings if f.path} for one in audits]


LEAK = [{("deleted", "/secret.txt")}]


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_odd_archive_is_read_as_the_engine_reads_it(name: str, tmp_path: Path, scanner: Scanner) -> None:
    path = oddities.archive(tmp_path / "odd.tar", name)
    assert states(path, scanner) == LEAK


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("name", ARCHIVES)
def test_the_engine_loads_the_odd_archive(name: str, tmp_path: Path, engine: str) -> None:
    """So the test before it asks for no more than the engine does."""
    path = oddities.archive(tmp_path / "odd.tar", name)
    subprocess.run(["docker", "-H", engine, "load", "-q", "-i", path], capture_output=True, check=True)
    shown = subprocess.run(
        ["docker", "-H", engine, "image", "inspect", "-f", "{{.RootFS.Layers}}", NAME],
        capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    subprocess.run(["docker", "-H", engine, "rmi", "-f", NAME], capture_output=True, check=True)
    assert shown.strip("[]\n").split() == [digest(data) for data in BUILT.layers]


@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("kind", ["oci", "docker"])
@pytest.mark.parametrize("name", MANIFESTS)
def test_an_image_that_the_engine_pulls_is_an_image(
    name: str, kind: str, engine: str, registry: str, scanner: Scanner
) -> None:
    repository = f"odd/{os.getpid()}-{kind}-{list(MANIFESTS).index(name)}"
    Pusher(registry, repository).image(name, kind, "1")
    target = f"{registry}/{repository}:1"
    pulled = subprocess.run(["docker", "-H", engine, "pull", "-q", target], capture_output=True, check=False)
    if pulled.returncode == 0:
        subprocess.run(["docker", "-H", engine, "rmi", "-f", target], capture_output=True, check=True)
    # Of what the engine refuses Podman pulls some; the stack is the same, whoever reads it.
    assert states(f"docker://{target}", scanner) == LEAK, pulled.stderr


def test_a_stream_is_read_like_a_file(tmp_path: Path, scanner: Scanner) -> None:
    from auditor.images.archive import open_stream
    from auditor.images.manifest import Origin
    from auditor.images.source import LayerRef

    for name in ARCHIVES:
        with oddities.archive(tmp_path / "odd.tar", name).open("rb") as stream:
            source = open_stream(stream, Origin("-", "docker-archive", None, DEFAULT), None)
            streamed = {layer: digest(body.read()) for layer, body in source.streams()}
            (image,) = source.images()
        contents = [layer.content for layer in image.layers]
        assert all(isinstance(content, LayerRef) for content in contents)
        assert [streamed[content] for content in contents if isinstance(content, LayerRef)] == [
            digest(data) for data in BUILT.layers
        ]


def test_what_index_json_may_have_held_is_said(tmp_path: Path, scanner: Scanner) -> None:
    damaged = [name for name in ARCHIVES if name.startswith("an index.json") and "manifests are null" not in name]
    for name in damaged:
        (found,) = audit(str(oddities.archive(tmp_path / "odd.tar", name)), scanner, Request())
        assert bool(found.skipped) is (name != "an index.json without manifests"), name


def test_an_index_json_that_names_another_image_adds_it(tmp_path: Path, scanner: Scanner) -> None:
    from tests.images import image, layer, token

    other = oddities.saved(tmp_path / "other.tar", image(layer({"other": token(5)})))
    files = {**oddities.saved(tmp_path / "a.tar"), **{k: v for k, v in other.items() if k != "manifest.json"}}
    path = tmp_path / "both.tar"
    path.write_bytes(layer(files))
    assert states(path, scanner) == [{("present", "/other")}, *LEAK]


def test_a_key_with_two_values_is_refused() -> None:
    """Readers take the first or the last: a secret may hide in the other."""
    with pytest.raises(Damaged, match="'a' occurs twice"):
        parse_json(b'{"a": 1, "b": {"a": 2}, "a": 3}', "x", DEFAULT)
    assert parse_json(b'{"a": 1, "a": 1}', "x", DEFAULT) == {"a": 1}
    with pytest.raises(Damaged, match="'Layers' occurs twice, in different case"):
        canonical_keys({"Layers": [1], "layers": []}, key_names("Layers"), "x")
    assert canonical_keys({"LAYERS": [1], "\u017fize": 2}, key_names("layers", "size"), "x") == {
        "layers": [1],
        "size": 2,
    }


def test_links_that_go_round_lead_nowhere(tmp_path: Path, scanner: Scanner) -> None:
    from auditor.core.errors import NotAnImage
    from tests.images import layer, symlink

    path = tmp_path / "round.tar"
    path.write_bytes(layer(symlink("a", "b"), symlink("b", "a"), symlink("manifest.json", "a/x"), {"c": b""}))
    assert tarfile.is_tarfile(path)
    with pytest.raises(NotAnImage):
        audit(str(path), scanner, Request())
