"""What is packed or encoded in a layer's files is found, placed and brought back."""

from __future__ import annotations

import base64
import errno
import gzip
import io
import random
import subprocess
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from auditor.core.finding import Finding
from auditor.core.limits import Limits
from auditor.detect.rules import Ruleset
from auditor.pipeline import Request, audit
from auditor.scan import Scanner, file_content, layer_stream
from tests.conftest import Cli
from tests.images import image, layer, token, whiteout

SECRET = token(61)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def audited(path: Path, scanner: Scanner) -> tuple[Finding, ...]:
    (result,) = audit(str(path), scanner, Request())
    return result.findings


TEXT = f"a\nb\nTOKEN={SECRET}\n".encode()
CASES = {
    "zip": ("srv/a.zip", zipped({"b/c.env": TEXT}), "b/c.env", (), 3),
    "stored zip": ("srv/a.zip", zipped({"b/c.env": TEXT}, zipfile.ZIP_STORED), "b/c.env", (), 3),
    "zip in zip": ("srv/a.jar", zipped({"in.zip": zipped({"x": TEXT})}), "in.zip!x", (), 3),
    "gzip": ("srv/log.gz", gzip.compress(TEXT), None, ("gzip",), 3),
    "tar": ("srv/a.tar", layer({"d/e": TEXT}), "d/e", (), 3),
    "utf-16": ("srv/notes.txt", b"\xff\xfe" + TEXT.decode().encode("utf-16le"), None, ("utf-16le",), 3),
    "base64": ("srv/secret.yaml", b"x: 1\ndata: " + base64.b64encode(TEXT) + b"\n", None, ("base64",), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_a_secret_inside_is_found_and_placed(name: str, tmp_path: Path, scanner: Scanner) -> None:
    path, data, member, decoded, line = CASES[name]
    built = image(layer({path: data}), layer(whiteout(path)))
    found = [f for f in audited(built.docker_archive(tmp_path / "a.tar"), scanner) if f.rule == "github-pat"]
    assert [(f.path, f.member, f.decoded, f.line, f.state) for f in found] == [
        ("/" + path, member, decoded, line, "deleted")
    ]


FAT_JAR = (
    b"#!/bin/sh\npassword="
    + SECRET.encode()
    + b"\n"
    + zipped({"noise": random.Random(1).randbytes(5 << 20), "b/c.env": TEXT})
)


@pytest.fixture(params=["plain", "gzip", "pipe"])
def fat_jar(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive with a jar of several windows, in a layer that is stored, spooled, or goes through a pipe."""
    if request.param == "pipe":
        monkeypatch.setattr(layer_stream.SpooledFiles, "large", 1 << 20)
    built = image(layer({"srv/before": b"x" * 700, "srv/a.jar": FAT_JAR, "srv/after": TEXT}))
    return built.oci_archive(tmp_path / "a.tar", "plain" if request.param == "plain" else "gzip")


def test_a_zip_larger_than_what_is_read_into_memory_is_opened(fat_jar: Path, ruleset: Ruleset, cache: Path) -> None:
    with closing(Scanner(ruleset, 1, cache=cache, limits=Limits(archive_bytes=1 << 20))) as small:
        (result,) = audit(str(fat_jar), small, Request())
    found = {(f.path, f.member, f.line) for f in result.findings if f.rule == "github-pat"}
    assert found >= {("/srv/a.jar", "b/c.env", 3), ("/srv/after", None, 3)} and not result.skipped


def test_a_zip_that_finds_no_room_is_reported(
    tmp_path: Path, ruleset: Ruleset, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(layer_stream.SpooledFiles, "large", 1 << 20)
    monkeypatch.setattr(file_content.SpooledContent, "add", full)
    archive = image(layer({"srv/a.jar": FAT_JAR})).oci_archive(tmp_path / "a.tar", "gzip")
    with closing(Scanner(ruleset, 1, cache=cache)) as scanner:
        (result,) = audit(str(archive), scanner, Request())
    assert [(item.path, item.reason.partition(";")[0]) for item in result.skipped] == [
        ("/srv/a.jar", "can't be copied to a temporary file: No space left on device")
    ]
    assert result.transient


@pytest.mark.parametrize("packed", [False, True])
def test_a_secret_deleted_from_a_repositorys_history_is_found_with_commit_and_path(
    packed: bool, tmp_path: Path, scanner: Scanner
) -> None:
    repository = tmp_path / "repository"

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(repository), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    (repository / "config").mkdir(parents=True)
    (repository / "config/.env").write_bytes(TEXT)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    commit = git("rev-parse", "HEAD")
    git("rm", "-q", "config/.env")
    git("commit", "-qm", "two", "--allow-empty")
    if packed:
        git("gc", "-q", "--aggressive", "--prune=now")
    files = {
        f"srv/{path.relative_to(repository)}": path.read_bytes()
        for path in sorted(repository.rglob("*"))
        if path.is_file()
    }
    found = audited(image(layer(files)).docker_archive(tmp_path / "a.tar"), scanner)
    assert [(f.rule, f.member) for f in found] == [("github-pat", f"commit {commit[:12]}:config/.env")]


def test_an_archive_that_goes_on_over_windows_is_opened(tmp_path: Path, scanner: Scanner) -> None:
    noise = bytes(range(256)) * 4096 * 6
    data = zipped({"noise": noise, "c.env": TEXT}, zipfile.ZIP_STORED)
    built = image(layer({"srv/big.zip": data}))
    (finding,) = audited(built.docker_archive(tmp_path / "a.tar"), scanner)
    assert finding.member == "c.env"


def test_recover_takes_a_member(cli: Cli) -> None:
    built = image(layer({"srv/a.zip": zipped({"b/c.env": TEXT})}), layer(whiteout("srv/a.zip")))
    target = built.docker_archive(cli.folder / "a.tar")
    (finding,) = [f for f in cli("scan", target, "--format", "json").json["findings"] if f["rule"] == "github-pat"]
    command = finding["recover"].replace("'", "").split()[1:]
    assert command[2] == "/srv/a.zip!b/c.env"
    assert cli(*command).out == TEXT.decode()
    missing = cli("recover", target, "/srv/a.zip!nope")
    assert missing.status == 2 and "has no member nope" in missing.err


def test_what_was_not_opened_stands_in_the_report(tmp_path: Path, scanner: Scanner) -> None:
    built = image(layer({"srv/broken.zip": b"PK\x03\x04" + b"\xff" * 600}))
    (result,) = audit(str(built.docker_archive(tmp_path / "a.tar")), scanner, Request())
    assert result.skipped and result.skipped[0].path == "/srv/broken.zip"
