"""The files of the dashboard: complete, safe in browsers and spreadsheets, careful with the folder."""

from __future__ import annotations

import csv
import datetime
import gc
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import update

from auditor.core.errors import UsageError
from auditor.core.finding import Severity
from auditor.core.owner_options import OwnerOptions
from auditor.fleet.dashboard import charts, site, site_paths, sweep_table
from auditor.fleet.dashboard.listings import parts
from auditor.fleet.dashboard.pages import render_pages, site_lists
from auditor.fleet.dashboard.publish import write_site
from auditor.fleet.dashboard.site import check_folder
from auditor.fleet.dashboard.sweep_json import sweep_document
from auditor.fleet.dashboard.view import sweep_view
from auditor.fleet.remediation.owners import Owners
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.service.messages import message
from auditor.fleet.store import image_list, queries
from auditor.fleet.store import schema as t
from auditor.fleet.store.acknowledgements import save_acknowledgement
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import ImageRow, SweepRow, verdict_of
from auditor.report.schema import json_schema
from auditor.scan import Scanner
from tests.conftest import Cli
from tests.fleet.alerted import told_alerts
from tests.fleet.conftest import Sweeps
from tests.fleet.owned import Story
from tests.fleet.planted import Remote, application
from tests.fleet.stored import CREATED, OWNED, POLICY, REGISTRY, Site, Stored, service
from tests.images import file, image, layer, step, token
from tests.report.browser.planted import HOSTILE
from tests.report.test_verdict import EXPECTED, TEXT, counted

FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\uff1d1", " =1", "a;=1+1", 'a; "=1"')


GC_AT_START = 200_000, 10, 10


@pytest.fixture
def stored(tmp_path: Path, scanner: Scanner) -> Iterator[Stored]:
    with closing(SweepStore(f"sqlite:///{tmp_path}/store.sqlite")) as store:
        yield Stored(store, scanner, tmp_path / "images")


class Links(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        if tag in ("a", "link", "img", "script") and (given.get("href") or given.get("src")):
            self.links.append(str(given.get("href") or given.get("src")))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_link_leads_to_a_file_and_a_place_in_it(story_site: Site) -> None:
    pages = {path: Links(path.read_text()) for path in story_site.folder.rglob("*.html")}
    assert len(pages) == 6 + 7 + 8 + 4 + 3, "lists, images with findings, secrets, repositories, owners"
    linked = set()
    for path, page in pages.items():
        for link in page.links:
            if link.startswith(("https://", "data:image/svg+xml,")):
                continue
            target, _, fragment = link.partition("#")
            found = (path.parent / target).resolve() if target else path
            assert found.is_file() and found.is_relative_to(story_site.folder), link
            linked.add(found)
            if fragment:
                assert fragment in pages[found].ids, link
    assert linked >= {*pages, *story_site.folder.glob("csv/*.csv")}


def test_a_secrets_page_lists_every_image_that_holds_it(story_site: Site) -> None:
    held: dict[str, set[tuple[str, str]]] = {}
    for row in queries.findings(story_site.store, story_site.sweep.id):
        held.setdefault(row.secret, set()).add((row.repository, row.digest))
    assert max(map(len, held.values())) == 6
    for secret, images in held.items():
        text = (story_site.folder / site_paths.secret_page(secret)).read_text()
        rows = re.findall(r"<bdi>([^<]+)</bdi>.*?<code title=\"(sha256:\w+)\"", text)
        assert set(rows) == images
    for page in story_site.folder.glob("secrets/*.html"):
        assert page.stem in held


def test_dashboard_table_and_json_show_the_same_counts(story_site: Site) -> None:
    store, sweep = story_site.store, story_site.sweep
    counts = verdict_of(queries.findings(store, sweep.id))
    assert (counts.secrets, counts.places) == (8, 14)
    document = sweep_document(store, sweep, lambda _: None, POLICY)
    assert document["verdict"] == {"leaks": True, **{k: v for k, v in asdict(counts).items() if k != "failing"}}
    for name in ("index.html", "secrets.html"):
        assert counts.text in (story_site.folder / name).read_text()
    assert f"LEAKS: {counts.text};" in sweep_table.render(store, sweep, POLICY, width=200)


def test_the_table_says_of_which_images_no_secrets_were_found(stored: Stored) -> None:
    clean = {"a": {"1": service("a")}}
    shown = [
        sweep_table.render(stored.store, stored.sweep(day, clean, failed=failed), POLICY, width=200)
        for day, failed in (("2026-11-23", ()), ("2026-11-24", [("b:1", "HTTP 404")]))
    ]
    assert "no secrets found; " in shown[0] and "no secrets found in the audited images; " in shown[1]


def test_no_page_says_that_there_are_no_secrets_where_a_part_was_not_read(stored: Stored, tmp_path: Path) -> None:
    def pages(failed: Sequence[tuple[str, str]], filter_text: str | None = None) -> dict[str, str]:
        sweep = stored.sweep("2026-11-24", content, failed=failed, filter_text=filter_text)
        write_site(stored.store, sweep, tmp_path / "site", CREATED, OWNED)
        return {name: (tmp_path / "site" / name).read_text() for name in ("index.html", *texts)}

    content = {name: {"1": service(name)} for name in ("shop/a", "team/a")}
    shop, team = site_paths.owner_page("shop"), site_paths.owner_page("web")
    texts = {"secrets.html": "No secrets found", "layers.html": "No layer adds a secret", shop: "No secrets found"}
    made = pages([])
    assert all(f'verdict fine"><p class="say">{text}</p>' in made[name] for name, text in texts.items())
    assert "all images of the registry." in made["index.html"]
    assert "all images that match the filter." in pages([], "--tags 1")["index.html"]
    made = pages([("shop/b:1", "HTTP 404")])
    for name, text in texts.items():
        assert f'verdict bad"><p class="say">{text} in the audited images</p>' in made[name]
    assert 'verdict fine"><p class="say">No secrets found</p>' in (tmp_path / "site" / team).read_text()
    stored.store.write(lambda c: c.execute(update(t.image).values(skipped=1)))
    write_site(stored.store, queries.sweeps(stored.store)[-1], tmp_path / "site", CREATED, OWNED)
    for name, text in texts.items():
        assert f'verdict bad"><p class="say">{text} in what was read</p>' in (tmp_path / "site" / name).read_text()


def test_every_output_of_a_sweep_shows_the_counts_of_the_image_report(stored: Stored, tmp_path: Path) -> None:
    sweep = stored.sweep("2026-11-24", {"app": {"1": counted()}})
    folder = tmp_path / "site"
    write_site(stored.store, sweep, folder, CREATED, POLICY)
    (image_page,) = folder.glob("images/*.html")
    pages = [path.read_text() for path in (folder / "index.html", image_page)]
    for text in (*pages, sweep_table.render(stored.store, sweep, POLICY, width=200)):
        assert TEXT in re.sub(r"<[^>]*>", "", text)
    assert f"image-audit explore docker://{REGISTRY}/app@sha256:" in pages[1]
    verdict = sweep_document(stored.store, sweep, lambda _: None, POLICY)["verdict"]
    assert verdict == {"leaks": True, **{k: v for k, v in asdict(EXPECTED).items() if k != "failing"}}
    rows = {name: json.loads((folder / f"json/{name}.json").read_text()) for name in ("secrets", "findings")}
    assert (len(rows["secrets"]), len(rows["findings"])) == (EXPECTED.secrets, EXPECTED.places)
    assert message(REGISTRY, told_alerts(stored.store)).text.startswith(f"{TEXT}\n")


def test_json_tables_have_the_rows_of_the_csv_tables(story_site: Site) -> None:
    for path in story_site.folder.glob("csv/*.csv"):
        with path.open(newline="") as file:
            lines = list(csv.DictReader(file))
        rows_ = json.loads((story_site.folder / f"json/{path.stem}.json").read_text())
        assert [list(item) for item in rows_] == [list(item) for item in lines]
    trend = json.loads((story_site.folder / "json/trend.json").read_text())
    last = {item["name"]: item["secrets"] for item in trend if item["started"].startswith("2026-11-24")}
    assert last == {"platform": 1, "shop": 4, "web": 4, "under a day": 2, "under 30 days": 1, "under 90 days": 1,
                    "under a year": 4}  # fmt: skip


def test_repositories_changes_and_sweeps_agree_on_new_and_gone_findings(stored: Stored, tmp_path: Path) -> None:
    first, second = service("a", token(1)), service("b", token(2))
    stored.sweep("2026-11-23", {"shop/a": {"1": first}, "shop/emptied": {"1": first}, "team/b": {"1": second}})
    arm = service("c", token(3), architecture="arm64")
    content = {"shop/a": {"2": service("c", token(3)), "2-arm": arm}, "shop/emptied": {}, "team/b": {"1": second}}
    sweep = stored.sweep("2026-11-24", content)
    write_site(stored.store, sweep, tmp_path / "site", CREATED, OWNED)
    rows_ = {name: json.loads((tmp_path / f"site/json/{name}.json").read_text()) for name in site_paths.TABLES}
    assert {one["repository"]: (one["images"], one["new"], one["gone"]) for one in rows_["repositories"]} == {
        "shop/a": (2, 1, 1), "shop/emptied": (0, 0, 1), "team/b": (1, 0, 0),
    }  # fmt: skip
    for change in ("new", "gone"):
        count = sum(one["change"] == change for one in rows_["changes"])
        assert count == sweep.counts[change] == sum(one[change] for one in rows_["repositories"])
    page = (tmp_path / "site" / site_paths.repository_page("shop/emptied")).read_text()
    assert "0 images · owned by" in page and "<tbody>" not in page
    assert "in 2 repositories" in (tmp_path / "site/index.html").read_text()


def test_open_secrets_of_an_owner_are_those_of_the_trend(changed: Story, tmp_path: Path) -> None:
    save_acknowledgement(changed.store, changed.shared, "vendor key", "ada", CREATED, None)
    write_site(changed.store, changed.sweep, tmp_path / "site", CREATED, changed.policy)
    trend = json.loads((tmp_path / "site/json/trend.json").read_text())
    last = {one["name"]: one["secrets"] for one in trend if one["sweep"] == changed.sweep.id and one["by"] == "owner"}
    assert last == {"platform": 1, "shop": 3, "web": 3}
    for owner, count in last.items():
        page = (tmp_path / "site" / site_paths.owner_page(owner)).read_text()
        assert f"{count} open secret{'' if count == 1 else 's'}, " in page


def test_the_trend_of_a_filtered_sweep_has_its_repositories_alone(stored: Stored, tmp_path: Path) -> None:
    shop, web = {"shop/a": {"1": service("a", token(1))}}, {"team/b": {"1": service("b", token(2))}}
    stored.sweep("2026-11-23", {**shop, **web})
    sweep = stored.sweep("2026-11-24", shop, filter_text="--repos shop/*")
    write_site(stored.store, sweep, tmp_path / "site", CREATED, OWNED)
    trend = json.loads((tmp_path / "site/json/trend.json").read_text())
    assert [(one["by"], one["name"], one["secrets"]) for one in trend] == [
        ("owner", "shop", 1), ("age", "under a week", 1),
    ]  # fmt: skip


def test_names_of_several_owners_can_be_told_apart(stored: Stored, tmp_path: Path) -> None:
    owners = {"**/a": OwnerOptions("Team A"), "**/b": OwnerOptions("B Team C")}
    shared = {"1": service("x", token(1))}
    sweep = stored.sweep("2026-11-24", {"a": shared, "b": shared})
    write_site(stored.store, sweep, tmp_path / "site", CREATED, Policy(POLICY.today, Owners(owners)))
    (row_,) = json.loads((tmp_path / "site/json/secrets.json").read_text())
    assert row_["owners"] == "B Team C, Team A"


def test_one_is_singular(stored: Stored, tmp_path: Path) -> None:
    built = service("a", token(1))
    sweep = stored.sweep("2026-11-24", {"a": dict.fromkeys("123456789", built)})
    write_site(stored.store, sweep, tmp_path / "site", CREATED, POLICY)
    (secret,) = (tmp_path / "site/secrets").iterdir()
    texts = [secret.read_text(), (tmp_path / "site/index.html").read_text()]
    for one in ("<dt>tags</dt><dd>9</dd>", "<dt>place</dt><dd>1</dd>"):
        assert one in texts[0]
    for one in ("<dt>new place</dt><dd>1</dd>", "<dt>gone places</dt><dd>0</dd>", "<dt>image with secrets</dt>",
                "and 1 more tag "):  # fmt: skip
        assert one in texts[1]


@pytest.mark.parametrize("name", site_paths.TABLES)
def test_json_tables_keep_their_schema(name: str, story_site: Site) -> None:
    schema = json_schema("image-audit-dashboard-1")
    rows_ = json.loads((story_site.folder / site_paths.table(name, "json")).read_text())
    Draft202012Validator({**schema, "items": {"$ref": f"#/$defs/{name}"}}).validate(rows_)
    assert set(schema["$defs"]) == set(site_paths.TABLES)


def test_owners_and_repositories_have_pages_with_their_secrets(story_site: Site) -> None:
    index = (story_site.folder / "index.html").read_text()
    for team, repository in (("shop", "shop/checkout"), ("web", "team/web"), ("platform", "batch/job")):
        assert site_paths.owner_page(team) in index
        page = (story_site.folder / site_paths.owner_page(team)).read_text()
        own = (story_site.folder / site_paths.repository_page(repository)).read_text()
        for row in queries.findings(story_site.store, story_site.sweep.id):
            assert (f"{row.secret}.html" in own) >= (row.repository == repository)
            assert (f"{row.secret}.html" in page) >= (row.repository == repository)


def test_an_acknowledged_secret_is_shown_with_who_and_until_when(changed: Story, tmp_path: Path) -> None:
    until = changed.policy.today + datetime.timedelta(days=30)
    save_acknowledgement(changed.store, changed.shared, "vendor's <key>", "ada", CREATED, until)
    write_site(changed.store, changed.sweep, tmp_path / "site", CREATED, changed.policy)
    page = (tmp_path / "site" / site_paths.secret_page(changed.shared)).read_text()
    assert f"<b>Acknowledged</b> by ada on 2026-11-24 until {until}: vendor&#39;s &lt;key&gt;" in page
    assert f'acknowledged until <span class="nowrap">{until}</span>' in (tmp_path / "site/secrets.html").read_text()
    (row,) = (item for item in json.loads((tmp_path / "site/json/secrets.json").read_text()) if item["reason"])
    assert (row["work"], row["acknowledged_by"], row["acknowledged_until"]) == ("acknowledged", "ada", str(until))
    assert row["lapsed"] is None
    later = replace(changed.policy, today=until + datetime.timedelta(days=1))
    write_site(changed.store, changed.sweep, tmp_path / "site", CREATED, later)
    page = (tmp_path / "site" / site_paths.secret_page(changed.shared)).read_text()
    assert "<b>Acknowledgement lapsed</b> by ada" in page and f"(expired after {until})" in page
    (row,) = (item for item in json.loads((tmp_path / "site/json/secrets.json").read_text()) if item["reason"])
    assert (row["work"], row["lapsed"]) == ("overdue", f"expired after {until}")


def test_a_long_list_is_cut_into_pages_that_lead_to_each_other() -> None:
    first, second, third = parts("a.html", range(25), 10)
    assert first.paths == second.paths == ("a.html", "a-2.html", "a-3.html")
    assert (first.path, third.path, third.rows, third.total) == ("a.html", "a-3.html", tuple(range(20, 25)), 25)
    (empty,) = parts("a.html", tuple[int](), 10)
    assert (empty.path, empty.rows) == ("a.html", ())


def test_no_file_of_the_site_holds_a_secret(story_site: Site) -> None:
    planted = [token(seed) for seed in (900, 901, 903, 910, 920)]
    site_files = files(story_site.folder)
    for name, data in site_files.items():
        assert not any(secret.encode() in data for secret in planted), name
    assert any(f"ghp_****{planted[0][-4:]}".encode() in data for data in site_files.values())


def test_the_same_store_makes_the_same_site(story_site: Site, tmp_path: Path) -> None:
    write_site(story_site.store, story_site.sweep, tmp_path / "again", CREATED, OWNED)
    assert files(tmp_path / "again") == files(story_site.folder)


def test_no_cell_of_a_table_is_a_formula(stored: Stored, tmp_path: Path) -> None:
    hostile = image(
        layer(*(file(name.replace("/", "-"), token(number)) for number, name in enumerate(FORMULAS))),
        history=[step("=HYPERLINK(1)")],
    )
    sweep = stored.sweep("2026-11-24", {name: {"=1+1": hostile} for name in FORMULAS}, failed=[("@x", "=1")])
    write_site(stored.store, sweep, tmp_path / "site", CREATED, POLICY)
    cells = []
    for path in (tmp_path / "site" / "csv").glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as text:
            lines = text.readlines()
        cells += [cell for line in csv.reader(lines) for cell in line]
        # As a spreadsheet may cut the lines.
        cells += [cell.strip(' "') for line in lines for cell in re.split("[,;]", line)]
    assert "'=HYPERLINK(1)" in cells and "'=1+1" in cells and "'@x" in cells
    assert [cell for cell in cells if cell.strip().startswith(("=", "+", "-", "@", "\uff1d"))] == []


def test_hostile_names_stay_text(stored: Stored, tmp_path: Path) -> None:
    names_ = ("../../etc/x", HOSTILE, "CON", "a" * 255)
    built = service("x", token(1))
    sweep = stored.sweep(
        "2026-11-24", {name: {HOSTILE: built} for name in names_}, failed=[(HOSTILE, HOSTILE)], registry="r.example"
    )
    write_site(stored.store, sweep, tmp_path / "site", CREATED, POLICY)
    assert {path.name for path in tmp_path.iterdir()} == {"site", "images", *(p.name for p in tmp_path.glob("store*"))}
    for path in (tmp_path / "site").rglob("*.html"):
        text = path.read_text()
        assert "<script>alert" not in text and "\u202e" not in text and "\x1b" not in text


def test_garbage_of_pages_is_collected_while_they_are_written(stored: Stored) -> None:
    sweep = stored.sweep("2026-11-24", {"team/app": {"1": service("a", token(1))}})
    view = sweep_view(stored.store, sweep, POLICY)
    before = gc.get_threshold()
    gc.set_threshold(*GC_AT_START)
    try:
        pages = render_pages(stored.store, view, site_lists(view), CREATED)
        next(pages)
        assert gc.get_threshold()[0] == 10_000 and gc.get_freeze_count() > 0
        pages.close()
        assert gc.get_threshold() == GC_AT_START and gc.get_freeze_count() == 0
    finally:
        gc.set_threshold(*before)


def test_pages_have_names_that_no_file_system_confuses() -> None:
    def row(repository: str, digest: str = "sha256:" + "0" * 64) -> ImageRow:
        return ImageRow(1, repository, digest, None, (), {}, {}, 0, 0, "", 0, has_report=True)

    odd = ["a/b", "a-b", "A/b", "../x", "..", "", "con", "é", "e", "\0", "x" * 400, "x" * 401]
    made = [site_paths.image_page(row(name)) for name in odd] + [
        site_paths.image_page(row("a/b", "sha256:" + "1" * 64))
    ]
    assert len({name.lower() for name in made}) == len(made)
    assert all(site_paths.is_site_file(name) and len(name) < 100 for name in made)
    assert not any(
        map(site_paths.is_site_file, ("../x.html", "images/../x.html", "/x.html", ".x.html", "x.txt", "a/b/c.html"))
    )


def test_only_pages_of_deleted_images_are_removed(stored: Stored, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    old, new = service("old", token(1)), service("new", token(2))
    write_site(stored.store, stored.sweep("2026-11-23", {"team/a": {"1": old}}), folder, CREATED, POLICY)
    (folder / "CNAME").write_text("audit.example.com")
    (folder / "images" / "logo.html").write_text("theirs")
    (folder / ".index.html.abcd1234").write_text("half of a page")
    before = set(files(folder))
    write_site(stored.store, stored.sweep("2026-11-24", {"team/a": {"1": new}}), folder, CREATED, POLICY)
    after = set(files(folder))
    assert {name.split("/")[0] for name in before - after} == {"images", "secrets", ".index.html.abcd1234"}
    assert len(before - after) == 3 and len(after - before) == 2
    assert {"CNAME", "images/logo.html"} <= after


def test_a_folder_with_other_files_is_refused_and_unchanged(stored: Stored, tmp_path: Path) -> None:
    sweep = stored.sweep("2026-11-24", {"a": {"1": service("a", token(1))}})
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "index.html").write_text("theirs")
    with pytest.raises(UsageError, match="did not write"):
        check_folder(theirs)
    with pytest.raises(UsageError, match="did not write"):
        write_site(stored.store, sweep, theirs, CREATED, POLICY)
    assert files(theirs) == {"index.html": b"theirs"}
    ours = tmp_path / "ours"
    write_site(stored.store, sweep, ours, CREATED, POLICY)
    later = stored.sweep("2026-11-25", {"b": {"1": service("b", token(2))}})
    page = site_paths.image_page(image_list.images(stored.store, later)[0])
    (ours / page).write_text("theirs")
    with pytest.raises(UsageError, match=page):
        write_site(stored.store, later, ours, CREATED, POLICY)


def test_a_changed_manifest_of_the_site_removes_nothing(stored: Stored, tmp_path: Path) -> None:
    sweep = stored.sweep("2026-11-24", {"a": {"1": service("a")}})
    write_site(stored.store, sweep, tmp_path / "site", CREATED, POLICY)
    outside = tmp_path / "outside.html"
    outside.write_text("theirs")
    for text in ('{"schema": "image-audit-site/1", "files": ["../outside.html"]}', "[]", "{", '{"schema": 1}'):
        (tmp_path / "site" / site.MANIFEST).write_text(text)
        with pytest.raises(UsageError, match="damaged"):
            write_site(stored.store, sweep, tmp_path / "site", CREATED, POLICY)
    assert outside.exists()


def test_a_run_that_is_killed_leaves_whole_pages_that_the_next_one_knows(tmp_path: Path) -> None:
    def half() -> None:
        with site.open_site(tmp_path / "site", ["index.html", "images/a.html"]) as out:
            out.write("images/a.html", "a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    with site.open_site(tmp_path / "site", ["index.html"]) as out:
        out.write("index.html", "index")
    assert set(files(tmp_path / "site")) == {"index.html", site.MANIFEST}


def test_a_registry_without_findings_or_images_has_its_pages(stored: Stored, tmp_path: Path) -> None:
    for day, content in (("2026-11-23", {"a": {"1": service("a")}}), ("2026-11-24", {})):
        write_site(stored.store, stored.sweep(day, content), tmp_path / "site", CREATED, POLICY)
        text = (tmp_path / "site" / "index.html").read_text()
        assert ("No secrets found" if content else "No images: nothing was audited") in text
        assert "No layer adds a secret" in (tmp_path / "site" / "layers.html").read_text()


@pytest.mark.registry
def test_a_later_sweep_of_a_part_takes_nothing_from_the_pages_of_all(
    sweeps: Sweeps, address: str, tmp_path: Path
) -> None:
    remote = Remote(address)
    for name in ("team/a", "team/b"):
        remote.push(name, "1", application(0, name[-1], token(1)))
    sweeps(address)
    whole = queries.last_sweep(sweeps.store, address)
    assert whole is not None
    write_site(sweeps.store, whole, tmp_path / "before", CREATED, POLICY)
    sweeps(address, repos=("team/a",))
    last = queries.last_sweep(sweeps.store, address)
    assert last == whole
    write_site(sweeps.store, last, tmp_path / "after", CREATED, POLICY)
    before, after = files(tmp_path / "before"), files(tmp_path / "after")
    stamp = re.compile(rb"\d{4}-\d{2}-\d{2}(T| )\d{2}:\d{2}(:\d{2}Z)?")
    assert {k: stamp.sub(b"", v) for k, v in before.items()} == {k: stamp.sub(b"", v) for k, v in after.items()}
    part = queries.sweeps(sweeps.store)[-1]
    write_site(sweeps.store, part, tmp_path / "part", CREATED, POLICY)
    assert "<code>--repos team/a</code>" in (tmp_path / "part" / "index.html").read_text()
    assert queries.alike(sweeps.store, part) == [part]


def row(number: int, **counts: int) -> SweepRow:
    time = f"2026-11-24T{number % 24:02}:00:00Z"
    zero = dict.fromkeys((*map(str, Severity), "new", "gone"), 0)
    return SweepRow(number, REGISTRY, time, time, {**zero, **counts})


def test_a_trend_stacks_severities_to_scale_and_shows_the_last_sweeps() -> None:
    chart = charts.findings([row(1, critical=1, low=3), row(2), row(3, high=2)])
    assert chart.ticks == ((0.0, 4), (75.0, 2), (150.0, 0))
    assert [[(bar.kind, bar.y, bar.height) for bar in column.bars] for column in chart.columns] == [
        [("critical", 112.5, 37.5), ("low", 0.0, 112.5)], [], [("high", 75.0, 75.0)],
    ]  # fmt: skip
    assert chart.columns[0].text == "2026-11-24 01:00: 1 critical, 3 low"
    many = charts.findings([row(number, low=number) for number in range(500)])
    assert (len(many.columns), many.left_out) == (charts.MOST_COLUMNS, 440)
    assert many.columns[-1].x + many.width <= 100


def test_new_stands_above_the_line_and_gone_below() -> None:
    chart = charts.new_and_gone([row(1, new=3), row(2, new=1, gone=2)])
    assert chart.ticks == ((0.0, 4), (100.0, 0), (150.0, 2))
    bars = [(bar.kind, bar.y, bar.height) for bar in chart.columns[1].bars]
    assert bars == [("new", 75.0, 25.0), ("gone", 100.0, 50.0)]
    nothing = charts.new_and_gone([])
    assert nothing.columns == () and nothing.ticks == ((0.0, 1), (150.0, 0))


def test_the_command_line_makes_it_from_the_store_and_names_the_pages(story_site: Site, cli: Cli) -> None:
    store = ("--store", str(story_site.store))
    made = cli("registry", "report", *store, "--report", "site", "--format", "json")
    assert made.status == 0, made.err
    pages = {image["digest"]: image["report"] for image in made.json["images"] if image["by_severity"]}
    assert len(set(pages.values())) == 7 and all((cli.folder / "site" / page).is_file() for page in pages.values())
    assert [image["report"] for image in made.json["images"] if not image["by_severity"]] == [None]
    again = cli("registry", "report", REGISTRY, *store, "--report", "site", "--quiet")
    assert (again.status, again.out, again.err) == (0, "", "")
    (cli.folder / "theirs").mkdir()
    (cli.folder / "theirs" / "x").touch()
    for arguments, words in (
        (("--report", "theirs"), "did not write"),
        (("--report", "theirs/x"), "can't be"),
        (("other.example.com",), f"no finished sweep of other.example.com; it has sweeps of {REGISTRY}"),
    ):
        failed = cli("registry", "report", *store, *arguments)
        assert failed.status == 2 and words in failed.err and failed.err.count("\n") == 1
    assert "no finished sweep. Run" in cli("registry", "report", "--store", "sqlite:///empty.sqlite").err
