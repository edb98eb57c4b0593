"""Previews never show a secret; recovered files are new and complete."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from auditor.core.entries import FileVersion
from auditor.core.errors import AuditError, RecoverError, UsageError
from auditor.core.finding import Confidence
from auditor.core.secret import Secret
from auditor.explore.file_contents import FileContents, Preview, _preview
from auditor.scan.record import LayerMatch
from tests.explore.conftest import TOKENS, Explored


def version(explored: Explored, path: str, layer: int = 0) -> FileVersion:
    return FileVersion(layer, explored.audit.records[layer].listing.paths.index(path))


def preview(explored: Explored, path: str, layer: int = 0) -> Preview:
    found = explored.contents.preview(version(explored, path, layer))
    assert not any(token in repr(found) for token in TOKENS)
    return found


def test_a_deleted_file_is_shown_with_its_secret_masked(explored: Explored) -> None:
    first, second = preview(explored, "root/.netrc").lines
    assert first == "machine example.com login me"
    assert second.startswith("password ghp_****")


def test_each_version_of_a_path_has_its_own_content(explored: Explored) -> None:
    assert len(preview(explored, "app/.env").lines) == 3
    assert len(preview(explored, "app/.env", 1).lines) == 1
    assert preview(explored, "app/linked") == preview(explored, "app/.env")


def test_a_long_file_is_cut_and_the_rest_is_counted(explored: Explored) -> None:
    found = preview(explored, "app/long.log")
    assert found.lines[0] == "line 0" and len(found.lines) < 20_000
    assert found.note.endswith("more, not shown")


def test_no_part_of_a_secret_at_the_cut_is_shown(explored: Explored) -> None:
    (line,) = preview(explored, "app/edge.log").lines
    assert line.endswith(" TOKEN=")


@pytest.mark.parametrize("name", ["secret.b64", "secret.gz"])
def test_an_encoded_secret_is_not_shown_at_all(explored: Explored, name: str) -> None:
    found = preview(explored, f"app/{name}")
    assert not found.lines and "encoded" in found.note


def test_binary_files_and_links_are_described(explored: Explored) -> None:
    assert preview(explored, "usr/bin/tool") == Preview((), "binary file, 600 B. Press r to recover it")
    assert preview(explored, "app/current").note.startswith("symbolic link to /srv/ghp_****")


def test_control_characters_are_escaped(explored: Explored) -> None:
    assert preview(explored, "usr/share/[red]markup").lines == ("plain\\x1b[31m text",)


def test_the_preview_ends_before_a_secret_that_the_search_misses() -> None:
    data = b"one\nTOKEN=hidden\nthree\n"
    known = LayerMatch(0, "rule", Secret("hidden", "hi****"), 2, data.index(b"hidden"), "none", Confidence.LOW)
    found = _preview(data, len(data), [], [known])
    assert found.lines == ("one",) and "can't be masked" in found.note
    assert _preview(data, len(data), [], [replace(known, line=None)]).lines == ("",)


def test_a_file_is_recovered_with_its_mode(explored: Explored, tmp_path: Path) -> None:
    output = tmp_path / "old.netrc"
    written = explored.contents.recover(version(explored, "root/.netrc"), output)
    assert TOKENS[0] in output.read_text() and written == output.stat().st_size
    explored.contents.recover(version(explored, "app/.env", 1), tmp_path / "env")
    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o600


def test_recovery_overwrites_nothing(explored: Explored, tmp_path: Path) -> None:
    output = tmp_path / "mine"
    output.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        explored.contents.recover(version(explored, "root/.netrc"), output)
    assert output.read_text() == "mine"
    with pytest.raises(AuditError, match=r"not a regular file|no layer has"):
        explored.contents.recover(version(explored, "app/current"), tmp_path / "link")
    assert not (tmp_path / "link").exists()


def test_rules_that_the_audit_left_out_mask_too(explored: Explored) -> None:
    options = replace(explored.contents._options, only_rules=("aws-access-key-id",))
    narrow = replace(explored.audit, records=[replace(record, matches=()) for record in explored.audit.records])
    found = FileContents(explored.target, narrow, options).preview(version(explored, "root/.netrc"))
    assert "ghp_****" in found.lines[1]


def test_an_image_that_changed_since_the_audit_is_refused(explored: Explored) -> None:
    other = replace(explored.audit, image=replace(explored.audit.image, id=None))
    contents = FileContents(explored.target, other, explored.contents._options)
    with pytest.raises(RecoverError, match="changed since the audit"):
        contents.preview(version(explored, "root/.netrc"))
