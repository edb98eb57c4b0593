"""The HTML page before any browser: what is drawn, what is counted, what the policy says."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from auditor.report import html
from auditor.report.html.file_rows import FolderRow, Row, layer_files
from auditor.report.html.image_view import views
from auditor.report.html.layer_chart import MOST_LANES, layer_chart
from auditor.report.json_report import image_report
from auditor.report.render_options import RenderOptions
from auditor.scan import Scanner
from tests.images import Built, image, layer
from tests.report.browser import planted


def page_of(reports: list[dict[str, Any]]) -> str:
    return html.render_page(reports, "report.html")


def documents(tmp_path: Path, scanner: Scanner, *images: Built) -> list[dict[str, Any]]:
    return [
        image_report(found, RenderOptions(planted.CREATED)) for found in planted.audited(tmp_path, scanner, *images)
    ]


def test_a_lane_runs_from_the_layer_that_adds_to_the_one_that_hides(tmp_path: Path, scanner: Scanner) -> None:
    (document,) = documents(tmp_path, scanner, planted.story())
    drawn = layer_chart(document)
    assert (drawn.grid.columns, drawn.grid.base, drawn.grouped, drawn.omitted) == (7, 0, False, 0)
    lanes = {document["findings"][lane.findings[0]]["path"]: lane for lane in drawn.lanes}
    netrc = lanes["/root/.netrc"]
    assert (netrc.start, netrc.turn, netrc.end) == (drawn.grid.center(1), drawn.grid.center(3), drawn.grid.center(6))
    assert netrc.key.text == "1 3 deleted"
    assert [lane.start for lane in drawn.lanes] == sorted(lane.start for lane in drawn.lanes)


def test_what_stands_in_no_layer_is_drawn_at_the_final_image(tmp_path: Path, scanner: Scanner) -> None:
    (document,) = documents(tmp_path, scanner, planted.story())
    label = next(f for f in document["findings"] if f["where"] == "config.Labels.ci.token")
    (lane,) = layer_chart({**document, "findings": [label]}).lanes
    assert lane.start == lane.turn == lane.end


def test_many_findings_share_lanes_and_the_rest_is_counted(tmp_path: Path, scanner: Scanner) -> None:
    (document,) = documents(tmp_path, scanner, planted.many(400))
    drawn = layer_chart(document)
    assert drawn.grouped and len(drawn.lanes) == MOST_LANES
    assert sum(len(lane.findings) for lane in drawn.lanes) + drawn.omitted == 400
    hidden = [lane for lane in drawn.lanes if lane.key.hidden is not None]
    assert len(hidden) >= MOST_LANES // 2 and len(hidden) < MOST_LANES
    for lane in drawn.lanes:
        assert sum(count for _, count in lane.by_severity) == len(lane.findings)


def test_a_finding_of_two_images_has_two_anchors(tmp_path: Path, scanner: Scanner) -> None:
    first, second = views(documents(tmp_path, scanner, planted.story(), planted.story()))
    assert first.anchors[0] == f"f-{first.report['findings'][0]['id']}"
    assert second.anchors[0] == f"{first.anchors[0]}-image2"
    assert not set(first.anchors) & set(second.anchors)


def test_what_was_not_read_is_listed_by_reason_most_frequent_first(tmp_path: Path, scanner: Scanner) -> None:
    (document,) = documents(tmp_path, scanner, planted.clean())
    skipped = [{"path": f"/{n}", "layer": 0, "reason": "locked"} for n in range(300)]
    skipped.append({"path": None, "layer": None, "reason": "a <reason>"})
    document = {**document, "skipped": skipped, "coverage": {**document["coverage"], "skipped": 301}}
    (view,) = views([document])
    assert [(item.reason, item.count, len(item.first)) for item in view.skipped] == [
        ("locked", 300, 200),
        ("a <reason>", 1, 1),
    ]
    page = page_of([document])
    assert "301 items" in page and "and 100 more" in page and "a &lt;reason&gt;" in page
    assert "No secrets found in what was read" in page


def test_what_is_ignored_is_said(tmp_path: Path, scanner: Scanner) -> None:
    (document,) = documents(tmp_path, scanner, planted.clean())
    page = page_of([{**document, "ignored": {**document["ignored"], "baseline": 2}}])
    assert "2 findings by the baseline (2)" in page and "No secrets found, except ignored ones" in page


def test_only_the_address_to_revoke_at_becomes_a_link(tmp_path: Path, scanner: Scanner) -> None:
    (document,) = documents(tmp_path, scanner, planted.story())
    first, *others = document["secrets"]
    finding = {
        **document["findings"][0],
        "advice": ["Revoke it at https://example.com/a?b=1&c=2: now.", "https://evil.example"],
    }
    secret = {**first, "findings": [finding["id"]], "revoke": "https://example.com/a?b=1&c=2"}
    plan = {**document["plan"], "revoke": [secret["secret_id"]]}
    page = page_of([{**document, "findings": [finding], "secrets": [secret], "plan": plan}])
    assert set(re.findall(r'<a href="(https?:[^"]*)"', page)) == {"https://example.com/a?b=1&amp;c=2"}
    unsafe = page_of([{**document, "secrets": [{**first, "revoke": "javascript:alert(1)"}, *others]}])
    assert "javascript:" not in unsafe


def test_the_policy_holds_the_digests_of_the_one_style_and_the_one_script(tmp_path: Path, scanner: Scanner) -> None:
    page = page_of(documents(tmp_path, scanner, planted.story(), planted.many(40, 9)))
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in page
    assert ".grid-7-0{--columns:7;--base:0}" in page and ".grid-10-0{--columns:10;--base:0}" in page


def test_each_layer_has_a_file_tree_with_links_to_its_secrets(tmp_path: Path, scanner: Scanner) -> None:
    (audit,) = planted.audited(tmp_path, scanner, planted.story())
    text = html.render([audit], RenderOptions(planted.CREATED))
    assert text.count('<details class="more files">') == 6
    ids = set(re.findall(r' id="([^"]+)"', text))
    linked = re.findall(r'<a class="has" href="#([^"]+)"', text)
    assert len(linked) == 7 and ids.issuperset(linked)  # of the deleted file in both layers


def test_a_file_tree_is_limited_and_says_how_many_files_are_left_out(tmp_path: Path, scanner: Scanner) -> None:
    many = image(layer({f"srv/{n % 40}/{n}": "x" * n for n in range(3000)}), layer({"/".join("ab" * 40): ""}))
    (audit,) = planted.audited(tmp_path, scanner, many)
    first, second = layer_files(audit, {})
    assert len(text_rows(first.rows)) <= 60
    (srv,) = first.rows
    assert isinstance(srv, FolderRow) and srv.rows is not None
    assert srv.omitted + len(srv.rows) == 40
    assert [row.node.name for row in text_rows(second.rows)] == ["/".join("ab" * 40)[:-2], "b"]


def text_rows(rows: tuple[Row, ...]) -> list[Row]:
    """All rows, those of folders too."""
    return [one for row in rows for one in (row, *(text_rows(row.rows or ()) if isinstance(row, FolderRow) else ()))]
