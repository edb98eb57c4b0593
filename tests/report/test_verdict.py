"""The verdict: the same counts in every format; secrets grouped, folded and in order of urgency."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from auditor.core.finding import Confidence, Finding, Package, Severity
from auditor.findings.secret_groups import Verdict, secret_groups, verdict
from auditor.pipeline import Audit
from auditor.report import json_report, junit, sarif, table
from auditor.report.formats import REPORT_FORMATS
from auditor.report.plan_text import package_secrets, plan_steps
from auditor.report.render_options import RenderOptions
from auditor.scan import Scanner
from tests.images import Built, image, layer, step, token, whiteout
from tests.report.browser.planted import many
from tests.report.test_report import CREATED, OPTIONS, audited, planted

EXPECTED = Verdict(secrets=4, places=9, recoverable=2, visible=3, failing=3)
TEXT = "4 secrets at 9 places; 2 hidden but recoverable, 3 visible"


def counted() -> Built:
    """Four secrets at nine places: one only hidden, one hidden and visible, a low one, one in three build steps."""
    secrets = [token(seed) for seed in range(400, 403)]
    key = token(403, "pk_live_{base62:24}")
    return image(
        layer({"gone": secrets[0], "both": secrets[1], "copy": secrets[1]}),
        layer(whiteout("gone"), whiteout("both"), {"b/key": key}),
        layer({"c": "x"}),
        history=[step(f"RUN |1 TOKEN={secrets[2]} /bin/sh -c step-{number}") for number in range(3)],
        config={"Env": [f"TOKEN={secrets[2]}"], "Labels": {"token": secrets[2]}},
    )


@pytest.fixture
def one(tmp_path: Path, scanner: Scanner) -> Audit:
    return audited(counted(), tmp_path, scanner)


def test_all_formats_show_the_same_counts(one: Audit) -> None:
    assert verdict(one.secrets, Severity.HIGH) == EXPECTED
    for name, row in REPORT_FORMATS.items():
        text = row.render([one], OPTIONS)
        if name == "json":
            assert json.loads(text)["verdict"] == {
                "leaks": True,
                **{k: getattr(EXPECTED, k) for k in Verdict.__slots__},
            }
        else:
            assert TEXT in re.sub(r"<[^>]*>", "", html.unescape(text)), name


def test_programs_read_the_counts_one_by_one(one: Audit) -> None:
    (run,) = json.loads(sarif.render([one], OPTIONS))["runs"]
    properties = ET.fromstring(junit.render([one], OPTIONS)).iter("property")
    of_junit = {item.get("name"): item.get("value") for item in properties}
    for name in Verdict.__slots__:
        assert run["properties"]["verdict"][name] == getattr(EXPECTED, name)
        assert of_junit[f"verdict.{name}"] == str(getattr(EXPECTED, name))


@pytest.mark.parametrize(("fail_on", "failing"), [(None, 0), (Severity.CRITICAL, 3), (Severity.LOW, 4)])
def test_failing_follows_fail_on(one: Audit, fail_on: Severity | None, failing: int) -> None:
    report = json_report.image_report(one, replace(OPTIONS, fail_on=fail_on))
    assert report["verdict"]["failing"] == failing


def test_secrets_name_their_findings_and_the_most_urgent_comes_first(one: Audit) -> None:
    report = json_report.image_report(one, OPTIONS)
    assert [item["severity"] for item in report["secrets"]] == ["critical", "critical", "critical", "low"]
    assert [item["states"] for item in report["secrets"][:2]] == [{"deleted": 1, "present": 1}, {"deleted": 1}]
    by_id = {finding["id"]: finding["secret_id"] for finding in report["findings"]}
    assert sorted(name for item in report["secrets"] for name in item["findings"]) == sorted(by_id)
    assert all(by_id[name] == item["secret_id"] for item in report["secrets"] for name in item["findings"])


def test_severity_counts_as_much_as_confidence(one: Audit) -> None:
    first, *_ = one.findings
    unsure = replace(first, secret_id="a", confidence=Confidence.LOW)
    certain = replace(first, secret_id="b", severity=Severity.HIGH)
    groups = secret_groups([unsure, certain])
    assert [group.first.secret_id for group in groups] == ["b", "a"]


def in_package(finding: Finding, number: int, unmodified: bool = True) -> Finding:
    package = Package("dpkg", "fixtures", "1.2", unmodified)
    return replace(finding, secret_id=f"p{number}", package=package)


def test_secrets_of_unmodified_package_files_are_one_line_a_package(one: Audit) -> None:
    shown = [finding for finding in one.findings if finding.state == "present"]
    folded = [in_package(finding, number) for number, finding in enumerate(shown)]
    changed = replace(one, findings=(*one.findings, *folded))
    (line,) = package_secrets(changed.secrets)
    assert line.text == f"dpkg fixtures 1.2: {len(folded)} secrets at {len(folded)} places, severity up to critical"
    assert line.text in table.render([changed], replace(OPTIONS, width=200))
    before, after = (plan_steps(audit, audit.secrets, False)[0] for audit in (one, changed))
    assert before == after  # their publisher revokes them, not the user


@pytest.mark.parametrize("change", [{"unmodified": False}, {"verified": "active"}])
def test_a_changed_file_and_a_live_secret_are_not_folded(one: Audit, change: dict[str, object]) -> None:
    finding = in_package(one.findings[0], 1, bool(change.get("unmodified", True)))
    finding = replace(finding, verified=change.get("verified"))  # type: ignore[arg-type]
    assert list(package_secrets(secret_groups([finding]))) == []


def test_a_build_argument_in_three_steps_is_one_place_and_one_fix(one: Audit) -> None:
    shown = table.render([one], OPTIONS)
    assert shown.count("history[") == 1 and "and 2 more build steps" in shown
    fixes = json_report.image_report(one, OPTIONS)["plan"]["fixes"]
    assert [fix["steps"] for fix in fixes if (fix["step"] or "").endswith("step-0")] == [3]


def test_the_verdict_comes_first_then_what_to_do(tmp_path: Path, scanner: Scanner) -> None:
    shown = table.render([audited(planted()[0], tmp_path, scanner)], OPTIONS)
    parts = ["LEAKS:", "1. Revoke 6 secrets", "2. Fix the build", "3. Flatten the image", "4. Remove what", "CRITICAL"]
    assert [shown.index(part) for part in parts] == sorted(shown.index(part) for part in parts)


def test_a_screen_has_24_lines_and_names_the_way_to_the_rest(tmp_path: Path, scanner: Scanner) -> None:
    one = audited(many(60), tmp_path, scanner)
    one = replace(one, image=replace(one.image, target="many.tar"))
    screen = table.render([one], RenderOptions(CREATED, width=80, one_screen=True))
    assert len(screen.splitlines()) < 24 and "--all" in screen and "high" in screen
    assert len(table.render([one], RenderOptions(CREATED, width=80)).splitlines()) > 200
