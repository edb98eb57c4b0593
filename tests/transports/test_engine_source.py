"""An engine's image is exported once: afterwards the report is the same without an export."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor.core.errors import NotFound
from auditor.core.limits import DEFAULT
from auditor.images import engine_source, engine_streams
from auditor.images.engine import engine as engine_client
from auditor.images.engine_source import EngineSource, ExportedLayer, StoredImage
from auditor.images.manifest import Origin
from auditor.pipeline import Audit, Request, audit
from auditor.report.json_report import json_document
from auditor.report.render_options import RenderOptions
from auditor.scan import Scanner
from auditor.store.layer_store import LayerStore
from auditor.store.records import Records
from tests.conftest import docker, require
from tests.images import file, image, layer, step, token, whiteout

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("engine")]

PREFIX = f"image-audit-test-{os.getpid()}"
TOKENS = tuple(token(seed) for seed in range(80, 86))
DOCKERFILE = f"""\
FROM scratch
COPY a /a
ENV ONE={TOKENS[0]} PLAIN=value
LABEL note="a <b> & c é" key="{TOKENS[1]}"
COPY b /b
ONBUILD RUN deploy --token {TOKENS[2]}
HEALTHCHECK CMD check --token {TOKENS[3]}
ENTRYPOINT ["/a", "{TOKENS[4]}"]
"""


def loaded(folder: Path) -> str:
    """An image that was saved and loaded, with an id of its own; its base is listed too."""
    name = f"{PREFIX}/loaded:1"
    first, second = layer({"a": PREFIX}), layer(file("b", TOKENS[5]), whiteout("a"))
    steps = [step("FROM base"), step(f"RUN login {TOKENS[0]}")]
    docker("load", "-i", str(image(first, second, history=steps, names=(name,)).docker_archive(folder / "image.tar")))
    return name


def built(folder: Path) -> str:
    """An image of BuildKit, with attestations."""
    name = f"{PREFIX}/built:1"
    (folder / "a").write_text(PREFIX)
    (folder / "b").write_text(f"key {TOKENS[5]}\n")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    done = subprocess.run(
        ["docker", "buildx", "build", "-q", "--network", "none", "-t", name, str(folder)],
        capture_output=True, check=False, env={**os.environ, "BUILDX_CONFIG": str(folder / ".buildx")},
    )  # fmt: skip
    require(done.returncode == 0, "docker buildx")
    return name


def container(folder: Path) -> str:
    """A container with changes, whose base is a loaded image."""
    name = f"{PREFIX}-container"
    docker("create", "--name", name, "-e", f"TOKEN={TOKENS[1]}", loaded(folder), "x")
    (folder / "new").write_text(f"key {TOKENS[2]}\n")
    docker("cp", str(folder / "new"), f"{name}:/new")
    return f"container:{name}"


def committed(folder: Path) -> str:
    """An image that `docker commit` made."""
    name = f"{PREFIX}/committed:1"
    source = container(folder).removeprefix("container:")
    docker("commit", "-a", "An Author <a@example.com>", "-m", f"with {TOKENS[3]}", source, name)
    return name


MAKERS = {maker.__name__: maker for maker in (loaded, built, container, committed)}


@pytest.fixture
def made(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An image of one kind in the engine."""
    folder = tmp_path / "context"
    folder.mkdir()
    try:
        yield MAKERS[getattr(request, "param", "loaded")](folder)
    finally:
        subprocess.run(["docker", "rm", "-f", f"{PREFIX}-container"], check=False, capture_output=True)
        for name in ("committed", "built", "loaded"):
            subprocess.run(["docker", "rmi", "-f", f"{PREFIX}/{name}:1"], check=False, capture_output=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LayerStore]:
    with closing(LayerStore(tmp_path / "cache", pytest.fail)) as opened:
        yield opened


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The IDs of the images that the engine exports during the test."""
    requested: list[str] = []

    def recorded(image_id: str, *rest: Any) -> Any:
        requested.append(image_id)
        return engine_streams.saved_image(image_id, *rest)

    monkeypatch.setattr(engine_source, "saved_image", recorded)
    return requested


def audited(target: str, scanner: Scanner, store: LayerStore | None, *, keep_secrets: bool = False) -> list[Audit]:
    """Audit a target in a run of its own."""
    return audit(target, scanner, Request(), Records(scanner, store, keep_secrets=keep_secrets))


def report(audits: list[Audit]) -> dict[str, Any]:
    """The JSON report, without the ids that belong to one cache."""
    written = json.dumps(json_document(audits, RenderOptions("2026-01-01T00:00:00Z")))
    for number, one in enumerate(audits):
        for finding in one.findings:
            written = written.replace(finding.secret_id, f"secret {number}")
    value: dict[str, Any] = json.loads(written)
    return value


@pytest.mark.parametrize("made", MAKERS, indirect=True)
def test_the_report_is_the_same_without_an_export_and_no_secret_is_stored(
    made: str, scanner: Scanner, store: LayerStore, exports: list[str]
) -> None:
    plain = audited(made, scanner, None)
    first = audited(made, scanner, store)
    assert len(exports) == 2
    second = audited(made, scanner, store)
    assert len(exports) == 2
    assert report(plain) == report(first) == report(second)
    assert {finding.where for finding in second[0].findings if finding.where}
    stored = b"".join(path.read_bytes() for path in store.path.parent.iterdir())
    assert not [secret for secret in TOKENS if secret.encode() in stored or secret[4:24].encode() in stored]


def test_a_layer_that_left_the_cache_is_exported(
    made: str, scanner: Scanner, store: LayerStore, exports: list[str]
) -> None:
    first = audited(made, scanner, store)
    store._run("DELETE FROM record WHERE key LIKE ?", f"{first[0].image.layers[1].diff_id}%")
    assert report(audited(made, scanner, store)) == report(first)
    assert len(exports) == 2


def test_whole_secrets_need_an_export(made: str, scanner: Scanner, store: LayerStore, exports: list[str]) -> None:
    audited(made, scanner, store)
    (shown,) = audited(made, scanner, store, keep_secrets=True)
    assert len(exports) == 2
    assert {finding.secret.reveal() for finding in shown.findings if finding.path} == {TOKENS[5]}


def stored_image(name: str) -> StoredImage:
    """Describe an image as the engine does."""
    with engine_client() as client:
        return StoredImage.of(client, client.api.inspect_image(name))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("change", ["layers", "texts", "engine"])
def test_documents_that_the_engine_contradicts_do_not_count(
    made: str, change: str, scanner: Scanner, store: LayerStore, exports: list[str]
) -> None:
    audited(made, scanner, store)
    stored = stored_image(made)
    changed = {
        "layers": replace(stored, diff_ids=stored.diff_ids[::-1]),
        "texts": replace(stored, texts=stored.texts[::-1]),
        "engine": replace(stored, engine="99"),
    }[change]
    origin = Origin(made, "docker-daemon", None, DEFAULT, exports=Records(scanner, store))
    assert not list(EngineSource(stored, origin).streams()) and len(exports) == 1
    assert list(EngineSource(changed, origin).streams()) and len(exports) == 2


def test_another_platform_is_refused_with_and_without_cached_documents(
    made: str, scanner: Scanner, store: LayerStore
) -> None:
    audited(made, scanner, store)
    with pytest.raises(Exception, match="no platform linux/s390x"):
        audit(f"docker-daemon:{made}", scanner, Request("linux/s390x"), Records(scanner, store))


def test_a_layer_can_be_read_from_an_export_of_its_own(made: str) -> None:
    (only,) = EngineSource(stored_image(made), Origin(made, "docker-daemon", None, DEFAULT)).rereadable_images()
    for number, one in enumerate(only.layers):
        path = f"blobs/sha256/{str(one.digest).removeprefix('sha256:')}"
        with ExportedLayer(str(only.id), path, DEFAULT).open() as stream:
            assert f"sha256:{hashlib.sha256(stream.read()).hexdigest()}" == only.config.diff_ids[number]


def test_an_image_that_is_removed_before_its_export_is_named(made: str) -> None:
    source = EngineSource(stored_image(made), Origin(made, "docker-daemon", None, DEFAULT))
    docker("rmi", "-f", made)
    with pytest.raises(NotFound, match="was removed from the engine before it was exported"):
        list(source.streams())
