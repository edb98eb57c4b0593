"""What an overlay file system reads and this program does not follow, or no engine ever shows, is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor.core.errors import ImageError
from auditor.detect.rules import Ruleset
from auditor.pipeline import Audit, Request, audit
from auditor.rebuild.flatten import FlattenJob, flatten
from auditor.rebuild.source_images import ALL_FINDINGS
from auditor.scan import Scanner
from tests.conftest import Cli
from tests.engines.docker import archive
from tests.engines.rawtar import Entry, tar
from tests.images import token

_SECRET = f"token {token()}\n".encode()
_XATTR = "SCHILY.xattr."


@pytest.fixture(scope="module")
def scanner(ruleset: Ruleset, cache: Path) -> Iterator[Scanner]:
    made = Scanner(ruleset, cache=cache)
    yield made
    made.close()


def image_of(folder: Path, *layers: bytes) -> Path:
    path = folder / "image.tar"
    path.write_bytes(archive({"markers:1": layers}))
    return path


def audited(scanner: Scanner, path: Path) -> Audit:
    (found,) = audit(str(path), scanner, Request(selection=ALL_FINDINGS))
    return found


@pytest.mark.parametrize("name", ["trusted.overlay.redirect", "trusted.overlay.metacopy", "user.overlay.opaque"])
def test_an_attribute_that_has_an_engine_show_other_files_is_named_and_not_flattened(
    scanner: Scanner, tmp_path: Path, name: str
) -> None:
    below = tar(Entry(b"d", b"5"), Entry(b"d/a", data=_SECRET))
    path = image_of(tmp_path, below, tar(Entry(b"e", b"5", pax={_XATTR + name: "/d"})))
    (skipped,) = audited(scanner, path).skipped
    assert (skipped.path, skipped.layer) == ("/e", 1) and name in skipped.reason
    with pytest.raises(ImageError, match=f"/e has the extended attribute {name}"):
        flatten(FlattenJob(str(path)), scanner, tmp_path / "out.tar")


def test_only_some_of_many_such_entries_are_named(scanner: Scanner, tmp_path: Path) -> None:
    entries = [Entry(b"%d" % n, b"5", pax={_XATTR + "trusted.overlay.redirect": "/d"}) for n in range(100)]
    skipped = audited(scanner, image_of(tmp_path, tar(*entries))).skipped
    assert len(skipped) == scanner.limits.notes + 1 and skipped[-1].path is None


def test_the_body_of_a_whiteout_is_searched_recovered_and_removed(scanner: Scanner, tmp_path: Path, cli: Cli) -> None:
    path = image_of(tmp_path, tar(Entry(b"a", data=b"x")), tar(Entry(b".wh.a", data=_SECRET), Entry(b"b", data=b"y")))
    (finding,) = audited(scanner, path).findings
    assert (finding.path, finding.state, finding.added_in, finding.hidden_in) == ("/.wh.a", "deleted", 1, 1)
    assert cli("recover", path, "/.wh.a", "--layer", 1).raw == _SECRET
    for way in ("full", "minimal", "excise"):
        out = tmp_path / f"{way}.tar"
        (done,) = flatten(FlattenJob(str(path), way), scanner, out)
        assert not done.after.findings and _SECRET not in out.read_bytes()


def test_a_file_is_recovered_by_the_name_of_the_tar_and_by_its_real_path(tmp_path: Path, cli: Cli) -> None:
    usr = [Entry(b"usr", b"5"), Entry(b"usr/bin", b"5"), Entry(b"bin", b"2", link=b"usr/bin")]
    path = image_of(tmp_path, tar(*usr, Entry(b"bin/t", data=_SECRET)), tar(Entry(b"usr/bin/.wh.t")))
    for name in ("/bin/t", "/usr/bin/t"):
        assert cli("recover", path, name).raw == _SECRET
