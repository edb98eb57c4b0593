"""Every row of the table of package databases names the owner of a file."""

from __future__ import annotations

import base64
import hashlib

import pytest

from auditor.provenance.checksums import Checksums
from auditor.provenance.databases import PACKAGE_DATABASES, PackageDatabase, database_file
from auditor.provenance.path_index import PathIndex
from tests.provenance.test_packages import rpm_database

CONTENT = b"-----BEGIN PRIVATE KEY-----\n"
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA1 = base64.b64encode(hashlib.sha1(CONTENT).digest()).decode()
SHA256 = base64.urlsafe_b64encode(hashlib.sha256(CONTENT).digest()).decode().rstrip("=")
SAMPLES = {
    "dpkg": ("etc/a.pem", {"var/lib/dpkg/info/acme.md5sums": f"{MD5}  etc/a.pem\n".encode()}),
    "apk": ("etc/a.pem", {"lib/apk/db/installed": f"P:acme\nV:1\nF:etc\nR:a.pem\nZ:Q1{SHA1}\n\n".encode()}),
    "rpm": ("etc/a.pem", {"var/lib/rpm/rpmdb.sqlite": rpm_database([["etc/a.pem"]])}),
    "pypi": ("lib/a.pem", {"lib/acme-1.dist-info/RECORD": f"a.pem,sha256={SHA256},28\n".encode()}),
    "npm": ("app/node_modules/acme/a.pem", {"app/node_modules/acme/package.json": b'{"version": "1"}'}),
}


def test_every_row_has_a_sample() -> None:
    assert sorted(SAMPLES) == sorted(row.manager for row in PACKAGE_DATABASES)


@pytest.mark.parametrize("row", PACKAGE_DATABASES, ids=lambda row: row.manager)
def test_a_row_names_the_owner_of_a_listed_file_and_of_no_other(row: PackageDatabase) -> None:
    path, files = SAMPLES[row.manager]
    owners = row.owners(PathIndex.of([path, "etc/other"]), lambda *skipped: pytest.fail(str(skipped)))
    for name, content in files.items():
        file = database_file(name)
        assert file in row.files
        owners.add(name, file.reduced(content))
    package = owners.package_of(path, Checksums.of([CONTENT]))
    assert package is not None and package.manager == row.manager
    assert owners.package_of("etc/other", None) is None


@pytest.mark.parametrize("path", ["etc/passwd", "app/package.json", "usr/lib/dpkg/status.old", "RECORD"])
def test_other_files_are_no_databases(path: str) -> None:
    assert database_file(path) is None
