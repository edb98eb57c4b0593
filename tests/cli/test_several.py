"""Of several targets, or platforms of one, those that can't be read hold up no other."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from auditor.report.schema import report_schema
from tests.conftest import Cli
from tests.images import Built, digest, file, gzipped, image, layer, layout_files, step, story, token, write_files

STORY, SECRET = story(77)
REPORTS = ("r.json", "r.html", "r.sarif", "r.md", "r.xml", "r.txt", "gl-secret-detection-report.json")


def damaged(path: Path) -> Path:
    """An archive whose second layer is not what its config says: it is seen when it is read."""
    other = token(78)
    path.write_bytes(STORY.docker_archive(path).read_bytes().replace(SECRET.encode(), other.encode()))
    return path


def broken_layer(path: Path) -> Path:
    """A layout with a layer that ends in the middle."""
    cut = gzipped(layer({"a": token(79) * 100}))[:-20]
    built = image(layer({"a": "x"}))
    blobs, root = built.blobs()
    (own,) = (data for data in blobs.values() if data == built.layers[0])
    manifest = json.loads(blobs.pop(root["digest"]))
    manifest["layers"][0] |= {"digest": digest(cut), "size": len(cut)}
    text = json.dumps(manifest).encode()
    blobs = {name: data for name, data in blobs.items() if data != own} | {digest(cut): cut, digest(text): text}
    return write_files(path, layout_files(blobs, [{**root, "digest": digest(text), "size": len(text)}]))


BAD: dict[str, Callable[[Path], str]] = {
    "no such file": lambda folder: str(folder / "none.tar"),
    "no image": lambda folder: str(write_files(folder, {"text.tar": b"no tar"}) / "text.tar"),
    "damaged layer": lambda folder: str(damaged(folder / "damaged.tar")),
    "cut layer": lambda folder: f"oci:{broken_layer(folder / 'cut')}",
    "no such tag": lambda folder: f"docker-archive:{STORY.docker_archive(folder / 'tagged.tar')}:none",
    "no reference": lambda _: "UPPER//CASE",
    "empty": lambda _: " ",
    "no registry": lambda _: "docker://127.0.0.1:1/none:1",
    "no engine": lambda _: "docker-daemon:none",
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("first", [True, False], ids=["bad first", "bad last"])
def test_the_others_are_audited_and_every_format_says_which_failed(cli: Cli, name: str, first: bool) -> None:
    bad, good = BAD[name](cli.folder), str(STORY.docker_archive(cli.folder / "good.tar"))
    outputs = [word for report in REPORTS for word in ("-o", report)]
    done = cli("scan", *((bad, good) if first else (good, bad)), *outputs)
    assert done.status == 2
    (line,) = done.err.splitlines()
    assert line.startswith("image-audit: ") and bad.strip() in line
    document = json.loads((cli.folder / "r.json").read_text())
    jsonschema.validate(document, report_schema())
    (report,) = document["reports"]
    assert report["image"]["target"] == good and report["summary"]["by_state"] == {"deleted": 1, "metadata": 1}
    ((target, reason),) = [(one["target"], one["reason"]) for one in document["failed"]]
    assert target == bad and reason in line
    for file_name in REPORTS:
        text = (cli.folder / file_name).read_text()
        assert "secret.txt" in text and SECRET not in text
        assert "not audited" in text.lower() or file_name == "r.json", file_name
    assert "Not audited:" in done.out and "secret.txt" in done.out


def test_machine_formats_hold_the_failure_where_their_readers_look_for_it(cli: Cli) -> None:
    STORY.docker_archive(cli.folder / "good.tar")
    cli("scan", "none.tar", "good.tar", *(word for report in REPORTS for word in ("-o", report)))
    runs = json.loads((cli.folder / "r.sarif").read_text())["runs"]
    (failed,) = [run for run in runs if not run["invocations"][0]["executionSuccessful"]]
    (notification,) = failed["invocations"][0]["toolExecutionNotifications"]
    assert notification["level"] == "error" and "none.tar" in notification["message"]["text"]
    assert failed["automationDetails"]["id"] not in [run["automationDetails"]["id"] for run in runs if run != failed]
    gitlab = json.loads((cli.folder / "gl-secret-detection-report.json").read_text())["scan"]
    assert gitlab["status"] == "failure" and gitlab["messages"][0]["level"] == "fatal"
    root = ET.fromstring((cli.folder / "r.xml").read_text())
    assert root.get("errors") == "1" and len(root.findall(".//error")) == 1
    assert int(root.get("tests") or 0) == len(root.findall(".//testcase"))


def test_where_all_fail_each_has_its_line_and_the_reports_are_written(cli: Cli) -> None:
    done = cli("scan", "a.tar", "b.tar", "--format", "json", "-o", "r.html", "-o", "r.md", "-o", "r.sarif")
    assert done.status == 2 and [line.split(":")[1].strip() for line in done.err.splitlines()] == ["a.tar", "b.tar"]
    assert done.json["reports"] == [] and [one["target"] for one in done.json["failed"]] == ["a.tar", "b.tar"]
    jsonschema.validate(done.json, report_schema())
    assert "a.tar" in (cli.folder / "r.html").read_text() and "b.tar" in (cli.folder / "r.md").read_text()


def test_a_single_target_that_fails_is_one_line_and_no_report(cli: Cli) -> None:
    done = cli("scan", "a.tar", "-o", "r.json")
    assert (done.status, done.out) == (2, "") and len(done.err.splitlines()) == 1
    assert not (cli.folder / "r.json").exists()


def test_quiet_leaves_the_lines_and_the_baseline_is_not_written(cli: Cli) -> None:
    STORY.docker_archive(cli.folder / "good.tar")
    done = cli("scan", "good.tar", "a.tar", "--quiet", "--write-baseline", "b.yaml")
    assert (done.status, done.out) == (2, "") and len(done.err.splitlines()) == 1 and "a.tar" in done.err
    assert not (cli.folder / "b.yaml").exists()


def indexed(folder: Path, spoil: Callable[[dict[str, bytes], dict[str, Any]], None]) -> str:
    """A layout of an index with two platforms, the second of which `spoil` breaks."""
    blobs: dict[str, bytes] = {}
    children = []
    for number, architecture in enumerate(("amd64", "arm64")):
        built = image(
            layer({f"own{number}": f"{token(80 + number)}\n"}), history=[step("COPY own /")], architecture=architecture
        )
        own, root = built.blobs()
        if number:
            spoil(own, root)
        blobs |= own
        children.append({**root, "platform": {"os": "linux", "architecture": architecture}})
    index = json.dumps({"schemaVersion": 2, "manifests": children}).encode()
    blobs[digest(index)] = index
    root = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest(index), "size": len(index)}
    return f"oci:{write_files(folder, layout_files(blobs, [root]))}"


def layer_is_another(blobs: dict[str, bytes], root: dict[str, Any]) -> None:
    manifest = json.loads(blobs[root["digest"]])
    blobs[manifest["layers"][0]["digest"]] = b"another"


def config_is_another(blobs: dict[str, bytes], root: dict[str, Any]) -> None:
    blobs[json.loads(blobs[root["digest"]])["config"]["digest"]] = b"{}"


def manifest_is_no_json(blobs: dict[str, bytes], root: dict[str, Any]) -> None:
    del blobs[root["digest"]]
    root |= {"digest": digest(b"none"), "size": 4}
    blobs[digest(b"none")] = b"none"


@pytest.mark.parametrize("spoil", [layer_is_another, config_is_another, manifest_is_no_json])
def test_a_platform_that_fails_leaves_the_others(cli: Cli, spoil: Any) -> None:
    target = indexed(cli.folder / "layout", spoil)
    done = cli("scan", target, "--format", "json")
    assert done.status == 2 and len(done.err.splitlines()) == 1 and "linux/arm64" in done.err
    jsonschema.validate(done.json, report_schema())
    assert [report["image"]["platform"] for report in done.json["reports"]] == ["linux/amd64"]
    (failed,) = done.json["failed"]
    assert failed["target"] == target and failed["reason"].startswith("linux/arm64: ")
    history = cli("history", target)
    assert history.status == 2 and "linux/amd64" in history.out and "linux/arm64" in history.err
    whole = cli("scan", target, "--platform", "linux/amd64", "--format", "json")
    assert whole.status == 1 and whole.json["image"]["platform"] == "linux/amd64"


def several(folder: Path) -> bytes:
    """What `docker save good bad` writes, where a layer of the second is no tar to its end."""
    good, bad = image(layer({"own": token(90)})), image(layer({"own": token(91)}), names=("bad:1",))
    items, entries = [], []
    for built in (good, bad):
        name, config = f"{digest(built.layers[0])[7:]}/layer.tar", f"{digest(built.config_bytes)[7:]}.json"
        data = built.layers[0] if built is good else built.layers[0][:700]
        items += [file(name, data), file(config, built.config_bytes)]
        entries.append({"Config": config, "RepoTags": list(built.names), "Layers": [name]})
    return layer(*items, file("manifest.json", json.dumps(entries)))


def test_an_image_of_an_archive_that_comes_as_a_stream_leaves_the_others(cli: Cli) -> None:
    data = several(cli.folder)
    (cli.folder / "both.tar.gz").write_bytes(gzipped(data))
    for done in (cli("scan", "-", "--format", "json", stdin=data), cli("scan", "both.tar.gz", "--format", "json")):
        assert done.status == 2 and len(done.err.splitlines()) == 1
        assert len(done.json["reports"]) == len(done.json["failed"]) == 1
        assert [finding["path"] for finding in done.json["reports"][0]["findings"]] == ["/own"]


def test_the_hook_audits_the_rest_and_stops_the_push(cli: Cli) -> None:
    STORY.docker_archive(cli.folder / "good.tar")
    damaged(cli.folder / "bad.tar")
    (cli.folder / "bad.Dockerfile").write_text("COPY\n<<")
    (cli.folder / ".image-audit.yaml").write_text("images: [./bad.tar, ./good.tar]\ndockerfiles: [none/Dockerfile]\n")
    done = cli("hook", "run")
    assert done.status == 2 and "./good.tar: 1 secret at 2 places; 1 hidden but recoverable, 1 visible\n" in done.err
    lines = [line for line in done.err.splitlines() if "not audited" in line]
    assert len(lines) == 2 and "bad.tar" in lines[0] and "none/Dockerfile" in lines[1]


def test_an_error_that_nobody_foresaw_is_told_of_its_target_alone(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from auditor import audit, pipeline

    good, bad = (str(STORY.docker_archive(cli.folder / name)) for name in ("good.tar", "bad.tar"))
    own = pipeline.audit_image

    def broken(built: Any, *more: Any) -> Any:
        if built.target == bad:
            raise KeyError(SECRET)
        return own(built, *more)

    monkeypatch.setattr(pipeline, "audit_image", broken)
    report = audit(bad, good, cache=False)
    assert [one.image.target for one in report.images] == [good] and report.failed
    assert [(one.target, one.reason) for one in report.failures] == [
        (bad, "internal error: KeyError; please report it, with IMAGE_AUDIT_DEBUG=1 set")
    ]
    with pytest.raises(KeyError):
        audit(bad, cache=False)


def test_the_api_returns_the_report_of_the_others(tmp_path: Path) -> None:
    from auditor import AuditError, audit

    good: Built = STORY
    archive = str(good.docker_archive(tmp_path / "good.tar"))
    report = audit(archive, tmp_path / "none.tar", cache=False, fail_on="never")
    assert len(report.images) == 1 and report.failed and len(report.failures) == 1
    assert report.to_dict()["failed"][0]["target"] == str(tmp_path / "none.tar")
    with pytest.raises(AuditError):
        audit(tmp_path / "none.tar", cache=False)
