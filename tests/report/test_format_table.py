"""Conformance of every row of REPORT_FORMATS: valid, complete, masked, deterministic, safe on a terminal.

A new format needs its row, and its entry in VALIDATE.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from auditor.core.entries import Skipped
from auditor.core.errors import NotFound, UsageError
from auditor.pipeline import Failure
from auditor.report import markdown
from auditor.report.formats import REPORT_FORMATS, ReportFormat, format_of_file
from auditor.report.render_options import RenderOptions
from auditor.report.schema import report_schema
from auditor.scan import Scanner
from tests.report.samples import IMAGES, hostile, nothing
from tests.report.test_formats import GITLAB, JUNIT, SARIF
from tests.report.test_report import CREATED, OPTIONS, audited, planted


def _valid_json(text: str) -> None:
    jsonschema.validate(json.loads(text), report_schema())


def _valid_table(text: str) -> None:
    assert all(line == line.rstrip() for line in text.splitlines())


def _valid_markdown(text: str) -> None:
    assert text.startswith("### image-audit") and len(text.encode()) <= markdown.MAX_BYTES


def _valid_html(text: str) -> None:
    assert text.startswith("<!doctype html>") and text.rstrip().endswith("</html>")
    assert "default-src 'none'" in text


VALIDATE: dict[str, Callable[[str], object]] = {
    "table": _valid_table,
    "json": _valid_json,
    "html": _valid_html,
    "sarif": lambda text: SARIF.validate(json.loads(text)),
    "markdown": _valid_markdown,
    "gitlab": lambda text: GITLAB.validate(json.loads(text)),
    "template": str.splitlines,
    "junit": JUNIT.validate,
}
_CALLED_CLEAN = re.compile(r"no secrets(?: found)?(?! (?:found )?in (?:what was read|the rest))", re.IGNORECASE)

every_format = pytest.mark.parametrize("row", REPORT_FORMATS.values(), ids=list(REPORT_FORMATS))


def test_names_endings_and_file_names_are_unique() -> None:
    assert all(name == row.name for name, row in REPORT_FORMATS.items())
    endings = Counter(suffix for row in REPORT_FORMATS.values() for suffix in (*row.suffixes, row.file_name))
    assert [ending for ending, count in endings.items() if ending and count > 1] == []


@every_format
def test_a_file_chooses_its_format(row: ReportFormat) -> None:
    names = [f"report{suffix}" for suffix in row.suffixes] + ([row.file_name] if row.file_name else [])
    assert names or row.name == "template", "a format needs a file ending or a file name"
    assert {format_of_file(Path("out") / name).name for name in names} <= {row.name}


def test_an_unknown_ending_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"-o a\.pdf: unknown file ending\. Use one of \.txt, \.json"):
        format_of_file(Path("a.pdf"))


@every_format
@pytest.mark.parametrize("sample", IMAGES)
def test_the_text_is_valid_and_counts_every_finding(
    row: ReportFormat, sample: str, tmp_path: Path, scanner: Scanner
) -> None:
    one = audited(IMAGES[sample]()[0], tmp_path, scanner)
    VALIDATE[row.name](row.render([one, one], OPTIONS))
    text = html.unescape(row.render([one], OPTIONS))
    for masked, count in Counter(finding.secret.masked for finding in one.findings).items():
        assert text.count(masked) >= count


@every_format
@pytest.mark.parametrize("sample", IMAGES)
def test_secrets_are_masked_unless_show_secrets_is_given(
    row: ReportFormat, sample: str, tmp_path: Path, scanner: Scanner
) -> None:
    built, secrets = IMAGES[sample]()
    one = audited(built, tmp_path, scanner)
    masked = row.render([one], OPTIONS)
    whole = row.render([one], RenderOptions(CREATED, show_secrets=True))
    assert not any(secret in masked or secret[4:-4] in masked for secret in secrets)
    assert all(finding.secret.reveal() in whole for finding in one.findings)


@every_format
def test_two_renderings_are_identical(row: ReportFormat, tmp_path: Path, scanner: Scanner) -> None:
    first, second = (row.render([audited(planted()[0], tmp_path, scanner)], OPTIONS) for _ in range(2))
    assert first == second


@every_format
def test_texts_of_an_image_do_not_act_on_a_terminal(row: ReportFormat, tmp_path: Path, scanner: Scanner) -> None:
    text = row.render([audited(hostile()[0], tmp_path, scanner)], OPTIONS)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]", text)


@every_format
def test_an_image_with_skipped_items_is_not_called_clean(row: ReportFormat, tmp_path: Path, scanner: Scanner) -> None:
    read = audited(nothing()[0], tmp_path, scanner)
    skipped = replace(read, skipped=(Skipped("/big", 0, "too large"),))
    assert not _CALLED_CLEAN.search(row.render([skipped], OPTIONS))
    assert "too large" in row.render([skipped], OPTIONS)


@every_format
def test_targets_that_were_not_audited_are_reported(row: ReportFormat) -> None:
    text = row.render([], replace(OPTIONS, failures=(Failure("lost:1", "no such image", NotFound("no such image")),)))
    VALIDATE[row.name](text)
    assert "lost:1" in text and "no such image" in text
