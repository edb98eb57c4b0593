"""SARIF: places, rules, fingerprints, runs and limits, as GitHub code scanning wants them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from auditor.core.entries import Skipped
from auditor.core.finding import SourceLine
from auditor.report import sarif
from auditor.scan import Scanner
from tests.images import image, layer, token
from tests.report.samples import hostile, nested, one
from tests.report.test_formats import SARIF, results
from tests.report.test_report import OPTIONS, audited, planted


def test_a_path_is_a_relative_uri_that_leads_back_to_it(tmp_path: Path, scanner: Scanner) -> None:
    for built in (one()[0], nested()[0], hostile()[0]):
        shown = audited(built, tmp_path, scanner)
        for finding, result in zip(shown.findings, results(sarif.render([shown], OPTIONS)), strict=True):
            place = result["locations"][0]["physicalLocation"]
            uri = place["artifactLocation"]["uri"]
            assert re.fullmatch(r"[A-Za-z0-9._~/%-]+", uri) and not uri.startswith("/")
            assert unquote(uri) == (finding.path or "/image-config").lstrip("/")
            assert place["region"]["startLine"] == (finding.line or 1)


def test_layer_image_and_member_are_logical_locations(tmp_path: Path, scanner: Scanner) -> None:
    shown = audited(nested()[0], tmp_path, scanner)
    (target,) = {r["locations"][0]["logicalLocations"][0]["name"] for r in results(sarif.render([shown], OPTIONS))}
    names = [
        [place["fullyQualifiedName"] for place in result["locations"][0]["logicalLocations"]]
        for result in results(sarif.render([shown], OPTIONS))
    ]
    member = f"{target}!layer 0!in ner.zip!b|c/.env"
    assert [target, f"{target}!layer 0", member] in names


def test_the_rules_carry_help_a_level_and_a_severity(tmp_path: Path, scanner: Scanner) -> None:
    (run,) = json.loads(sarif.render([audited(planted()[0], tmp_path, scanner)], OPTIONS))["runs"]
    rules = run["tool"]["driver"]["rules"]
    for rule in rules:
        assert "image-audit flatten" in rule["help"]["markdown"] and "https://" in rule["help"]["text"]
        assert 0 < float(rule["properties"]["security-severity"]) <= 10
        assert len(rule["properties"]["tags"]) <= 20 and rule["defaultConfiguration"]["level"] == "error"
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])


def test_a_fingerprint_survives_a_rebuild_and_a_new_line(tmp_path: Path, scanner: Scanner) -> None:
    secret = token(310)
    prints = []
    for built in (image(layer({"a": secret})), image(layer({"x": "y"}), layer({"a": f"# new\n{secret}"}))):
        (result,) = results(sarif.render([audited(built, tmp_path, scanner)], OPTIONS))
        prints.append(result["partialFingerprints"])
    assert prints[0] == prints[1]


def test_the_line_of_the_dockerfile_comes_first_where_it_is_known(tmp_path: Path, scanner: Scanner) -> None:
    shown = audited(one()[0], tmp_path, scanner)
    finding = replace(shown.findings[0], source=SourceLine("docker/Dockerfile", 7))
    text = sarif.render([replace(shown, findings=(finding,))], OPTIONS)
    SARIF.validate(json.loads(text))
    (result,) = results(text)
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("docker/Dockerfile", 7)
    (related,) = result["relatedLocations"]
    assert unquote(related["physicalLocation"]["artifactLocation"]["uri"]) == "a b/ü:#?.env"


def test_each_image_and_platform_is_a_run_of_its_own_category(tmp_path: Path, scanner: Scanner) -> None:
    amd, arm = one()[0], image(layer({"a": token(311)}), architecture="arm64")
    audits = [audited(built, tmp_path, scanner) for built in (amd, arm, amd)]
    runs = json.loads(sarif.render(audits, OPTIONS))["runs"]
    categories = [run["automationDetails"]["id"].rpartition("/")[0] for run in runs]
    assert len(set(categories)) == 3 and categories[1].endswith("/linux/arm64")
    assert runs[0]["automationDetails"]["id"] == f"image-audit/{audits[0].image.target}/linux/amd64/"


def test_what_was_not_read_and_what_is_left_out_is_said(tmp_path: Path, scanner: Scanner) -> None:
    shown = audited(one()[0], tmp_path, scanner)
    skipped = tuple(Skipped(f"a{number}", 0, "too large") for number in range(sarif.MAX_SKIPPED + 2))
    many = replace(shown, findings=shown.findings * (sarif.MAX_RESULTS + 3), skipped=skipped)
    (run,) = json.loads(sarif.render([many], OPTIONS))["runs"]
    told = [item["message"]["text"] for item in run["invocations"][0]["toolExecutionNotifications"]]
    assert len(run["results"]) == sarif.MAX_RESULTS and len(told) == sarif.MAX_SKIPPED + 2
    assert told[0] == "Not read: a0 in layer 0: too large"
    assert told[-2].startswith("2 more items") and told[-1].startswith("3 more findings")


def test_a_text_of_the_image_is_neither_placeholder_nor_link() -> None:
    assert sarif.message("{0} [a](http://b)") == {"text": "{ 0 } [a] (http://b)"}
