"""Reports: valid, complete, in a fixed order, masked and escaped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from auditor.core.finding import Confidence
from auditor.core.text import instruction, printable, size
from auditor.findings.selection import Selection
from auditor.pipeline import Audit, Request, audit
from auditor.report import html, image_history, json_report, table
from auditor.report.render_options import RenderOptions
from auditor.report.schema import report_schema
from auditor.scan import Scanner
from auditor.store.records import Records
from tests.images import Built, file, hardlink, image, layer, step, story, token, whiteout

CREATED = "2026-11-24T05:00:00Z"
OPTIONS = RenderOptions(CREATED)
VALIDATOR = jsonschema.Draft202012Validator(report_schema())


def audited(built: Built, tmp_path: Path, scanner: Scanner, request: Request | None = None) -> Audit:
    records = Records(scanner, keep_secrets=True)
    (result,) = audit(str(built.docker_archive(tmp_path / "image.tar")), scanner, request or Request(), records)
    return result


def planted() -> tuple[Built, list[str]]:
    """An image with a secret in every state and in the metadata."""
    secrets = [token(seed) for seed in range(100, 106)]
    built = image(
        layer({"deleted": secrets[0], "overwritten": secrets[1], "touched": secrets[2]}),
        layer({"present": f"a\nb\n{secrets[3]}\n", "touched": secrets[2], "overwritten": secrets[4]}),
        layer(whiteout("deleted")),
        history=[
            step(f"RUN |1 TOKEN={secrets[5]} /bin/sh -c make # buildkit"),
            step("ENV A=1", empty=True),
            step("COPY . . # buildkit", comment="buildkit.dockerfile.v0"),
            step("RUN rm deleted"),
        ],
        config={"Env": ["PATH=/bin", f"TOKEN={secrets[5]}"], "Labels": {"x.token": secrets[5]}},
    )
    return built, secrets


def test_the_json_report_is_valid_and_complete(tmp_path: Path, scanner: Scanner) -> None:
    built, _ = planted()
    report = json_report.json_document([audited(built, tmp_path, scanner)], OPTIONS)
    VALIDATOR.validate(report)
    found = {(f["path"] or f["where"], f["state"], f["added_in"], f["hidden_in"]) for f in report["findings"]}
    assert found == {
        ("/deleted", "deleted", 0, 2),
        ("/overwritten", "overwritten", 0, 1),
        ("/overwritten", "present", 1, None),
        ("/touched", "present", 0, None),
        ("/present", "present", 1, None),
        ("config.Env[1]", "metadata", None, None),
        ("config.Labels.x.token", "metadata", None, None),
        ("history[0].created_by", "metadata", 0, None),
    }
    assert [step["layer"] for step in report["image"]["history"]] == [0, None, 1, 2]
    assert report["summary"] == {
        "findings": 8,
        "by_severity": {"critical": 8},
        "by_state": {"deleted": 1, "overwritten": 1, "present": 3, "metadata": 3},
    }
    assert next(f["line"] for f in report["findings"] if f["path"] == "/present") == 3
    same = {f["secret_id"] for f in report["findings"] if f["state"] == "metadata"}
    assert len(same) == 1


def test_no_format_shows_a_secret_whole(tmp_path: Path, scanner: Scanner) -> None:
    built, secrets = planted()
    result = [audited(built, tmp_path, scanner)]
    texts = [
        json_report.render(result, OPTIONS),
        html.render(result, OPTIONS),
        table.render(result, OPTIONS),
        image_history.render(result),
        image_history.render_json(result),
        repr(result),
    ]
    for text in texts:
        for secret in secrets:
            assert secret not in text
            assert secret[4:-4] not in text


def test_two_runs_differ_in_nothing(tmp_path: Path, scanner: Scanner) -> None:
    built, _ = planted()
    first, second = (json_report.render([audited(built, tmp_path, scanner)], OPTIONS) for _ in range(2))
    assert first == second


def test_ids_survive_a_new_line_above_and_a_new_layer_below(tmp_path: Path, scanner: Scanner) -> None:
    secret = token(7)
    before = audited(image(layer({"a/.env": f"T={secret}\n"})), tmp_path, scanner)
    after = audited(image(layer({"x": "y"}), layer({"a/.env": f"# new\nT={secret}\n"})), tmp_path, scanner)
    assert [f.id for f in before.findings] == [f.id for f in after.findings]
    assert [f.line for f in after.findings] == [2]


def test_a_history_that_does_not_fit_the_layers_is_not_guessed_at(tmp_path: Path, scanner: Scanner) -> None:
    for steps in ([step("RUN one")], [step("RUN one"), step("RUN two"), step("RUN three")], []):
        built = image(layer({"a": token(8)}), layer(whiteout("a")), history=steps)
        report = json_report.json_document([audited(built, tmp_path, scanner)], OPTIONS)
        VALIDATOR.validate(report)
        assert all(item["layer"] is None for item in report["image"]["history"])
        (finding,) = report["findings"]
        assert (finding["added_in"], finding["added_by"], finding["hidden_in"], finding["hidden_by"]) == (
            0,
            None,
            1,
            None,
        )


def test_a_secret_gone_and_back_is_two_findings_and_one_touched_is_one(tmp_path: Path, scanner: Scanner) -> None:
    secret = token(9)
    built = image(
        layer({"a": secret}), layer(file("a", secret, mode=0o600)), layer(whiteout("a")), layer({"a": secret})
    )
    found = audited(built, tmp_path, scanner).findings
    assert [(f.state, f.added_in, f.hidden_in) for f in found] == [("deleted", 0, 2), ("present", 3, None)]
    assert len({f.id for f in found}) == 2


def test_each_name_of_a_hard_linked_file_is_a_finding(tmp_path: Path, scanner: Scanner) -> None:
    built = image(layer(file("a", token(10)), hardlink("b", "a")), layer(whiteout("a")))
    found = audited(built, tmp_path, scanner).findings
    assert [(f.path, f.state) for f in found] == [("/a", "deleted"), ("/b", "present")]


def test_a_parent_replaced_hides_the_secret_below_it(tmp_path: Path, scanner: Scanner) -> None:
    built = image(layer({"d/e/a": token(11)}), layer(file("d", "now a file")))
    (finding,) = audited(built, tmp_path, scanner).findings
    assert (finding.state, finding.hidden_in) == ("deleted", 1)


def test_hidden_files_and_plans_add_up(tmp_path: Path, scanner: Scanner) -> None:
    built = image(
        layer({"big": b"\x01" * 70_000}),
        layer({"a": token(12)}),
        layer(whiteout("a"), whiteout("big")),
        layer({"b": "x"}),
    )
    report = json_report.json_document([audited(built, tmp_path, scanner)], OPTIONS)
    assert report["hidden_files"]["count"] == 2
    assert report["hidden_files"]["largest"][0] == {
        "path": "/big", "size": 70_000, "added_in": 0, "hidden_in": 2, "state": "deleted",
    }  # fmt: skip
    assert sum(item["hidden_bytes"] for item in report["image"]["layers"]) == report["hidden_files"]["bytes"]
    plans = {plan["method"]: plan for plan in report["flatten"]["plans"]}
    assert (plans["excise"]["layers_kept"], plans["minimal"]["layers_kept"], plans["full"]["layers_kept"]) == (3, 1, 0)
    assert report["flatten"]["minimal_from"] == 1
    assert plans["full"]["size_after"] < plans["minimal"]["size_after"] < plans["excise"]["size_after"]


def test_nothing_hidden_needs_no_flattening(tmp_path: Path, scanner: Scanner) -> None:
    report = json_report.json_document([audited(image(layer({"a": token(13)})), tmp_path, scanner)], OPTIONS)
    assert not report["flatten"]["recommended"] and report["flatten"]["reasons"] == []


def test_low_confidence_is_left_out_unless_asked_for(tmp_path: Path, scanner: Scanner) -> None:
    secret = token(14)
    wrong = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    built = image(layer({"a": wrong}))
    assert audited(built, tmp_path, scanner).findings == ()
    request = Request(selection=Selection(min_confidence=Confidence.LOW))
    (finding,) = audited(built, tmp_path, scanner, request).findings
    assert (finding.check, finding.confidence) == ("failed", "low")


NASTY = "a\x1b[31m\u202egnp.\u2028<script>alert(1)</script>{{7*7}}\n'\"&"


def test_names_of_an_image_act_neither_on_a_terminal_nor_on_a_browser(tmp_path: Path, scanner: Scanner) -> None:
    built = image(layer({NASTY.replace("/", "-"): token(15)}), history=[step("RUN " + NASTY)])
    result = [audited(built, tmp_path, scanner)]
    shown, page = table.render(result, OPTIONS), html.render(result, OPTIONS)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]", shown)
    assert "<script>alert" not in page and "\u202e" not in page
    assert "{{7*7}}" in page  # shown as it stands, not reckoned
    json.loads(json_report.render(result, OPTIONS))


def test_the_page_asks_for_nothing_from_anywhere(tmp_path: Path, scanner: Scanner) -> None:
    built, _ = planted()
    page = html.render([audited(built, tmp_path, scanner)], OPTIONS)
    assert "default-src 'none'" in page
    assert not re.search(r"<(img|iframe|object|form [^>]*action)\b|\burl\(|@import|\bsrc=", page)
    assert re.findall(r"<link [^>]*?href=\"(.{5})", page) == ["data:"]


@pytest.mark.parametrize(
    ("created_by", "want"),
    [
        ('/bin/sh -c #(nop)  CMD ["sh"]', 'CMD ["sh"]'),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("RUN /bin/sh -c apt-get update # buildkit", "RUN apt-get update"),
        ("COPY a b # buildkit", "COPY a b"),
        ("sh -c echo x", "sh -c echo x"),
        (None, ""),
    ],
)
def test_a_step_is_shown_as_its_dockerfile_says_it(created_by: str | None, want: str) -> None:
    assert instruction(created_by) == want


def test_numbers_and_texts_for_people() -> None:
    assert [size(n) for n in (0, 999, 7_460_000, 2_450_000_000)] == ["0 B", "999 B", "7.46 MB", "2.45 GB"]
    assert printable("é\x1b\u202e\udce9") == "é\\x1b\\u202e\\udce9"


def test_a_story_in_the_table(tmp_path: Path, scanner: Scanner) -> None:
    built, secret = story(3)
    text = table.render([audited(built, tmp_path, scanner)], RenderOptions(CREATED, width=80))
    words = " ".join(text.split())
    assert "added in layer 1 by sh -c echo" in words and "deleted in layer 2 by sh -c" in words
    assert "still recoverable: image-audit recover" in words and secret not in text
