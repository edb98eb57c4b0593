"""JUnit XML, as Jenkins and GitLab read it: a test suite an image, a test case a finding.

What would fail the run (--fail-on) is a failure, what is less severe is skipped; an image without findings is one test
that passes. A target that was not audited is a test suite with one error.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from auditor.core.finding import Finding, Severity
from auditor.core.text import printable, shortened
from auditor.findings.selection import fails
from auditor.pipeline import Audit, Failure
from auditor.report.words import MAX_PATH, fate, image_name, not_audited, place, shown_secret, summary


def render(
    audits: Sequence[Audit],
    created: str,
    *,
    failures: Sequence[Failure] = (),
    fail_on: Severity | None = Severity.HIGH,
    show_secrets: bool = False,
) -> str:
    """Return the report as XML text. `created` is RFC 3339 in UTC; None for `fail_on` fails nothing."""
    failed = [sum(fails([finding], fail_on) for finding in audit.findings) for audit in audits]
    total = sum(max(len(audit.findings), 1) for audit in audits) + len(failures)
    counts = {"tests": str(total), "failures": str(sum(failed)), "errors": str(len(failures))}
    root = ET.Element("testsuites", {"name": "image-audit", **counts})
    for audit, count in zip(audits, failed, strict=True):
        _suite(root, audit, count, created, fail_on, show_secrets)
    for failure in failures:
        _failed_suite(root, failure, created)
    ET.indent(root)
    # A string is built whole, so that its declaration can name the encoding it is written in.
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(
    root: ET.Element, audit: Audit, failed: int, created: str, fail_on: Severity | None, show_secrets: bool
) -> None:
    name = image_name(audit)
    tests = len(audit.findings)
    suite = ET.SubElement(
        root, "testsuite", name=name, tests=str(max(tests, 1)), failures=str(failed), errors="0",
        skipped=str(tests - failed), timestamp=created.removesuffix("Z"),
    )  # fmt: skip
    properties = ET.SubElement(suite, "properties")
    for key, value in _properties(audit).items():
        ET.SubElement(properties, "property", name=key, value=printable(value))
    for finding in audit.findings:
        _case(suite, audit, finding, fails([finding], fail_on), show_secrets)
    if not audit.findings:
        of = " in what was read" if audit.skipped else ""
        ET.SubElement(suite, "testcase", classname=name, name=f"no secrets{of}")
    ET.SubElement(suite, "system-out").text = summary(audit)
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
    ET.SubElement(case, "error", type="not-audited", message=printable(failure.reason)).text = not_audited(failure)


def _properties(audit: Audit) -> dict[str, str]:
    image = audit.image
    facts = {"image.id": image.id, "image.digest": image.digest, "ruleset": audit.ruleset.digest}
    return {key: str(value) for key, value in facts.items() if value}


def _case(suite: ET.Element, audit: Audit, finding: Finding, failed: bool, show_secrets: bool) -> None:
    # GitLab keeps one of several cases of the same name: the id tells them apart.
    case = ET.SubElement(
        suite, "testcase", classname=image_name(audit), name=f"{finding.rule} in {place(finding)} [{finding.id}]"
    )
    secret = shown_secret(finding, show_secrets)
    message = f"{finding.severity.upper()} {printable(finding.name)} {secret}, {finding.state}"
    outcome = ET.SubElement(case, "failure" if failed else "skipped", type=finding.rule, message=message)
    lines = [*fate(finding, audit.limits), *(printable(sentence) for sentence in finding.advice)]
    if finding.recover:
        lines.append(f"still to be had by: {printable(finding.recover)}")
    outcome.text = "\n".join(lines)
