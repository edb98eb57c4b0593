"""SARIF, GitLab, JUnit, Markdown: valid by their schemas, with the findings of the JSON report.

test_format_table.py tests the common properties of all formats.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import xmlschema

from auditor.core.entries import Skipped
from auditor.core.finding import Severity, SourceLine, State
from auditor.pipeline import Audit, Request, audit
from auditor.report import gitlab, json_report, junit, markdown, sarif
from auditor.report.render_options import RenderOptions
from auditor.scan import Scanner
from tests.images import image, layer, token
from tests.report.samples import IMAGES, nothing, one
from tests.report.test_report import CREATED, OPTIONS, audited, planted

SCHEMAS = Path(__file__).parent / "schemas"
SARIF = jsonschema.Draft202012Validator(
    json.loads((SCHEMAS / "sarif-2.1.0.json").read_text()), format_checker=jsonschema.FormatChecker()
)
GITLAB = jsonschema.Draft7Validator(json.loads((SCHEMAS / "gitlab-secret-detection-15.2.1.json").read_text()))
JUNIT = xmlschema.XMLSchema(str(SCHEMAS / "junit-10.xsd"))


@pytest.fixture(params=IMAGES)
def planted_image(request: pytest.FixtureRequest, tmp_path: Path, scanner: Scanner) -> tuple[Audit, list[str]]:
    built, secrets = IMAGES[request.param]()
    return audited(built, tmp_path, scanner), secrets


def results(log: str) -> list[dict[str, Any]]:
    return [result for run in json.loads(log)["runs"] for result in run["results"]]


def test_each_is_valid_by_its_published_schema(planted_image: tuple[Audit, list[str]]) -> None:
    audits = [planted_image[0]] * 2
    SARIF.validate(json.loads(sarif.render(audits, OPTIONS)))
    GITLAB.validate(json.loads(gitlab.render(audits, OPTIONS)))
    JUNIT.validate(junit.render(audits, OPTIONS))


def test_each_holds_the_findings_of_the_json_report(planted_image: tuple[Audit, list[str]]) -> None:
    one_audit, secrets = planted_image
    found = json_report.image_report(one_audit, OPTIONS)["findings"]
    assert bool(found) == bool(secrets)
    wanted = Counter((finding["rule"], finding["secret"], finding["state"]) for finding in found)

    of_sarif = results(sarif.render([one_audit], OPTIONS))
    assert Counter((r["ruleId"], r["properties"]["secret"], r["properties"]["state"]) for r in of_sarif) == wanted
    assert [r["partialFingerprints"]["imageAuditFinding/v1"] for r in of_sarif] == [f["id"] for f in found]

    of_gitlab = json.loads(gitlab.render([one_audit], OPTIONS))["vulnerabilities"]
    assert [(v["identifiers"][0]["value"], v["details"]["state"]["value"]) for v in of_gitlab] == [
        (finding["rule"], finding["state"]) for finding in found
    ]
    assert len({v["id"] for v in of_gitlab}) == len(found)

    failures = ET.fromstring(junit.render([one_audit], RenderOptions(CREATED, fail_on=Severity.LOW))).findall(
        ".//failure"
    )
    assert Counter(failure.get("type") for failure in failures) == Counter(finding["rule"] for finding in found)

    rows = [line for line in markdown.render([one_audit], OPTIONS).splitlines() if line.startswith("| 🔴")]
    assert len(rows) == len(found)
    assert all(finding["secret"] in row for finding, row in zip(found, rows, strict=True))


class TestGitlab:
    def test_the_scan_is_named_and_timed(self) -> None:
        report = json.loads(gitlab.render([], OPTIONS))
        GITLAB.validate(report)
        assert report["version"] == "15.2.1" and report["scan"]["end_time"] == "2026-11-24T05:00:00"
        assert (report["scan"]["type"], report["scan"]["status"]) == ("secret_detection", "success")

    def test_ids_are_stable_and_differ_by_image(self, tmp_path: Path, scanner: Scanner) -> None:
        shown = audited(planted()[0], tmp_path, scanner)
        other = replace(shown, image=replace(shown.image, target="other:1"))
        ids = [v["id"] for v in json.loads(gitlab.render([shown, other], OPTIONS))["vulnerabilities"]]
        again = [v["id"] for v in json.loads(gitlab.render([shown, other], OPTIONS))["vulnerabilities"]]
        assert ids == again and len(set(ids)) == len(ids) == 2 * len(shown.findings)

    def test_the_line_of_the_dockerfile_is_the_place_where_it_is_known(self, tmp_path: Path, scanner: Scanner) -> None:
        shown = audited(one()[0], tmp_path, scanner)
        finding = replace(shown.findings[0], source=SourceLine("Dockerfile", 7))
        for findings, file_name, line in ((shown.findings, "a b/ü:#?.env", 2), ((finding,), "Dockerfile", 7)):
            (found,) = json.loads(gitlab.render([replace(shown, findings=findings)], OPTIONS))["vulnerabilities"]
            assert (found["location"]["file"], found["location"]["start_line"]) == (file_name, line)
            assert found["severity"] == "Critical" and found["links"][0]["url"].startswith("https://")

    def test_what_was_not_read_is_said(self, tmp_path: Path, scanner: Scanner) -> None:
        shown = replace(audited(one()[0], tmp_path, scanner), skipped=(Skipped("big", 1, "too large"),))
        report = json.loads(gitlab.render([shown], OPTIONS))
        GITLAB.validate(report)
        verdict, message = report["scan"]["messages"]
        assert verdict["level"] == "info"
        assert message["level"] == "warn" and message["value"].endswith("not read: big in layer 1: too large")


class TestJunit:
    def test_what_fails_the_run_is_a_failure_and_the_rest_is_skipped(self, tmp_path: Path, scanner: Scanner) -> None:
        shown = audited(planted()[0], tmp_path, scanner)
        low = replace(shown.findings[0], severity=Severity.LOW)
        mixed = replace(shown, findings=(*shown.findings[1:3], low))
        for fail_on, failures in ((Severity.HIGH, 2), (Severity.LOW, 3), (None, 0)):
            suite = ET.fromstring(junit.render([mixed], RenderOptions(CREATED, fail_on=fail_on))).find("testsuite")
            assert suite is not None
            counted = (suite.get("tests"), suite.get("failures"), suite.get("skipped"))
            assert counted == ("3", str(failures), str(3 - failures))
            assert (len(suite.findall(".//failure")), len(suite.findall(".//skipped"))) == (failures, 3 - failures)

    def test_an_image_without_findings_is_a_test_that_passes(self, tmp_path: Path, scanner: Scanner) -> None:
        root = ET.fromstring(junit.render([audited(nothing()[0], tmp_path, scanner)], OPTIONS))
        (case,) = root.findall(".//testcase")
        assert case.get("name") == "no secrets" and list(case) == [] and root.get("failures") == "0"

    def test_no_two_cases_of_a_suite_share_a_name(self, tmp_path: Path, scanner: Scanner) -> None:
        root = ET.fromstring(junit.render([audited(planted()[0], tmp_path, scanner)], OPTIONS))
        names = [case.get("name") for case in root.iter("testcase")]
        assert len(set(names)) == len(names) == 8


def test_several_platforms_stand_in_one_report(tmp_path: Path, scanner: Scanner) -> None:
    audits = []
    for number, architecture in enumerate(("amd64", "arm64")):
        built = image(layer({"a": token(320 + number)}), architecture=architecture)
        (result,) = audit(str(built.docker_archive(tmp_path / architecture)), scanner, Request())
        audits.append(replace(result, image=replace(result.image, target="app:1")))
    assert {state for one_audit in audits for state in {f.state for f in one_audit.findings}} == {State.PRESENT}
    root = ET.fromstring(junit.render(audits, OPTIONS))
    assert [suite.get("name") for suite in root] == ["app:1 (linux/amd64)", "app:1 (linux/arm64)"]
    text = markdown.render(audits, OPTIONS)
    assert text.count("### image-audit") == 2
    assert len(json.loads(gitlab.render(audits, OPTIONS))["vulnerabilities"]) == 2
