"""Which package brought a file; and that provenance lowers keys and passwords, never a token."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import py_compile
import sqlite3
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from auditor.core.finding import Confidence, Finding
from auditor.findings.selection import Selection
from auditor.pipeline import Request, audit
from auditor.provenance.databases import reduced
from auditor.rulebook.examples import fill
from auditor.scan import Scanner
from tests.images import image, layer, token


def private_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


KEY = private_key()
CHANGED = private_key()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def dpkg(path: str, data: bytes) -> dict[str, bytes]:
    return {
        path: data,
        "var/lib/dpkg/info/acme:amd64.md5sums": f"{md5(KEY)}  {path}\n".encode(),
        "var/lib/dpkg/status": b"Package: other\nVersion: 9\n\nPackage: acme\nVersion: 1.2-3\n",
    }


def conffile(path: str, data: bytes) -> dict[str, bytes]:
    status = f"Package: acme\nVersion: 1.2-3\nConffiles:\n /{path} {md5(KEY)}\n\n"
    return {path: data, "var/lib/dpkg/status": status.encode()}


def apk(path: str, data: bytes) -> dict[str, bytes]:
    folder, _, name = path.rpartition("/")
    sha1 = "Q1" + base64.b64encode(hashlib.sha1(KEY).digest()).decode()
    return {path: data, "lib/apk/db/installed": f"C:Q1x=\nP:acme\nV:1.2-3\nF:{folder}\nR:{name}\nZ:{sha1}\n\n".encode()}


def pypi(path: str, data: bytes) -> dict[str, bytes]:
    site, _, name = path.rpartition("/")
    digest = base64.urlsafe_b64encode(hashlib.sha256(KEY).digest()).decode().rstrip("=")
    return {path: data, f"{site}/acme-1.2-3.dist-info/RECORD": f"{name},sha256={digest},{len(KEY)}\n".encode()}


def rpm(path: str, data: bytes) -> dict[str, bytes]:
    return {path: data, "var/lib/rpm/rpmdb.sqlite": rpm_database([[path]])}


def rpm_database(packages: Sequence[Sequence[str]]) -> bytes:
    """A database of packages by the paths of their files, each of which is KEY."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
    connection.executemany("INSERT INTO Packages VALUES (?, ?)", enumerate(map(rpm_header, packages), 1))
    connection.commit()
    content = connection.serialize()
    connection.close()
    return content


def rpm_header(paths: Sequence[str]) -> bytes:
    """The header of a package as the database holds it."""
    count = len(paths)
    tags: list[tuple[int, int, int, bytes]] = [
        (1000, 6, 1, b"acme\0"),
        (1001, 6, 1, b"1.2\0"),
        (1002, 6, 1, b"3\0"),
        (1035, 8, count, (hashlib.sha256(KEY).hexdigest().encode() + b"\0") * count),
        (1116, 4, count, b"".join(struct.pack(">I", at) for at in range(count))),
        (1117, 8, count, b"".join(path.rpartition("/")[2].encode() + b"\0" for path in paths)),
        (1118, 8, count, b"".join(f"/{path.rpartition('/')[0]}/".encode() + b"\0" for path in paths)),
        (5011, 4, 1, struct.pack(">I", 8)),
    ]
    index, body = b"", b""
    for tag, kind, items, value in tags:
        body += bytes(-len(body) % 4)
        index += struct.pack(">IIII", tag, kind, len(body), items)
        body += value
    return struct.pack(">II", len(tags), len(body)) + index + body


def audited(files: dict[str, bytes], tmp_path: Path, scanner: Scanner) -> tuple[Finding, ...]:
    path = image(layer(files)).docker_archive(tmp_path / "a.tar")
    (result,) = audit(str(path), scanner, Request(selection=Selection(min_confidence=Confidence.LOW)))
    return result.findings


MANAGERS = {"dpkg": dpkg, "apk": apk, "pypi": pypi, "rpm": rpm}


@pytest.mark.parametrize("manager", MANAGERS)
def test_a_key_that_a_package_brought_is_low_and_one_changed_since_is_not(
    manager: str, tmp_path: Path, scanner: Scanner
) -> None:
    path = "usr/lib/acme/server.pem"
    (unchanged,) = audited(MANAGERS[manager](path, KEY), tmp_path, scanner)
    assert unchanged.package is not None
    assert (unchanged.package.manager, unchanged.package.name) == (manager, "acme")
    assert unchanged.package.version == "1.2-3"
    assert (unchanged.package.unmodified, unchanged.confidence) == (True, "low")
    (changed,) = audited(MANAGERS[manager](path, CHANGED), tmp_path, scanner)
    assert changed.package is not None
    assert (changed.package.unmodified, changed.confidence) == (False, "high")


def test_a_conffile_counts_and_its_change_is_the_users(tmp_path: Path, scanner: Scanner) -> None:
    (unchanged,) = audited(conffile("etc/acme/server.pem", KEY), tmp_path, scanner)
    (changed,) = audited(conffile("etc/acme/server.pem", CHANGED), tmp_path, scanner)
    assert (unchanged.confidence, changed.confidence) == ("low", "high")


def test_lists_from_before_the_usr_merge_still_name_the_file(tmp_path: Path, scanner: Scanner) -> None:
    files = dpkg("lib/acme/server.pem", KEY)
    files["usr/lib/acme/server.pem"] = files.pop("lib/acme/server.pem")
    (finding,) = audited(files, tmp_path, scanner)
    assert finding.confidence == "low"


def test_a_token_keeps_its_confidence(tmp_path: Path, scanner: Scanner) -> None:
    secret = token(3).encode()
    files = dpkg("usr/lib/acme/config", secret)
    files["var/lib/dpkg/info/acme:amd64.md5sums"] = f"{md5(secret)}  usr/lib/acme/config\n".encode()
    (finding,) = audited(files, tmp_path, scanner)
    assert finding.package is not None and finding.package.unmodified
    assert finding.confidence == "high"


def test_under_node_modules_and_in_tests_a_key_is_one_step_lower(tmp_path: Path, scanner: Scanner) -> None:
    folder = "app/node_modules/@acme/tls"
    files = {f"{folder}/package.json": b'{"version": "4.5.6"}', f"{folder}/key.pem": KEY, f"{folder}/test/key.pem": KEY}
    plain, in_test = sorted(audited(files, tmp_path, scanner), key=lambda f: f.path or "")
    assert plain.package is not None
    assert (plain.package.name, plain.package.version, plain.package.unmodified) == ("@acme/tls", "4.5.6", None)
    assert (plain.confidence, in_test.confidence) == ("medium", "low")


def compiled(source: bytes, folder: Path) -> bytes:
    (folder / "a.py").write_bytes(source)
    py_compile.compile(str(folder / "a.py"), str(folder / "a.pyc"), doraise=True)
    return (folder / "a.pyc").read_bytes()


SOURCE = b'KEY = """' + KEY + b'"""\n'
CHANGED_SOURCE = b'KEY = """' + CHANGED + b'"""\n'


def debian_module(source: bytes) -> dict[str, bytes]:
    return dpkg("usr/lib/python3/dist-packages/acme.py", source) | {
        "var/lib/dpkg/info/acme.md5sums": f"{md5(SOURCE)}  usr/lib/python3/dist-packages/acme.py\n".encode()
    }


def wheel(source: bytes) -> dict[str, bytes]:
    digest = base64.urlsafe_b64encode(hashlib.sha256(SOURCE).digest()).decode().rstrip("=")
    record = f"acme.py,sha256={digest},{len(SOURCE)}\n__pycache__/acme.cpython-313.pyc,,\n"
    folder = "usr/lib/python3/dist-packages"
    return {f"{folder}/acme.py": source, f"{folder}/acme-1.2-3.dist-info/RECORD": record.encode()}


@pytest.mark.parametrize("installed", [debian_module, wheel])
@pytest.mark.parametrize(("source", "unmodified"), [(SOURCE, True), (CHANGED_SOURCE, False)])
def test_a_compiled_file_is_as_unmodified_as_its_source(
    installed: Callable[[bytes], dict[str, bytes]], source: bytes, unmodified: bool, tmp_path: Path, scanner: Scanner
) -> None:
    path = "usr/lib/python3/dist-packages/__pycache__/acme.cpython-313.pyc"
    found = audited({**installed(source), path: compiled(source, tmp_path)}, tmp_path, scanner)
    (finding,) = (finding for finding in found if finding.path == f"/{path}")
    assert finding.package is not None and finding.package.unmodified is unmodified
    assert (finding.confidence == "low") is unmodified


def test_a_file_that_ucf_installs_and_its_copy_belong_to_the_package(tmp_path: Path, scanner: Scanner) -> None:
    files = {"etc/acme/server.pem": KEY, "var/lib/ucf/cache/:etc:acme:server.pem": KEY, "etc/acme/own.pem": CHANGED}
    files["var/lib/ucf/hashfile"] = f"{md5(KEY)}  /etc/acme/server.pem\n{md5(KEY)}  /etc/acme/own.pem\n".encode()
    files["var/lib/ucf/registry"] = b"acme     \t /etc/acme/server.pem\nacme /etc/acme/own.pem\n"
    found = {finding.path: finding for finding in audited(files, tmp_path, scanner)}
    assert found.pop("/etc/acme/own.pem").confidence == "high"
    assert {(f.confidence, f.package and f.package.name) for f in found.values()} == {("low", "acme")}
    assert len(found) == 2


def test_a_service_account_file_of_a_package_is_a_private_key(tmp_path: Path, scanner: Scanner) -> None:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "private_key": key.decode(), "client_email": "a@b.iam.gserviceaccount.com"}
    data = json.dumps(account).encode()
    files = dpkg("usr/lib/acme/account.json", data)
    files["var/lib/dpkg/info/acme.md5sums"] = f"{md5(data)}  usr/lib/acme/account.json\n".encode()
    files["usr/lib/python3/dist-packages/acme/tests/data/account.json"] = data
    files["srv/account.json"] = data
    found = {finding.path: finding.confidence for finding in audited(files, tmp_path, scanner)}
    assert found.pop("/srv/account.json") == "high"
    assert set(found.values()) == {"low"} and len(found) == 2


def test_a_public_key_of_client_software_is_low_in_its_package(tmp_path: Path, scanner: Scanner) -> None:
    data = ("export GOOGLE_API_KEY=" + fill("AIza{base64url:34}x", 3)).encode()
    files = conffile("etc/chromium.d/apikeys", data)
    files["var/lib/dpkg/status"] = f"Package: chromium\nConffiles:\n /etc/chromium.d/apikeys {md5(data)}\n".encode()
    files["srv/config"] = data
    found = {finding.path: finding.confidence for finding in audited(files, tmp_path, scanner)}
    assert found == {"/etc/chromium.d/apikeys": "low", "/srv/config": "high"}


def test_an_example_in_a_configuration_file_of_a_package_is_low_and_so_is_the_copy_of_ucf(
    tmp_path: Path, scanner: Scanner
) -> None:
    line = fill("#connect = host=db.acme-corp.io dbname=mail user=mail password={base62:15}7\n", 3).encode()
    path = "etc/dovecot/conf.d/auth-sql.conf.ext"
    files = {path: line, "var/lib/ucf/cache/:etc:dovecot:conf.d:auth-sql.conf.ext": line, "srv/auth-sql.conf.ext": line}
    files["var/lib/ucf/hashfile"] = f"{md5(line)}  /{path}\n".encode()
    files["var/lib/ucf/registry"] = f"dovecot-core /{path}\n".encode()
    found = {finding.path: finding.confidence for finding in audited(files, tmp_path, scanner)}
    assert found.pop("/srv/auth-sql.conf.ext") == "medium"
    assert set(found.values()) == {"low"} and len(found) == 2


def test_a_sample_keystore_and_a_wallet_key_in_the_description_of_a_package_are_low(
    tmp_path: Path, scanner: Scanner
) -> None:
    (keystore,) = (rule for rule in scanner.ruleset.rules if rule.id == "ethereum-keystore")
    texts = [fill(keystore.examples[0], 3), fill("seed = '{stellar_seed}'", 3)]
    folder = "usr/lib/python3/dist-packages/acme-1.2.dist-info"
    files = {f"{folder}/METADATA": "\n".join(texts).encode(), "srv/notes.txt": "\n".join(texts).encode()}
    found = {(finding.path, finding.confidence) for finding in audited(files, tmp_path, scanner)}
    assert found == {(f"/{folder}/METADATA", "low"), ("/srv/notes.txt", "medium"), ("/srv/notes.txt", "high")}


@pytest.mark.parametrize("rule", ["grub-password", "kubernetes-encryption-key", "swarm-join-token", "gcp-hmac-key-id"])
def test_a_secret_that_no_provider_issued_is_low_in_a_package(rule: str, tmp_path: Path, scanner: Scanner) -> None:
    (found_by,) = (one for one in scanner.ruleset.rules if one.id == rule)
    data = fill(found_by.examples[0], 3).encode()
    files = dpkg("usr/lib/acme/sample.conf", data) | {"srv/sample.conf": data}
    files["var/lib/dpkg/info/acme.md5sums"] = f"{md5(data)}  usr/lib/acme/sample.conf\n".encode()
    found = {finding.path: finding.confidence for finding in audited(files, tmp_path, scanner)}
    assert found == {"/usr/lib/acme/sample.conf": "low", "/srv/sample.conf": "high"}


def test_a_public_key_in_an_npm_package_is_low(tmp_path: Path, scanner: Scanner) -> None:
    line = fill("const SENTRY_DSN = 'https://{hex:32}@o123456.ingest.sentry.io/1234567';", 3).encode()
    folder = "app/node_modules/acme"
    files = {f"{folder}/package.json": b'{"version": "4.5.6"}', f"{folder}/report.js": line, "app/report.js": line}
    found = {finding.path: finding.confidence for finding in audited(files, tmp_path, scanner)}
    assert found == {f"/{folder}/report.js": "low", "/app/report.js": "high"}


def test_a_key_that_only_words_give_away_is_low_in_a_package(tmp_path: Path, scanner: Scanner) -> None:
    data = fill("DATADOG_API_KEY={hex:32}", 3).encode()
    files = dpkg("usr/lib/acme/config", data)
    files["var/lib/dpkg/info/acme.md5sums"] = f"{md5(data)}  usr/lib/acme/config\n".encode()
    files["srv/config"] = data
    found = {finding.path: finding.confidence for finding in audited(files, tmp_path, scanner)}
    assert found == {"/usr/lib/acme/config": "low", "/srv/config": "medium"}


def test_texts_that_an_installer_copies_into_a_database_are_not_the_users(tmp_path: Path, scanner: Scanner) -> None:
    line = fill("CHANGE MASTER TO MASTER_PASSWORD='{base62:16}';", 3).encode()
    files = {"var/lib/mysql/mysql/help_topic.MAD": line, "var/lib/mysql/app/notes.MAD": line}
    found = {finding.path: finding.confidence for finding in audited(files, tmp_path, scanner)}
    assert found == {"/var/lib/mysql/mysql/help_topic.MAD": "low", "/var/lib/mysql/app/notes.MAD": "medium"}


def test_a_large_file_is_compared_too(tmp_path: Path, scanner: Scanner) -> None:
    data = b"\0" * (7 << 20) + KEY + b"\0" * (1 << 20)
    files = dpkg("usr/lib/acme/big.so", data)
    files["var/lib/dpkg/info/acme:amd64.md5sums"] = f"{md5(data)}  usr/lib/acme/big.so\n".encode()
    (finding,) = audited(files, tmp_path, scanner)
    assert finding.confidence == "low"


@pytest.mark.parametrize(
    "files",
    [
        {"var/lib/rpm/rpmdb.sqlite": b"SQLite format 3\0" + b"\xff" * 5000},
        {"lib/apk/db/installed": b"R:\nZ:Q1!!\nF:\n\xff"},
        {"x/a-1.dist-info/RECORD": b'"key.pem",sha256=@@,'},
        {"var/lib/dpkg/info/a.md5sums": b"  x/key.pem\n", "var/lib/dpkg/status": b"\n /x/key.pem zz"},
        {"node_modules/a/package.json": b'{"version": 1}'},
    ],
    ids=["rpm", "apk", "pypi", "dpkg", "npm"],
)
def test_a_broken_database_is_passed_over(files: dict[str, bytes], tmp_path: Path, scanner: Scanner) -> None:
    found = audited({**files, "x/key.pem": KEY}, tmp_path, scanner)
    assert [f.confidence for f in found] == ["high"]


KEPT = {
    "var/lib/dpkg/status": (
        f"Package: a\nVersion: 1\nConffiles:\n /etc/a {md5(KEY)}\nDescription: SECRET\n SECRET\n\n"
        "Package: b\nVersion: 2\n",
        f"Package: a\nVersion: 1\nConffiles:\n /etc/a {md5(KEY)}\n\nPackage: b\nVersion: 2\n",
    ),
    "var/lib/dpkg/info/a.md5sums": (f"{md5(KEY)}  etc/a\nSECRET", f"{md5(KEY)}  etc/a\n"),
    "var/lib/ucf/hashfile": (f"{md5(KEY)}  /etc/a\nSECRET", f"{md5(KEY)}  /etc/a\n"),
    "var/lib/ucf/registry": ("a-b \t /etc/a\nS: SECRET", "a-b \t /etc/a\n"),
    "lib/apk/db/installed": ("P:a\nV:1\nU:SECRET\nF:etc\nR:a\nZ:Q1x=\n\n", "P:a\nV:1\nF:etc\nR:a\nZ:Q1x=\n\n"),
    "a-1.dist-info/RECORD": (
        "a.py,sha256=ab_-=,3\nSECRET\na.pyc,,\r\nRECORD,,",
        "a.py,sha256=ab_-=,3\na.pyc,,\r\nRECORD,,\n",
    ),
    "node_modules/a/package.json": ('{"url": "SECRET", "version": "1", "scripts": {}}', '"version": "1"'),
    "node_modules/b/package.json": ('{"url": "SECRET"}', ""),
}


@pytest.mark.parametrize("path", KEPT)
def test_of_a_database_no_more_is_kept_than_names_packages_files_and_digests(path: str) -> None:
    content, want = KEPT[path]
    assert reduced(path, content.encode()).decode() == want


def test_generic_secrets_and_keys_in_the_archive_of_a_package_lose_a_step_and_in_its_tests_are_low(
    tmp_path: Path, scanner: Scanner
) -> None:
    password, wheel = fill("password: {base62:20}7", 3).encode(), io.BytesIO()
    members = {"acme/a.yml": password, "acme/b.pem": KEY, "acme/tests/a.yml": password, "acme/tests/b.pem": KEY}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    release = {"opt/shop-2.0.1/tests/a.yml": password, "opt/shop-2.0.1/a.yml": password}
    files = {"wheels/acme-1.2-py3-none-any.whl": wheel.getvalue(), **release}
    found = {one.member or one.path: one.confidence for one in audited(files, tmp_path, scanner)}
    assert found == {
        "acme/a.yml": "low", "acme/b.pem": "medium", "acme/tests/a.yml": "low", "acme/tests/b.pem": "low",
        "/opt/shop-2.0.1/a.yml": "medium", "/opt/shop-2.0.1/tests/a.yml": "low",
    }  # fmt: skip
