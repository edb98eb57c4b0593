"""One planted image in every form gives the same findings."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.core.errors import AuditError, Damaged, NotAnImage, NotFound, UsageError
from auditor.pipeline import Audit, Request, audit
from auditor.scan import Scanner
from tests.conftest import Cli
from tests.images import (
    COMPRESSIONS,
    OCI,
    Built,
    descriptor,
    digest,
    image,
    layer,
    layout_files,
    story,
    token,
    whiteout,
    write_files,
    zstd,
)

STORY, SECRET = story()


def audited(target: str, scanner: Scanner) -> Audit:
    (result,) = audit(target, scanner, Request())
    return result


def ids(result: Audit) -> list[tuple[str, str, str | None, int | None, int | None]]:
    return [(f.id, f.state, f.path or f.where, f.added_in, f.hidden_in) for f in result.findings]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, scanner: Scanner) -> list[object]:
    path = tmp_path_factory.mktemp("expected") / "story.tar"
    found = ids(audited(str(STORY.docker_archive(path)), scanner))
    assert [(state, place, added, hidden) for _, state, place, added, hidden in found] == [
        ("deleted", "/secret.txt", 1, 2),
        ("metadata", "history[1].created_by", 1, None),
    ]
    return list(found)


FORMS: dict[str, Callable[[Path], str]] = {
    "docker-archive, old": lambda p: f"docker-archive:{STORY.docker_archive(p / 'a.tar')}",
    "docker-archive, old, by tag": lambda p: f"docker-archive:{STORY.docker_archive(p / 'a.tar')}:layer2:latest",
    "docker-archive, new": lambda p: f"docker-archive:{STORY.docker_save(p / 'a.tar')}",
    "docker-archive, new, by tag": lambda p: f"docker-archive:{STORY.docker_save(p / 'a.tar')}:layer2:latest",
    "docker-archive, gzip": lambda p: f"docker-archive:{STORY.docker_archive(p / 'a.tar.gz', squeeze=gzip.compress)}",
    "docker-archive, zstd": lambda p: f"docker-archive:{STORY.docker_archive(p / 'a.tar.zst', squeeze=zstd)}",
    "a path": lambda p: str(STORY.docker_save(p / "image")),
    "a folder": lambda p: str(STORY.oci_folder(p / "layout")),
    "oci by tag": lambda p: f"oci:{STORY.oci_folder(p / 'layout')}:latest",
    **{
        f"oci, {name}": lambda p, name=name: f"oci:{STORY.oci_folder(p / 'layout', name)}"  # type: ignore[misc]
        for name in COMPRESSIONS
    },
    **{
        f"oci-archive, {name}": lambda p, name=name: f"oci-archive:{STORY.oci_archive(p / 'a.tar', name)}"  # type: ignore[misc]
        for name in COMPRESSIONS
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_findings(
    form: str, tmp_path: Path, scanner: Scanner, expected: list[object]
) -> None:
    assert ids(audited(FORMS[form](tmp_path), scanner)) == expected


@pytest.mark.parametrize("compressed", [False, True])
def test_standard_input_gives_the_same_findings(
    compressed: bool, tmp_path: Path, cli: Cli, expected: list[tuple[object, ...]]
) -> None:
    data = STORY.docker_save(tmp_path / "a.tar").read_bytes()
    done = cli("scan", "-", "--format", "json", stdin=gzip.compress(data) if compressed else data)
    assert done.status == 1, done.err
    assert [finding["id"] for finding in done.json["findings"]] == [item[0] for item in expected]


def test_a_layer_that_lies_about_its_media_type_is_read_by_its_bytes(tmp_path: Path, scanner: Scanner) -> None:
    blobs, _ = STORY.blobs("zstd")
    manifest = json.loads(
        next(data for data in blobs.values() if b'"layers"' in data[:400] and b"schemaVersion" in data)
    )
    for item in manifest["layers"]:
        item["mediaType"] = OCI + "layer.v1.tar+gzip"
    data = json.dumps(manifest).encode()
    blobs[digest(data)] = data
    folder = write_files(tmp_path / "lie", layout_files(blobs, [descriptor(data, OCI + "manifest.v1+json")]))
    assert len(audited(str(folder), scanner).findings) == 2


def multi_platform() -> dict[str, bytes]:
    """An index of two platforms that share a layer, with an attestation of one of them."""
    shared = layer({"shared": f"x {token(5)}\n"})
    blobs: dict[str, bytes] = {}
    roots = []
    for architecture in ("amd64", "arm64"):
        built = image(shared, layer({"own": architecture}), architecture=architecture)
        more, root = built.blobs("gzip")
        blobs |= more
        roots.append({**root, "platform": {"os": "linux", "architecture": architecture}})
    statement = {"predicate": {"buildDefinition": {"args": {"build-arg:TOKEN": token(6)}}}}
    body = json.dumps(statement).encode()
    config = b"{}"
    manifest = {
        "schemaVersion": 2,
        "config": descriptor(config, OCI + "config.v1+json"),
        "layers": [descriptor(body, "application/vnd.in-toto+json")],
    }
    data = json.dumps(manifest).encode()
    blobs |= {digest(body): body, digest(config): config, digest(data): data}
    roots.append(
        descriptor(
            data,
            OCI + "manifest.v1+json",
            platform={"os": "unknown", "architecture": "unknown"},
            annotations={
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": roots[0]["digest"],
            },
        )
    )
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": roots}).encode()
    blobs[digest(index)] = index
    return layout_files(blobs, [descriptor(index, OCI + "index.v1+json")])


def test_every_platform_is_audited_and_attestations_with_what_they_attest(tmp_path: Path, scanner: Scanner) -> None:
    folder = write_files(tmp_path / "multi", multi_platform())
    first, second = audit(str(folder), scanner, Request())
    assert [str(i.image.config.platform) for i in (first, second)] == ["linux/amd64", "linux/arm64"]
    assert [f.path or f.where for f in first.findings] == [
        "/shared",
        "attestation[0].predicate.buildDefinition.args.build-arg:TOKEN",
    ]
    assert [f.path for f in second.findings] == ["/shared"]


def test_platform_chooses(tmp_path: Path, scanner: Scanner) -> None:
    folder = write_files(tmp_path / "multi", multi_platform())
    (only,) = audit(str(folder), scanner, Request(platform="linux/arm64"))
    assert str(only.image.config.platform) == "linux/arm64"
    with pytest.raises(NotFound, match="no platform linux/s390x; it has linux/amd64, linux/arm64"):
        audit(str(folder), scanner, Request(platform="linux/s390x"))


def test_an_artifact_is_audited_as_files_and_layers(tmp_path: Path, scanner: Scanner) -> None:
    chart, note = layer({"chart/values.yaml": f"token: {token(7)}\n"}), f"export T={token(8)}\n".encode()
    config = b'{"name": "chart"}'
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": descriptor(config, "application/vnd.cncf.helm.config.v1+json"),
            "layers": [
                descriptor(chart, "application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
                descriptor(note, "text/plain", annotations={"org.opencontainers.image.title": "notes.txt"}),
            ],
        }
    ).encode()
    blobs = {digest(data): data for data in (chart, note, config, manifest)}
    folder = write_files(tmp_path / "helm", layout_files(blobs, [descriptor(manifest, OCI + "manifest.v1+json")]))
    assert [f.path for f in audited(str(folder), scanner).findings] == ["/chart/values.yaml", "/notes.txt"]


def test_a_buildkit_cache_index_is_audited(tmp_path: Path, scanner: Scanner) -> None:
    cached, config = layer({"cached": f"x {token(9)}\n"}), b'{"layers": []}'
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI + "index.v1+json",
            "manifests": [
                descriptor(cached, OCI + "layer.v1.tar+gzip"),
                descriptor(config, "application/vnd.buildkit.cacheconfig.v0"),
            ],
        }
    ).encode()
    blobs = {digest(data): data for data in (cached, config, index)}
    folder = write_files(tmp_path / "cache", layout_files(blobs, [descriptor(index, OCI + "index.v1+json")]))
    assert [f.path for f in audited(str(folder), scanner).findings] == ["/cached"]


@pytest.mark.parametrize("layers", [{}, {"layers": []}])
def test_an_index_with_the_media_type_of_a_manifest_is_damaged(
    layers: dict[str, object], tmp_path: Path, scanner: Scanner
) -> None:
    blobs, root = STORY.blobs()
    kind = OCI + "manifest.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [root], **layers}).encode()
    folder = write_files(tmp_path / "both", layout_files({**blobs, digest(index): index}, [descriptor(index, kind)]))
    with pytest.raises(Damaged, match="lists manifests, as an index does"):
        audit(str(folder), scanner, Request())


# --- what is wrong is said in one line -------------------------------------------------------------------------------


def tampered(built: Built, change: Callable[[dict[str, bytes], str], None]) -> dict[str, bytes]:
    files = built.oci_files()
    change(files, "blobs/" + digest(built.layers[1]).replace(":", "/"))
    return files


def _flip(files: dict[str, bytes], blob: str) -> None:
    files[blob] = files[blob].replace(b"my secret", b"no secret")


def _append(files: dict[str, bytes], blob: str) -> None:
    files[blob] += bytes(512)


def _cut(files: dict[str, bytes], blob: str) -> None:
    files[blob] = files[blob][:700]


@pytest.mark.parametrize(
    ("change", "message"),
    [(_flip, "layer 1: digest is sha256:"), (_append, "layer 1: size is"), (_cut, "layer 1: tar: ends at byte 700")],
)
def test_a_wrong_layer_is_named_with_what_it_is_and_should_be(
    change: Callable[[dict[str, bytes], str], None], message: str, tmp_path: Path, scanner: Scanner
) -> None:
    folder = write_files(tmp_path / "bad", tampered(STORY, change))
    with pytest.raises(Damaged, match=message):
        audit(str(folder), scanner, Request())


def test_a_layer_under_a_clean_layers_digest_does_not_pass(tmp_path: Path, scanner: Scanner) -> None:
    clean = image(layer({"a": "clean"}))
    files = clean.oci_files()
    files["blobs/" + digest(clean.layers[0]).replace(":", "/")] = layer({"a": token(3)})
    both = [str(write_files(tmp_path / "clean", clean.oci_files())), str(write_files(tmp_path / "bad", files))]
    audited(both[0], scanner)
    with pytest.raises(Damaged):
        audit(both[1], scanner, Request())


def test_index_and_manifest_that_disagree_are_both_audited(tmp_path: Path, scanner: Scanner) -> None:
    clean, hidden = image(layer({"a": "clean"})), image(layer({"a": f"x {token(4)}"}))
    files = clean.oci_files() | hidden.blobs()[0] and clean.oci_files()
    files |= {f"blobs/{key.replace(':', '/')}": data for key, data in hidden.blobs()[0].items()}
    entry = {
        "Config": "blobs/sha256/" + digest(hidden.config_bytes)[7:],
        "Layers": ["blobs/sha256/" + digest(hidden.layers[0])[7:]],
    }
    path = tmp_path / "two.tar"
    path.write_bytes(layer({**files, "manifest.json": json.dumps([entry])}))
    assert [len(result.findings) for result in audit(str(path), scanner, Request())] == [0, 1]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", NotAnImage, "not an image"),
        (b"hello world\n" * 100, NotAnImage, "neither a tar archive nor an OCI layout"),
        (layer({"etc/passwd": "root"}), NotAnImage, "so not an image"),
        (layer({"manifest.json": "{"}), Damaged, "manifest.json: not JSON"),
        (layer({"manifest.json": "[1]"}), Damaged, "want a list of objects"),
        (layer({"manifest.json": '[{"Config": "x", "Layers": []}]'}), NotFound, "lacks x"),
        (layer({"index.json": '{"manifests": [{"digest": "sha256:1"}]}'}), Damaged, "not a sha256"),
        (gzip.compress(layer({"a": "b"}))[:40], Damaged, "gzip data is broken"),
        (layer({"manifest.json": "[]"}), NotFound, "no image"),
        (layer({"manifest.json": "[" * 100_000}), Damaged, "nested too deeply"),
    ],
    ids=range(10),
)
def test_what_is_no_image_is_said(
    content: bytes, error: type[AuditError], message: str, tmp_path: Path, scanner: Scanner
) -> None:
    path = tmp_path / "thing.tar"
    path.write_bytes(content)
    with pytest.raises(error, match=message):
        audit(str(path), scanner, Request())


def test_a_target_that_makes_no_sense_is_said(tmp_path: Path, scanner: Scanner) -> None:
    for target, message in [
        ("", "the target is empty"),
        ("oci:", "nothing follows oci:"),
        ("Upper/Case", "names are lower case"),
        (f"oci:{STORY.oci_folder(tmp_path / 'l')}:nope", "no image 'nope'; it has latest"),
        (f"oci-archive:{tmp_path}", "is a folder; `oci-archive:` takes a tar file"),
        (str(tmp_path), "no OCI layout"),
        ("./missing.tar", "can't be read: No such file"),
    ]:
        with pytest.raises((UsageError, AuditError), match=message):
            audit(target, scanner, Request())


def test_repeated_layers_of_the_old_form_are_links(tmp_path: Path, scanner: Scanner) -> None:
    same = layer({"a": f"x {token(2)}"})
    built = image(same, layer(whiteout("a")), same)
    (finding,) = audited(str(built.docker_archive(tmp_path / "a.tar")), scanner).findings[:1]
    assert (finding.path, finding.state) in {("/a", "deleted"), ("/a", "present")}
    assert len(audited(str(tmp_path / "a.tar"), scanner).findings) == 2
