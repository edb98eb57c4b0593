"""Flatten keeps the visible files of any stack of layers, and leaves no hidden secret."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.core.entries import FileVersion
from auditor.core.errors import FlattenError, UsageError
from auditor.core.limits import DEFAULT
from auditor.pipeline import Audit, Request, audit
from auditor.rebuild.archive_check import violations
from auditor.rebuild.archive_writer import CompressionOptions
from auditor.rebuild.flatten import FlattenedImage, FlattenJob, flatten
from auditor.rebuild.image_config import DroppedSettings
from auditor.rebuild.layer_writer import write_layer
from auditor.rebuild.operations import (
    NO_VERSION,
    AddFolder,
    CopyEntry,
    ExciseLayer,
    KeepLayer,
    MergeLayers,
    Operation,
    pack_version,
)
from auditor.rebuild.readable_layers import ReadableLayers
from auditor.rebuild.source_images import ALL_FINDINGS
from auditor.scan import Scanner
from tests.images import (
    OCI,
    Built,
    Item,
    descriptor,
    digest,
    file,
    folder,
    gzipped,
    hardlink,
    image,
    layer,
    layout_files,
    opaque,
    story,
    symlink,
    token,
    whiteout,
    write_files,
)
from tests.rebuild.unpack import Refused, comparable, layers_of, unpacked

WAYS = ("full", "excise", "minimal", "from")
_SCANNERS: list[Scanner] = []


@pytest.fixture(autouse=True)
def _keep(scanner: Scanner) -> None:
    _SCANNERS[:] = [scanner]


def flattened(built: Built, way: str, **more: Any) -> tuple[FlattenedImage, bytes]:
    with tempfile.TemporaryDirectory() as folder_:
        source, output = built.docker_archive(Path(folder_) / "in.tar"), Path(folder_) / "out.tar"
        lowest = len(built.layers) // 2 if way == "from" else 0
        (done,) = flatten(FlattenJob(str(source), way, lowest, **more), _SCANNERS[0], output)
        (again,) = audit(f"oci-archive:{output}", _SCANNERS[0], Request(selection=ALL_FINDINGS))
        assert told(done.after) == told(again)  # derived records equal those of a scan
        return done, output.read_bytes()


def told(audited: Audit) -> Any:
    """Results of an audit for files; skipped items sorted, since their order is that of reading."""
    findings = [(f.id, f.path, f.member, f.line, f.state, f.confidence, f.check, f.package) for f in audited.findings]
    return findings, sorted(audited.skipped, key=repr), audited.hidden


def same_files(built: Built, way: str, **more: Any) -> tuple[FlattenedImage, list[bytes]]:
    """Flatten, and check with independent code: equal files, and no hidden secret."""
    before = unpacked(built.layers)
    done, archive = flattened(built, way, **more)
    ((layers, _),) = layers_of(archive)
    after = unpacked(layers)
    assert comparable(after) == comparable(before)
    seen = b"".join(node.get("data", b"") for node in after.values())
    for secret in _TOKENS:
        if secret.encode() not in seen:
            assert secret.encode() not in archive
    return done, layers


_NAMES = ("a", "b", "c", "n" * 101, "caf\udce9", "\u00fc" * 60)
_TOKENS = [token(seed) for seed in range(4)]
_PATHS = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3).map("/".join)
_META = st.fixed_dictionaries(
    {
        "mode": st.sampled_from([0o644, 0o600, 0o4755, 0o1777]),
        "uid": st.sampled_from([0, 1000, 3_000_000]),
        "gid": st.sampled_from([0, 65534]),
        "mtime": st.sampled_from([0, 1_700_000_000, 1_700_000_000.25]),
        "pax": st.sampled_from(
            [{}, {}, {"SCHILY.xattr.user.x": "1"}, {"SCHILY.xattr.security.capability": "\x01\x02"}]
        ),
    }
)
_DATA = st.sampled_from(["", "x", "x" * 1000, *(f"token {secret}\n" for secret in _TOKENS)])


@st.composite
def _items(draw: st.DrawFn) -> Item:
    path, more = draw(_PATHS), dict[str, Any](draw(_META))
    match draw(st.sampled_from(["file", "file", "file", "folder", "symlink", "hardlink", "gone", "opaque", "fifo"])):
        case "file":
            return file(path, draw(_DATA), **more)
        case "folder":
            return folder(path, **more)
        case "symlink":
            return symlink(path, draw(_PATHS))
        case "hardlink":
            return Item(path, type=b"1", link=draw(_PATHS), **more)
        case "gone":
            return whiteout(path)
        case "opaque":
            return opaque(draw(st.sampled_from([path, ""])))
        case _:
            return Item(path, type=b"6", **more)


_STACKS = st.lists(st.lists(_items(), max_size=6), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(_STACKS, st.sampled_from(WAYS))
def test_visible_files_stay_and_hidden_secrets_are_removed(stack: list[list[Item]], way: str) -> None:
    _check(stack, way)


def _contradicts_itself(items: list[Item]) -> bool:
    """Whether a layer has a whiteout below a path that is no folder in it."""
    files = {item.path for item in items if item.type != b"5" and ".wh." not in item.path}
    markers = [item.path for item in items if ".wh." in item.path]
    return any(marker.startswith(path + "/") for marker in markers for path in files)


def _is_twisted(items: list[Item]) -> bool:
    paths = [item.path for item in items]
    return len(paths) != len(set(paths)) and any(item.type == b"1" for item in items)


def _check(stack: list[list[Item]], way: str) -> None:
    if any(_contradicts_itself(items) for items in stack):
        return
    built = image(*(layer(*items) for items in stack))
    try:
        done, layers = same_files(built, way)
    except Refused:
        return
    except UsageError as exc:
        assert way == "from" and "has hidden secrets" in str(exc)
        return
    except FlattenError:
        # A link that its own layer shadows may have set its file's metadata. No engine loads a path twice in a layer.
        assert way == "excise" and any(_is_twisted(items) for items in stack)
        return
    assert not [f for f in done.after.findings if f.hidden_in is not None]
    if way == "full":
        assert len(layers) == 1 and done.after.hidden.count == 0
    if way == "excise":
        leaking = {v.layer for f in done.before.findings if f.hidden_in is not None for v in f.held_by}
        changed = {number for number, plan in enumerate(done.plans) if not isinstance(plan, KeepLayer)}
        assert leaking == changed or any(item.type == b"1" for items in stack for item in items)
        assert all(layers[n] == data for n, data in enumerate(built.layers) if n not in changed)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    built, secret = story()
    for way in WAYS[:3]:
        for compression in (
            CompressionOptions(),
            CompressionOptions("gzip", threads=1),
            CompressionOptions("zstd", threads=1),
        ):
            one, again = (flattened(built, way, compression=compression)[1] for _ in range(2))
            more = flattened(built, way, compression=replace(compression, threads=3))[1]
            assert one == again == more
            assert secret.encode() not in one


def test_gzip_is_cut_by_size_not_by_threads() -> None:
    data = bytes(range(256)) * 20_000
    for name in ("gzip", "zstd"):
        built = image(layer({"big": data}))
        sizes = {flattened(built, "full", compression=CompressionOptions(name, threads=n))[1] for n in (1, 4)}
        assert len(sizes) == 1 and len(sizes.pop()) < len(data)


def test_an_excision_keeps_all_other_layers_and_masks_the_history() -> None:
    built, secret = story()
    done, archive = flattened(built, "excise")
    ((layers, config),) = layers_of(archive)
    assert [layers[0], layers[2]] == [built.layers[0], built.layers[2]]
    assert "secret.txt" not in str(unpacked(layers[1:2])) and done.proof.layers_kept == 2
    assert [step_["created_by"] for step_ in config["history"]] == [
        built.config["history"][0]["created_by"],
        f'sh -c echo "my secret ghp_****{secret[-4:]}" > /secret.txt',
        built.config["history"][2]["created_by"],
    ]


def test_a_full_flatten_has_one_step_of_its_own() -> None:
    _, archive = flattened(story()[0], "full")
    ((_, config),) = layers_of(archive)
    assert config["history"] == [{"created_by": "image-audit flatten"}]


def test_a_minimal_one_keeps_the_steps_and_has_as_many_as_layers() -> None:
    _, archive = flattened(story()[0], "minimal")
    ((layers, config),) = layers_of(archive)
    assert len(layers) == 2
    assert [step_.get("empty_layer", False) for step_ in config["history"]] == [False, True, False]


def test_an_image_without_hidden_findings_comes_out_as_it_is() -> None:
    built = image(layer({"a": "x"}), layer({"b": "y"}))
    for way in ("excise", "minimal"):
        done, archive = flattened(built, way)
        ((layers, config),) = layers_of(archive)
        assert (tuple(layers), config, done.proof.removed) == (built.layers, built.config, ())
        assert done.after.image.id == done.before.image.id


def test_metadata_of_the_old_layers_is_dropped() -> None:
    built = image(
        layer({"a": _TOKENS[0]}), layer(whiteout("a")), config={"Labels": {"org.opencontainers.image.base.name": "x"}},
        annotations={"org.opencontainers.image.base.name": "x", "kept": "y"},
    )  # fmt: skip
    built.config["moby.buildkit.buildinfo.v1"] = "aGlkZGVu"
    built.config["container_config"] = {"Cmd": ["sh", "-c", f"echo {_TOKENS[2]}"]}
    built.config["author"] = f"me {_TOKENS[3]}"
    with tempfile.TemporaryDirectory() as name:
        source, output = built.oci_archive(Path(name) / "in.tar"), Path(name) / "out.tar"
        (done,) = flatten(FlattenJob(str(source), "excise"), _SCANNERS[0], output)
        archive = output.read_bytes()
    assert done.rewritten.metadata.manifest == {"annotations": {"kept": "y"}}
    assert done.proof.dropped == (
        "the config's moby.buildkit.buildinfo.v1",
        "the annotation org.opencontainers.image.base.name of the manifest",
    )
    ((_, config),) = layers_of(archive)
    assert config["config"] == built.config["config"] and "moby.buildkit.buildinfo.v1" not in config
    assert not any(secret.encode() in archive for secret in _TOKENS)


def test_attestations_are_dropped_and_listed(tmp_path: Path) -> None:
    built, secret = story()
    blobs, root = built.blobs()
    statement = json.dumps({"predicate": {"argument": secret}}).encode()
    attestation = json.dumps({
        "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
        "config": descriptor(b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [descriptor(statement, "application/vnd.in-toto+json")],
    }).encode()  # fmt: skip
    blobs |= {digest(data): data for data in (statement, attestation, b"{}")}
    note = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": root["digest"]}
    roots = [
        {**root, "platform": {"os": "linux", "architecture": "amd64"}},
        descriptor(attestation, OCI + "manifest.v1+json", annotations=note),
    ]
    source = write_files(tmp_path / "layout", layout_files(blobs, roots))
    (done,) = flatten(FlattenJob(str(source)), _SCANNERS[0], tmp_path / "out.tar")
    assert done.proof.dropped == ("1 attestation(s) of the old digests",)
    assert secret.encode() not in (tmp_path / "out.tar").read_bytes()


@pytest.mark.parametrize("way", WAYS[:3])
def test_a_link_outlives_the_name_that_held_the_secret(way: str) -> None:
    body = f"x {_TOKENS[0]}"
    first = layer(
        file("f", body, mode=0o600), hardlink("h", "f"), hardlink("i", "f"), folder("d"), hardlink("d/j", "f")
    )
    done, layers = same_files(image(first, layer(whiteout("f"), whiteout("i"))), way)
    shown = unpacked(layers)
    assert shown["h"]["data"] == body.encode() and shown["h"] is shown["d/j"]
    assert {f.path for f in done.proof.remaining if f.confidence == "high"} == {"/h", "/d/j"}


@pytest.mark.parametrize("way", WAYS[:3])
def test_a_link_over_layers_takes_the_content_along(way: str) -> None:
    body = f"x {_TOKENS[0]}"
    same_files(image(layer(file("f", body)), layer(hardlink("h", "f")), layer(whiteout("f"))), way)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_every_form_of_tar_keeps_its_names_and_metadata(form: int) -> None:
    long = "d" * 90 + "/" + "n" * 60
    items = [file(long, "x", mode=0o4711, uid=7, gid=8), symlink("s", "t" * 90), file("t", _TOKENS[1])]
    if form == tarfile.PAX_FORMAT:
        more = {"SCHILY.xattr.security.capability": "\x01\x02", "SCHILY.xattr.user.x": "\u00fc"}
        items += [file("n" * 300, "y", mtime=1.123456789, pax=more), file("u", uid=3_000_000, gid=2**31)]
    built = image(layer(*items, form=form), layer(whiteout("t")))
    for way in WAYS[:3]:
        same_files(built, way)


def test_sparse_files_stay_sparse(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as out:
        out.truncate(4 << 20)
        out.seek(1 << 20)
        out.write(b"data" * 2000)
    (tmp_path / "secret").write_text(_TOKENS[2])
    for form in ("gnu", "posix", "posix --sparse-version=0.0", "posix --sparse-version=0.1"):
        tar = ["tar", "-C", str(tmp_path), "-S", *f"--format={form}".split(), "-cf", "-", "sparse", "secret"]
        data = subprocess.run(tar, capture_output=True, check=True).stdout
        for way in WAYS[:3]:
            for removes in (
                [whiteout("secret")],
                [whiteout("secret"), hardlink("other", "sparse"), whiteout("sparse")],
            ):
                done, archive = flattened(image(data, layer(*removes)), way)
                assert len(archive) < 100_000 and done.proof.paths == 1


def test_env_and_labels_are_dropped_only_on_request() -> None:
    config = {"Env": ["PATH=/bin", f"T={_TOKENS[0]}"], "Labels": {"x": "y", "note": _TOKENS[1]}, "Cmd": ["a"]}
    built = image(layer({"a": "x"}), config=config)
    done, archive = flattened(built, "full")
    assert layers_of(archive)[0][1]["config"] == config
    assert {f.where for f in done.proof.remaining} >= {"config.Env[1]", "config.Labels.note"}
    done, archive = flattened(built, "full", drops=DroppedSettings(("T",), ("note",)))
    assert layers_of(archive)[0][1]["config"] == {"Env": ["PATH=/bin"], "Labels": {"x": "y"}, "Cmd": ["a"]}
    assert not done.proof.remaining and done.proof.dropped == ("ENV T", "LABEL note")
    with pytest.raises(UsageError, match="--drop-env NONE: not in the config of the image, which has PATH, T"):
        flattened(built, "full", drops=DroppedSettings(("NONE",)))


def test_the_proof_fails_on_a_difference_or_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof itself: it fails for every kind of wrong plan."""
    built = image(
        layer(folder("d"), file("d/r", _TOKENS[0]), file("s", "s")),
        layer(folder("d"), file("d/r", "new"), whiteout("s")),
    )
    old, new = CopyEntry(FileVersion(0, 1)), CopyEntry(FileVersion(1, 1))
    d, gone = AddFolder("d", FileVersion(1, 0)), CopyEntry(FileVersion(0, 2))
    for operations, message in (
        ((d,), "/d/r: is missing in the output"),
        ((d, new, gone), "/s: is new in the output"),
        ((d, old), "/d/r: has other content"),
        ((AddFolder("d", None), new), "/d: mtime_ns is 0, was 1700000000000000000"),
        ((d, old, new), "a secret is still hidden: GitHub"),
    ):
        plan: tuple[Operation, ...] = operations
        monkeypatch.setattr("auditor.rebuild.flatten.plan_layers", lambda *_, plan=plan: (MergeLayers(0, plan),))
        with pytest.raises(FlattenError, match=message):
            flattened(built, "full")
    monkeypatch.setattr("auditor.rebuild.flatten.plan_layers", lambda *_: (MergeLayers(0, (d, new)),))
    assert flattened(built, "full")[0].proof.paths == 2


def test_the_size_advised_by_a_scan_is_that_of_the_result() -> None:
    """Within 1 %, with headers for fractions of seconds, long names and whiteouts."""
    many = [file(f"d{n % 7}/{'n' * (n % 130)}{n}", "x" * n, mtime=1_700_000_000.5) for n in range(300)]
    built = image(
        layer(*many, file("s", _TOKENS[0])),
        layer(*(file(f"e/{n}", "y" * 700, pax={"SCHILY.xattr.user.x": "1"}) for n in range(100)), whiteout("s")),
        layer(whiteout("d1"), opaque("d2"), file("s2", _TOKENS[1])),
        layer(whiteout("s2"), file("late", "z" * 5000)),
    )
    for way in WAYS[:3]:
        done, _ = flattened(built, way)
        (planned,) = [plan.size_after for plan in done.before.flatten.plans if plan.method == way]
        assert abs(planned - done.proof.size_after) <= 0.01 * done.proof.size_after, way
    assert done.before.flatten.size_before == done.proof.size_before


def test_the_proof_compares_the_written_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hidden files included: their findings come from the input, and hold for equal bytes only."""
    built = image(layer({"s": _TOKENS[0], "old": "hidden text", "f": "f"}), layer({"old": "new"}, whiteout("s")))

    def bent(
        readable: ReadableLayers, output: MergeLayers | ExciseLayer, write: Callable[[bytes | memoryview], object]
    ) -> None:
        write_layer(readable, output, lambda data: write(bytes(data).replace(b"hidden text", b"hidden test")))

    with monkeypatch.context() as patched:
        patched.setattr("auditor.rebuild.flatten.write_layer", bent)
        with pytest.raises(FlattenError, match="/old: has other content"):
            flattened(built, "excise")
    monkeypatch.setattr(
        "auditor.rebuild.flatten.copy_sources", lambda *_: array("q", [pack_version(FileVersion(0, 2)), NO_VERSION])
    )
    with pytest.raises(FlattenError, match="/old: is a copy of a file with another path"):
        flattened(built, "excise")
    monkeypatch.setattr("auditor.rebuild.flatten.copy_sources", lambda *_: array("q", [NO_VERSION]))
    with pytest.raises(FlattenError, match="has 2 entries, the plan has 1"):
        flattened(built, "excise")


def test_a_file_under_another_path_is_scanned_again() -> None:
    """Rules depend on paths: a value may be a secret in one file and not in another."""
    netrc = f"machine example.com login me password {token(9)[4:20]}"
    built = image(layer(file("notes", netrc), hardlink("root/.netrc", "notes")), layer(whiteout("notes")))
    for way in WAYS[:3]:
        done, _ = flattened(built, way)
        assert {f.path for f in done.proof.remaining} == {"/root/.netrc"}, way


def test_skipped_items_and_package_owners_are_carried_over() -> None:
    """Package owners and skipped items follow the files they belong to."""
    damaged = gzipped(b"x" * 1000)[:-20]
    dpkg = "Package: p\nStatus: install ok installed\nVersion: 1\n\n"
    secret = f"token {_TOKENS[0]}\n"
    md5 = hashlib.md5(secret.encode(), usedforsecurity=False).hexdigest()
    built = image(
        layer({"var/lib/dpkg/status": dpkg, "var/lib/dpkg/info/p.md5sums": f"{md5}  etc/p\n", "etc/p": secret}),
        layer({"broken.gz": damaged, "gone!.gz": damaged, "gone": _TOKENS[1], "some!broken.gz": damaged}),
        layer(whiteout("gone"), whiteout("gone!.gz")),
    )
    for way in ("full", "minimal", "excise"):
        done, _ = flattened(built, way)
        assert {f.package.name for f in done.proof.remaining if f.package} == {"p"}
        assert {"/broken.gz", "/some!broken.gz"} == {s.path for s in done.proof.skipped}


def test_the_archive_check_finds_every_kind_of_damage(tmp_path: Path) -> None:
    _, archive = flattened(story()[0], "excise")
    path = tmp_path / "a.tar"
    path.write_bytes(archive)
    assert violations(path, DEFAULT) == []
    with tarfile.open(path) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar]  # type: ignore[union-attr]
    for number, (member, data) in enumerate(members):
        for damage in (None, data[:-1] + bytes([data[-1] ^ 1])):
            with tarfile.open(path, "w") as tar:
                for at, (other, body) in enumerate(members):
                    if at != number or damage is not None:
                        tar.addfile(other, io.BytesIO(damage if at == number and damage is not None else body))
            no_docker = member.name == "manifest.json" and damage is None
            assert bool(violations(path, DEFAULT)) is not no_docker, member.name
    path.write_bytes(archive[:-1024])
    assert violations(path, DEFAULT)
