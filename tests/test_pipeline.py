"""From a target to its audits: when layers are scanned, and when the worker processes end."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from auditor import pipeline
from auditor.detect.rules import Ruleset
from auditor.layers.file_history import FileHistory
from auditor.scan import Scanner
from tests.images import COMPRESSIONS, story

STORY, _ = story(43)


@pytest.mark.parametrize("compression", [None, *COMPRESSIONS])
@pytest.mark.parametrize(("most", "released"), [(3, ["released"]), (4, [])])
def test_workers_end_before_the_history_of_many_files_and_each_layer_is_scanned_once(
    ruleset: Ruleset, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    compression: str | None, most: int, released: list[str],
) -> None:  # fmt: skip
    events, history, read, release = list[str](), FileHistory, Scanner.read_layer, Scanner.release

    def told(event: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            events.append(event)
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(pipeline, "_MANY", most)
    monkeypatch.setattr(pipeline, "FileHistory", told("history", history))
    monkeypatch.setattr(Scanner, "read_layer", told("layer", read))
    monkeypatch.setattr(Scanner, "release", told("released", release))
    archive = tmp_path / "layer2.tar"
    built = STORY.docker_archive(archive) if compression is None else STORY.oci_archive(archive, compression)
    with closing(Scanner(ruleset, 2, cache=cache)) as scanner:
        (audit,) = pipeline.audit(str(built), scanner, pipeline.Request())
    layers = len(audit.records)
    assert sum(len(record.listing) for record in audit.records) == 4 and audit.findings
    assert events == ["layer"] * layers + released + ["history"]
