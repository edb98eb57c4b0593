"""The web server of the dashboard: it serves the files of a site, reads the store, and changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import pytest

from auditor.cli import serve as command
from auditor.core.command_options import SweepOptions
from auditor.core.errors import StoreError
from auditor.fleet.dashboard.site_paths import is_site_file
from auditor.fleet.service.http_server import File, Page
from auditor.fleet.service.site_server import SiteServer
from auditor.fleet.service.watch import Stopped
from auditor.fleet.store.acknowledgements import save_acknowledgement
from tests.fleet.owned import Story
from tests.fleet.stored import CREATED, OWNERS, Site


def server(folder: Path, *outcomes: bool | Exception) -> SiteServer:
    """A server whose updates have these outcomes, one after the other."""
    left = iter(outcomes)

    def update() -> bool:
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return SiteServer(folder, update, lambda _: None)


def body(response: Page | File) -> bytes:
    if isinstance(response, Page):
        return response.body
    with response.file:
        data = response.file.read()
    assert len(data) == response.size
    return data


def status(response: Page | File) -> int:
    if isinstance(response, File):
        response.file.close()
        return 200
    return response.status


def test_every_file_of_the_site_is_served_with_its_type(story_site: Site) -> None:
    site = server(story_site.folder)
    names = [str(path.relative_to(story_site.folder)) for path in story_site.folder.rglob("*.*") if path.is_file()]
    served = [name for name in names if is_site_file(name)]
    assert len(served) == len(names) - 1, "all but the list of files"
    for name in served:
        response = site.respond(f"/{name}")
        assert isinstance(response, File) and response.kind.split(";")[0].endswith(name.rpartition(".")[2])
        assert body(response) == (story_site.folder / name).read_bytes()
    assert body(site.respond("/")) == (story_site.folder / "index.html").read_bytes()


def test_a_page_is_served_with_its_own_policy(story_site: Site) -> None:
    response = server(story_site.folder).respond("/")
    assert isinstance(response, File) and response.policy is not None
    response.file.close()
    assert "script-src 'sha256-" in response.policy and response.policy.endswith("; frame-ancestors 'none'")
    assert "unsafe" not in response.policy


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.html", "//etc/passwd", "/images/../index.html", "/images/", "/csv", "/.image-audit-site.json",
        "/%2e%2e/a.html", "/images/..%2findex.html", "/index.html/", "/index.html\0", "/INDEX.HTML", "/images//a.html",
        "index.html/../a.html",
    ],
)  # fmt: skip
def test_nothing_but_files_of_the_site_is_served(story_site: Site, path: str) -> None:
    (story_site.folder.parent / "secret.html").write_text("no page")
    assert status(server(story_site.folder).respond(path)) == 404


def test_links_and_devices_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("no page")
    (tmp_path / "secrets.html").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "layers.html")
    site = server(tmp_path)
    assert [status(site.respond(path)) for path in ("/secrets.html", "/layers.html")] == [404, 404]


def test_health_tells_whether_the_dashboard_is_up_to_date(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    site = server(tmp_path, StoreError("the store is away"), StoreError("the store is away"), True, StoreError("gone"))

    def statuses() -> list[int]:
        return [status(site.respond(path)) for path in ("/livez", "/readyz", "/healthz", "/")]

    assert statuses() == [200, 503, 503, 503]
    site.update_once()
    site.update_once()
    assert json.loads(body(site.respond("/healthz")))["reason"] == "the store is away"
    assert [record.getMessage() for record in caplog.records] == ["dashboard not updated"], "once"
    (tmp_path / "index.html").write_text("<!doctype html>")
    site.update_once()
    assert statuses() == [200, 200, 200, 200]
    site.update_once()
    assert statuses() == [200, 200, 503, 200], "the last dashboard is still served"


def test_the_command_serves_what_the_store_has_until_it_is_stopped(
    changed: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    options = SweepOptions(store=str(changed.store.url), report_dir=tmp_path / "site", owners=OWNERS)
    rounds = iter(("as it is", "the same", "acknowledged"))

    def sleep(_: float) -> None:
        (address,) = (record.__dict__["fields"]["listen"] for record in caplog.records if record.message == "serving")
        match next(rounds):
            case "as it is":
                assert b"vendor key" not in urlopen(f"http://{address}/json/secrets.json").read()
            case "the same":
                save_acknowledgement(changed.store, changed.shared, "vendor key", "ada", CREATED, None)
            case "acknowledged":
                assert b"vendor key" in urlopen(f"http://{address}/json/secrets.json").read()
                raise Stopped

    monkeypatch.setattr(command, "time", SimpleNamespace(sleep=sleep))
    assert command.serve(None, "127.0.0.1:0", lambda: options) == 0
    events = [record.message for record in caplog.records]
    assert events == ["serving", "dashboard written", "dashboard written", "stopped"]
