"""The Kyverno policy of docs/attest.md: its conditions read what a statement says, and admit clean ones alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditor.attest.statement import PREDICATE_TYPE, Statement, predicate
from auditor.core.finding import Confidence, Severity
from auditor.scan import Scanner
from tests.attest.test_statement import CLEAN, LEAKING, RUN, stated, unreadable
from tests.docs.page import ROOT

(BLOCK,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "attest.md").read_text(), re.DOTALL)
POLICY: dict[str, Any] = yaml.safe_load(BLOCK)
((RULE,),) = (rule["verifyImages"] for rule in POLICY["spec"]["rules"])
(ATTESTATION,) = RULE["attestations"]
((CONDITIONS,),) = (list(entry.values()) for entry in ATTESTATION["conditions"])


def value(key: str, document: dict[str, Any]) -> Any:
    """Look up an expression of dots in a predicate, as JMESPath does."""
    (path,) = re.findall(r"\{\{ ([a-z_.]+) \}\}", key)
    for name in path.split("."):
        document = document[name]
    return document


def admits(statement: Statement) -> bool:
    """Evaluate the conditions as Kyverno does, for a clock that stands."""
    document = predicate(statement)
    outcomes = []
    for condition in CONDITIONS:
        if "time_since" in condition["key"]:
            assert condition["operator"] == "LessThanOrEquals" and re.fullmatch(r"\d+h", condition["value"])
            assert value(re.findall(r"'(\{\{.*?\}\})'", condition["key"])[0], document) == RUN.finished
            continue
        found = value(condition["key"], document)
        wanted = condition["value"]
        outcomes.append(found in wanted if condition["operator"] == "AnyIn" else found == wanted)
        assert condition["operator"] in ("AnyIn", "Equals")
    return all(outcomes)


def test_it_requires_an_attestation_of_this_type_for_each_image() -> None:
    assert (POLICY["apiVersion"], POLICY["kind"]) == ("kyverno.io/v1", "ClusterPolicy")
    assert POLICY["spec"]["webhookConfiguration"]["failurePolicy"] == "Fail"
    assert RULE["failureAction"] == "Enforce" and RULE["required"] and RULE["verifyDigest"]
    assert ATTESTATION["type"] == PREDICATE_TYPE
    ((key,),) = ([entry["keys"]["publicKeys"] for entry in item["entries"]] for item in ATTESTATION["attestors"])
    assert key.startswith("k8s://")


def test_it_admits_clean_statements_alone(tmp_path: Path, scanner: Scanner) -> None:
    assert admits(stated(CLEAN, tmp_path, scanner))
    assert not admits(stated(LEAKING, tmp_path, scanner))
    assert not admits(stated(unreadable(), tmp_path, scanner))


@pytest.mark.parametrize("confidence", Confidence)
def test_it_demands_that_secrets_of_medium_confidence_count(
    confidence: Confidence, tmp_path: Path, scanner: Scanner
) -> None:
    statement = stated(CLEAN, tmp_path, scanner, replace(RUN, min_confidence=confidence))
    assert admits(statement) == (confidence is not Confidence.HIGH)


@pytest.mark.parametrize("severity", Severity)
def test_it_demands_that_high_secrets_fail(severity: Severity, tmp_path: Path, scanner: Scanner) -> None:
    statement = stated(CLEAN, tmp_path, scanner, replace(RUN, fail_on=severity))
    assert admits(statement) == (severity is not Severity.CRITICAL)
