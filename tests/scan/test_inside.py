"""What is packed or encoded in a layer's files is found, placed and brought back."""

from __future__ import annotations

import base64
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
from auditor.scan import Scanner
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


@pytest.mark.parametrize("compression", ["plain", "gzip"])
def test_a_zip_of_several_windows_is_read_where_it_is_stored(
    compression: str, tmp_path: Path, scanner: Scanner
) -> None:
    files = {"noise": random.Random(1).randbytes(5 << 20), "b/c.env": TEXT}
    data = b"#!/bin/sh\npassword=" + SECRET.encode() + b"\n" + zipped(files)
    built = image(layer({"srv/before": b"x" * 700, "srv/a.jar": b"", "srv/b.jar": data, "srv/after": TEXT}))
    archive = built.oci_archive(tmp_path / "a.tar", compression)
    found = [(f.path, f.member, f.line) for f in audited(archive, scanner) if f.rule == "github-pat"]
    assert ("/srv/b.jar", "b/c.env", 3) in found and ("/srv/after", None, 3) in found


def test_a_zip_larger_than_what_is_read_into_memory_is_opened_in_an_uncompressed_layer(
    tmp_path: Path, ruleset: Ruleset, cache: Path
) -> None:
    files = {"noise": random.Random(1).randbytes(5 << 20), "b/c.env": TEXT}
    built = image(layer({"srv/a.jar": zipped(files)}))
    with closing(Scanner(ruleset, 1, cache=cache, limits=Limits(archive_bytes=1 << 20))) as small:
        (result,) = audit(str(built.docker_archive(tmp_path / "a.tar")), small, Request())
    assert [(f.member, f.line) for f in result.findings] == [("b/c.env", 3)] and not result.skipped


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
