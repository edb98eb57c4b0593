"""Packages that a signed list proves are not extracted, and nothing else is left out."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

import auditor as api
from auditor.detect.rules import Ruleset
from auditor.pipeline import Audit, Request, audit
from auditor.published import release
from auditor.published.image_lists import LayerLists
from auditor.published.package_list import PackageListReader
from auditor.scan import LayerRecord, Scanner, cutter, parallel_scan
from auditor.scan.record_format import encode_record
from auditor.store.layer_store import LayerStore
from auditor.store.records import Records
from tests.images import COMPRESSIONS, image, layer, token
from tests.published.archive import CACHE, LISTS, Archive, package

Patch = pytest.MonkeyPatch
NOISE = random.Random(5).randbytes(100_000).hex().encode()
PLANTED = f"key = {token(3)}\n".encode()
JAR = gzip.compress(NOISE + PLANTED, 1, mtime=0)
"""An archive that a package installs, with a secret."""
PUBLISHED = {"usr/share/java/acme.jar": JAR, "etc/acme.conf": PLANTED}
DEB = f"/{CACHE}acme_1_all.deb"


@pytest.fixture(autouse=True, scope="module")
def _small_pieces() -> Iterator[None]:
    """Cut small layers into many pieces, and start processes for them."""
    with Patch.context() as patch:
        patch.setattr(cutter, "MOST_COST", 100_000)
        patch.setattr(parallel_scan, "_SMALL", 0)
        yield


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """An archive whose key image-audit trusts."""
    made = Archive({"acme": package(PUBLISHED), "other": package({"usr/bin/other": NOISE})})
    keys = tmp_path_factory.mktemp("keys")
    (keys / "Example.asc").write_text(made.certificate)
    with Patch.context() as patch:
        patch.setattr(release, "_KEYS", keys)
        yield made


@pytest.fixture(params=[1, 3], scope="module")
def scanner(request: pytest.FixtureRequest, ruleset: Ruleset, cache: Path) -> Iterator[Scanner]:
    with closing(Scanner(ruleset, request.param, cache=cache)) as opened:
        opened.prepare()
        yield opened


def audited(scanner: Scanner, folder: Path, *layers: bytes, store: LayerStore | None = None) -> Audit:
    image(*layers).docker_archive(folder / "image.tar")
    (result,) = audit(str(folder / "image.tar"), scanner, Request(), Records(scanner, store))
    return result


def places(result: Audit) -> set[str | None]:
    return {finding.path for finding in result.findings}


def installed(archive: Archive) -> bytes:
    """A layer with apt's lists, installed files and the packages, in the order of paths."""
    return layer(dict(sorted({**archive.lists, **archive.cached, **PUBLISHED}.items())))


class TestProven:
    def test_a_package_and_the_archive_that_it_installed(
        self, archive: Archive, scanner: Scanner, tmp_path: Path
    ) -> None:
        result = audited(scanner, tmp_path, layer(archive.lists), installed(archive))
        assert places(result) == {"/etc/acme.conf"}  # no archive: it is searched as before
        assert result.published_count == 3 and not result.skipped

    def test_by_lists_behind_it_in_its_own_layer(self, archive: Archive, scanner: Scanner, tmp_path: Path) -> None:
        result = audited(scanner, tmp_path, installed(archive))
        assert DEB not in places(result) and result.published_count == 2

    @pytest.mark.parametrize("compression", sorted(COMPRESSIONS))
    def test_by_lists_of_a_lower_compressed_layer(
        self, archive: Archive, scanner: Scanner, tmp_path: Path, compression: str
    ) -> None:
        image(layer(archive.lists), layer(archive.cached)).oci_archive(tmp_path / "image.tar", compression)
        (result,) = audit(str(tmp_path / "image.tar"), scanner, Request(), Records(scanner))
        assert result.published_count == 2 and not result.findings

    def test_the_count_is_in_every_report(self, archive: Archive, cache: Path, tmp_path: Path) -> None:
        target = image(layer(archive.lists), layer(archive.cached)).docker_archive(tmp_path / "image.tar")
        report = api.audit(target, cache_dir=cache)
        assert report.to_dict()["coverage"]["published"] == 2
        assert "2 published archives not extracted" in report.render("table")
        assert "2 archives that a distribution published" in report.render("html")

    def test_the_cache_has_the_same_record(self, archive: Archive, scanner: Scanner, tmp_path: Path) -> None:
        with closing(LayerStore(tmp_path / "cache", pytest.fail)) as store:
            first = audited(scanner, tmp_path, layer(archive.lists), installed(archive), store=store)
            again = audited(scanner, tmp_path, layer(archive.lists), installed(archive), store=store)
        assert again.published_count == first.published_count == 3
        assert [finding.id for finding in again.findings] == [finding.id for finding in first.findings]

    def test_by_lists_of_a_layer_that_is_cached(self, archive: Archive, scanner: Scanner, tmp_path: Path) -> None:
        base = layer(archive.lists)
        with closing(LayerStore(tmp_path / "cache", pytest.fail)) as store:
            audited(scanner, tmp_path, base, store=store)
            cached = audited(scanner, tmp_path, base, installed(archive), store=store)
        (tmp_path / "new").mkdir()
        new = audited(scanner, tmp_path / "new", base, installed(archive))
        assert cached.published_count == new.published_count == 3
        assert [record.package_lists for record in cached.records] == [record.package_lists for record in new.records]

    def test_by_lists_of_the_same_layer_read_before(self, archive: Archive, scanner: Scanner, tmp_path: Path) -> None:
        base = layer(archive.lists)
        assert audited(scanner, tmp_path, base, base, installed(archive)).published_count == 3


class TestNotProven:
    @pytest.mark.parametrize(
        "lists",
        [
            {},
            {"signature": "another key"},
            {"package_list": "changed"},
            {"release": "changed"},
            {"release": "missing"},
        ],
        ids=str,
    )
    def test_a_package_is_extracted(
        self, archive: Archive, scanner: Scanner, tmp_path: Path, lists: Mapping[str, str]
    ) -> None:
        files = dict(archive.lists)
        release_path, list_path = files
        match lists:
            case {"signature": _}:
                files[release_path] = Archive(archive.packages).release
            case {"package_list": _}:
                files[list_path] += b"\n"
            case {"release": "changed"}:
                files[release_path] = files[release_path].replace(b"Suite: stable", b"Suite: unstabl")
            case {"release": _}:
                del files[release_path]
            case _:
                files.clear()
        result = audited(scanner, tmp_path, layer(files), layer({**PUBLISHED, **archive.cached}))
        assert {DEB, "/usr/share/java/acme.jar"} <= places(result) and not result.published_count

    def test_a_digest_outside_of_the_signed_text(self, archive: Archive, scanner: Scanner, tmp_path: Path) -> None:
        forged = Archive({"acme": package({"etc/acme.conf": PLANTED * 2})})
        lists = {
            f"{LISTS}InRelease": forged.release.split(b"-----BEGIN PGP SIGNATURE")[0] + archive.release,
            f"{LISTS}main_binary-amd64_Packages": forged.package_list,
        }
        assert DEB in places(audited(scanner, tmp_path, layer(lists), layer(forged.cached)))

    def test_a_changed_package_is_extracted(self, archive: Archive, scanner: Scanner, tmp_path: Path) -> None:
        changed = {**archive.cached, DEB[1:]: archive.packages["acme"][:-2] + b"\0\n"}
        result = audited(scanner, tmp_path, layer(archive.lists), layer(changed))
        assert DEB in places(result) and result.published_count == 1

    def test_a_changed_archive_of_a_package_is_extracted(
        self, archive: Archive, scanner: Scanner, tmp_path: Path
    ) -> None:
        own = gzip.compress(NOISE + f"key = {token(4)}\n".encode(), 1, mtime=0)
        files = {**archive.cached, "usr/share/java/acme.jar": own, "srv/acme.jar": JAR}
        result = audited(scanner, tmp_path, layer(archive.lists), layer(dict(sorted(files.items()))))
        assert {"/usr/share/java/acme.jar", "/srv/acme.jar"} <= places(result)

    def test_at_low_confidence_every_package_is_extracted(self, archive: Archive, cache: Path, tmp_path: Path) -> None:
        target = image(layer(archive.lists), installed(archive)).docker_archive(tmp_path / "image.tar")
        (default,) = api.audit(target, cache_dir=cache).images
        (low,) = api.audit(target, cache_dir=cache, min_confidence="low").images
        assert places(default) == {"/etc/acme.conf"} and default.published_count == 3
        assert {DEB, "/usr/share/java/acme.jar"} <= places(low) and not low.published_count


def test_every_number_of_processes_gives_the_same_record(
    archive: Archive, ruleset: Ruleset, cache: Path, tmp_path: Path
) -> None:
    data = installed(archive)
    records = list[LayerRecord]()
    for jobs in (1, 2, 3, 8):
        with closing(Scanner(ruleset, jobs, cache=cache)) as one:
            one.prepare()
            records.append(one.scan_layer(io.BytesIO(data), "layer"))
    assert len({encode_record(record.with_hmacs(bytes(32), keep_text=False)) for record in records}) == 1


def test_a_failed_layer_below_is_not_waited_for() -> None:
    below = LayerLists()
    below.close()
    assert LayerLists([below]).published([1]) == {}


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_a_list_is_the_same_in_blocks_of_any_size(archive: Archive, step: int) -> None:
    reader, data = PackageListReader(), memoryview(archive.package_list)
    for at in range(0, len(data), step):
        reader.update(data[at : at + step])
    known = reader.finish()
    sizes = {len(package) for package in archive.packages.values()}
    assert sorted(len(list(known.of_size(size))) for size in sizes) == [1, 1] and not list(known.of_size(1))


def test_endless_stanzas_take_no_memory() -> None:
    reader, block = PackageListReader(), memoryview(b"x" * (1 << 20))
    for _ in range(20):
        reader.update(block)
    assert len(reader._rest) <= 1 << 20


def test_the_keys_of_debian_are_those_that_it_documents() -> None:
    """Source: https://ftp-master.debian.org/keys.html, for Debian 13."""
    publishers = dict(release._publishers(Path(release.__file__).parent / "keys"))
    assert {
        "04b54c3cdca79751b16bc6b5225629df75b188bd",
        "5e04a1e3223a19a20706e20f9904613d4cce68c6",
        "41587f7db8c774bccf131416762f67a0b2c39de4",
    } <= {certificate.fingerprint for certificate in publishers["Debian"]}
