"""JUnit XML for Jenkins and GitLab: one test suite an image, one test case a finding.

Findings at or above --fail-on are failures, less severe ones are skipped tests. An image without findings is one passed
test. A target that was not audited is a test suite with one error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from xml.etree import ElementTree as ET

from auditor.core.finding import Finding
from auditor.core.text import printable, shortened
from auditor.findings.secret_groups import verdict
from auditor.findings.selection import fails
from auditor.pipeline import Audit, Failure
from auditor.report.finding_text import (
    MAX_PATH,
    coverage_text,
    failure_text,
    history_lines,
    image_name,
    location_text,
    secret_text,
    verdict_text,
)
from auditor.report.render_options import RenderOptions


def render(audits: Sequence[Audit], options: RenderOptions) -> str:
    """Return the report as XML text."""
    failed = [sum(fails([finding], options.fail_on) for finding in audit.findings) for audit in audits]
    total = sum(max(len(audit.findings), 1) for audit in audits) + len(options.failures)
    counts = {"tests": str(total), "failures": str(sum(failed)), "errors": str(len(options.failures))}
    root = ET.Element("testsuites", {"name": "image-audit", **counts})
    for audit, count in zip(audits, failed, strict=True):
        _suite(root, audit, count, options)
    for failure in options.failures:
        _failed_suite(root, failure, options.created)
    ET.indent(root)
    # ET.tostring(encoding="unicode") would leave the encoding out of the declaration.
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, audit: Audit, failed: int, options: RenderOptions) -> None:
    name = image_name(audit)
    tests = len(audit.findings)
    suite = ET.SubElement(
        root, "testsuite", name=name, tests=str(max(tests, 1)), failures=str(failed), errors="0",
        skipped=str(tests - failed), timestamp=options.created.removesuffix("Z"),
    )  # fmt: skip
    properties = ET.SubElement(suite, "properties")
    counts = asdict(verdict(audit.secrets, options.fail_on))
    for key, value in (_properties(audit) | {f"verdict.{key}": str(count) for key, count in counts.items()}).items():
        ET.SubElement(properties, "property", name=key, value=printable(value))
    for finding in audit.findings:
        _case(suite, audit, finding, fails([finding], options.fail_on), options.show_secrets)
    if not audit.findings:
        scope = " in what was read" if audit.skipped else ""
        ET.SubElement(suite, "testcase", classname=name, name=f"no secrets{scope}")
    ET.SubElement(suite, "system-out").text = f"{verdict_text(audit)} {coverage_text(audit, options.fail_on)}"
    if audit.skipped:
        lines = (f"not read: {item.path or 'image'}, layer {item.layer}: {item.reason}" for item in audit.skipped)
        ET.SubElement(suite, "system-err").text = "\n".join(printable(line) for line in lines)


def _failed_suite(root: ET.Element, failure: Failure, created: str) -> None:
    name = shortened(printable(failure.target), MAX_PATH)
    suite = ET.SubElement(
        root, "testsuite", name=name, tests="1", failures="0", errors="1", skipped="0",
        timestamp=created.removesuffix("Z"),
    )  # fmt: skip
    case = ET.SubElement(suite, "testcase", classname=name, name="not audited")
    ET.SubElement(case, "error", type="not-audited", message=printable(failure.reason)).text = failure_text(failure)


def _properties(audit: Audit) -> dict[str, str]:
    image = audit.image
    facts = {"image.id": image.id, "image.digest": image.digest, "ruleset": audit.ruleset.digest}
    return {key: str(value) for key, value in facts.items() if value}


def _case(suite: ET.Element, audit: Audit, finding: Finding, failed: bool, show_secrets: bool) -> None:
    # GitLab merges test cases of the same name: the id keeps them apart.
    case = ET.SubElement(
        suite,
        "testcase",
        classname=image_name(audit),
        name=f"{finding.rule} in {location_text(finding)} [{finding.id}]",
    )
    secret = secret_text(finding, show_secrets)
    message = f"{finding.severity.upper()} {printable(finding.name)} {secret}, {finding.state}"
    outcome = ET.SubElement(case, "failure" if failed else "skipped", type=finding.rule, message=message)
    lines = [*history_lines(finding, audit.limits), *(printable(sentence) for sentence in finding.advice)]
    if finding.recover:
        lines.append(f"recover with: {printable(finding.recover)}")
    outcome.text = "\n".join(lines)
