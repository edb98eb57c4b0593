"""Records from the cache: the same findings without reading a layer twice, and never for bytes that were not hashed."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from auditor.core.digests import DiffID, Digest
from auditor.core.errors import Damaged
from auditor.pipeline import Request, audit
from auditor.report import json_report
from auditor.report.render_options import RenderOptions
from auditor.scan import LayerRecord, Scanner
from auditor.scan.record_format import decode_record, encode_record
from auditor.store.layer_store import Blob, LayerStore
from auditor.store.records import Records
from tests.conftest import Cli
from tests.images import Built, digest, file, image, layer, token, whiteout

CREATED = "2026-01-01T00:00:00Z"
OPTIONS = RenderOptions(CREATED)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LayerStore]:
    with closing(LayerStore(tmp_path / "cache", pytest.fail)) as opened:
        yield opened


@pytest.fixture
def scans(scanner: Scanner, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was scanned, layer by layer."""
    done: list[str] = []
    scan: Callable[..., Callable[[], LayerRecord]] = scanner.read_layer

    def counted(stream: BinaryIO, what: str, *options: Any, **named: Any) -> Callable[[], LayerRecord]:
        done.append(what)
        return scan(stream, what, *options, **named)

    monkeypatch.setattr(scanner, "read_layer", counted)
    return done


def planted(top: str = "") -> Built:
    secret = token(7)
    base = layer({"app/.env": f"TOKEN={secret}\n", "etc/motd": "hello\n", "caf\udce9": "x"})
    own = layer(whiteout("app/.env"), file("copy.txt", secret), file("top.txt", top))
    return image(base, own, config={"Env": [f"API_TOKEN={secret}"]})


def report(target: str, scanner: Scanner, records: Records) -> dict[str, Any]:
    (result,) = audit(target, scanner, Request(), records)
    shown: dict[str, Any] = json.loads(json_report.render([result], OPTIONS))
    return shown


def settled(path: Path) -> str:
    """Give a file times that lie well in the past: its changes tell from then on."""
    subprocess.run(["touch", "-d", "2020-01-01", path], check=True)
    return str(path)


@pytest.mark.parametrize("form", ["docker_archive", "oci_archive"])
def test_the_report_is_the_same_with_and_without_the_cache(
    tmp_path: Path, scanner: Scanner, store: LayerStore, scans: list[str], form: str
) -> None:
    target = str(getattr(planted(), form)(tmp_path / "a.tar"))
    without = report(target, scanner, Records(scanner))
    first = report(target, scanner, Records(scanner, store))
    scans.clear()
    again = report(target, scanner, Records(scanner, store))
    assert without == first == again and len(again["findings"]) == 3
    assert scans == []


def test_a_second_image_costs_only_the_layer_that_is_new(
    tmp_path: Path, scanner: Scanner, store: LayerStore, scans: list[str]
) -> None:
    report(str(planted("one").docker_archive(tmp_path / "a.tar")), scanner, Records(scanner, store))
    scans.clear()
    report(str(planted("two").oci_archive(tmp_path / "b.tar")), scanner, Records(scanner, store))
    assert len(scans) == 1


def test_a_stream_is_hashed_and_not_scanned_again(
    tmp_path: Path, scanner: Scanner, store: LayerStore, scans: list[str]
) -> None:
    import gzip

    path = planted().oci_archive(tmp_path / "a.tar")
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    first = report(str(packed), scanner, Records(scanner, store))
    scans.clear()
    assert report(str(packed), scanner, Records(scanner, store)) == first
    assert scans == []


def test_an_archive_that_names_a_clean_layers_digest_is_read_all_the_same(
    tmp_path: Path, scanner: Scanner, store: LayerStore
) -> None:
    clean, bad = layer({"a.txt": "clean\n"}), layer({"a.txt": f"{token(3)}\n"})
    report(str(image(clean).oci_archive(tmp_path / "clean.tar")), scanner, Records(scanner, store))
    path = image(clean).oci_archive(tmp_path / "bad.tar")
    swapped = path.read_bytes().replace(clean, bad)
    assert len(swapped) == path.stat().st_size and bad in swapped
    path.write_bytes(swapped)
    with pytest.raises(Damaged, match="digest is"):
        report(settled(path), scanner, Records(scanner, store))


def test_a_file_that_changed_since_is_read_again(
    tmp_path: Path, scanner: Scanner, store: LayerStore, scans: list[str]
) -> None:
    path = image(layer({"a.txt": "clean\n"})).docker_archive(tmp_path / "a.tar")
    assert report(str(path), scanner, Records(scanner, store))["findings"] == []
    image(layer({"a.txt": f"{token(3)}\n"})).docker_archive(path)
    scans.clear()
    assert len(report(str(path), scanner, Records(scanner, store))["findings"]) == 1
    assert len(scans) == 1


def test_the_cache_holds_no_secret(tmp_path: Path, scanner: Scanner, store: LayerStore) -> None:
    report(str(planted().docker_archive(tmp_path / "a.tar")), scanner, Records(scanner, store))
    with closing(sqlite3.connect(store.path)) as database:
        rows = [row for (row,) in database.execute("SELECT data FROM record")]
    assert len(rows) == 2
    for row in rows:
        assert token(7) not in repr(decode_record(row)) and token(7)[4:-4].encode() not in row
    store.close()
    for path in store.path.parent.iterdir():
        assert token(7).encode() not in path.read_bytes()


def test_secrets_that_are_wanted_whole_are_read_again(
    tmp_path: Path, scanner: Scanner, store: LayerStore, scans: list[str]
) -> None:
    target = str(planted().docker_archive(tmp_path / "a.tar"))
    report(target, scanner, Records(scanner, store))
    scans.clear()
    (result,) = audit(target, scanner, Request(), Records(scanner, store, keep_secrets=True))
    assert {finding.secret.reveal() for finding in result.findings} == {token(7)}
    assert len(scans) == 2


def test_a_record_is_what_it_was_after_a_round_trip(scanner: Scanner) -> None:
    import io

    record = Records(scanner).scan(io.BytesIO(planted().layers[0]), "layer")
    assert decode_record(encode_record(record)) == record


@pytest.mark.parametrize("data", [b"", b"no zlib", encode_record.__doc__.encode() if encode_record.__doc__ else b""])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a layer record"):
        decode_record(data)


@pytest.mark.parametrize("name", ["srv/app", token(8)], ids=["clean", "secret"])
def test_a_record_tells_whether_a_secret_is_in_a_header(scanner: Scanner, name: str) -> None:
    import io

    record = decode_record(encode_record(Records(scanner).scan(io.BytesIO(layer({name: "x"})), "layer")))
    assert record.has_clean_headers is (name != token(8))


@pytest.mark.parametrize("transient", [False, True])
def test_a_dump_tells_whether_a_record_may_be_kept(scanner: Scanner, transient: bool) -> None:
    import io

    record = replace(Records(scanner).scan(io.BytesIO(planted().layers[0]), "layer"), transient=transient)
    assert decode_record(encode_record(record)).transient is transient


def test_what_a_blob_unpacks_to_is_not_believed_of_other_code(
    tmp_path: Path, scanner: Scanner, store: LayerStore, scans: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a decoder that was mended would have a layer's record be that of the part which the old one read."""
    base, top = planted().layers
    path = image(base).oci_archive(tmp_path / "a.tar")
    records = Records(scanner, store)
    with monkeypatch.context() as old:
        old.setattr("auditor.store.records.format_version", lambda: "old code")
        store.keep_blob(records.blob_key(Digest(digest(base))), Blob(len(base), DiffID(digest(top))))
    report(str(image(top).oci_archive(tmp_path / "b.tar")), scanner, records)
    assert len(report(str(path), scanner, records)["findings"]) == 1
    assert len(scans) == 2


def test_a_slice_is_not_believed_of_other_code(
    tmp_path: Path, scanner: Scanner, store: LayerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = list[str]()
    monkeypatch.setattr(store, "keep_slice", lambda identity, _: kept.append(identity))
    path = settled(planted().oci_archive(tmp_path / "a.tar"))
    monkeypatch.setattr("auditor.store.records._SETTLED_S", -1e9)
    for code in ("old", "new"):
        monkeypatch.setattr("auditor.store.records.format_version", lambda code=code: code)
        report(path, scanner, Records(scanner, store))
    assert len(set(kept)) == len(kept) == 4


def test_a_record_with_an_open_secret_is_not_written(scanner: Scanner) -> None:
    import io

    record = scanner.scan_layer(io.BytesIO(planted().layers[0]), "layer")
    with pytest.raises(ValueError, match="without HMAC"):
        encode_record(record)


def test_four_commands_share_one_cache(cli: Cli) -> None:
    targets = [planted(f"image {number}").docker_archive(cli.folder / f"{number}.tar") for number in range(4)]
    (cli.folder / "shared").symlink_to(Path(cli.environment["XDG_CACHE_HOME"]) / "image-audit")
    command = [sys.executable, "-m", "auditor", "scan", "--cache-dir", "shared", "--format", "json"]

    def run(target: Path) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*command, str(target)], cwd=cli.folder, env=cli.environment, capture_output=True, check=False
        )

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(run, targets))
    assert [one.returncode for one in done] == [1] * 4 and [one.stderr for one in done] == [b""] * 4
    info = cli("cache", "info", "--cache-dir", "shared")
    assert "5 layers" in info.out
    assert "5 layers removed" in cli("cache", "clear", "--cache-dir", "shared").out
    assert "0 layers" in cli("cache", "info", "--cache-dir", "shared").out


@pytest.mark.parametrize("jobs", [1, 4])
def test_the_number_of_threads_changes_nothing(cli: Cli, jobs: int) -> None:
    target = planted().docker_archive(cli.folder / "a.tar")
    one = cli("scan", target, "--format", "json", "--jobs", str(jobs), "--no-cache").json
    two = cli("scan", target, "--format", "json", "--cache-size", "1M").json
    assert {**one, "created": ""} == {**two, "created": ""}
