"""The dashboard in use: mouse, keyboard, phone, printer, without script, from a file or a server."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from auditor.core.owner_options import OwnerOptions
from auditor.fleet.dashboard.publish import write_site
from auditor.fleet.dashboard.site_paths import image_page, owner_page, repository_page, secret_page
from auditor.fleet.remediation.owners import Owners
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import image_list, queries
from auditor.fleet.store.acknowledgements import save_acknowledgement
from auditor.fleet.store.database import SweepStore
from auditor.scan import Scanner
from tests.browser import DESKTOP, PHONE, STANDARDS, Open
from tests.fleet.owned import Story
from tests.fleet.stored import CREATED, POLICY, Site, Stored, service
from tests.images import token
from tests.report.browser.planted import HOSTILE

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
PAGES = ("index.html", "repositories.html", "owners.html", "secrets.html", "layers.html", "sweeps.html")


@pytest.fixture
def go(story_site: Site, open_page: Open) -> Callable[..., Page]:
    """Open a page of the story's site."""

    def start(name: str = "index.html", fragment: str = "", **more: object) -> Page:
        page: Page = open_page(story_site.folder / name, fragment, site=story_site.folder, **more)
        return page

    return start


@pytest.fixture
def served(story_site: Site) -> Iterator[str]:
    """The story's site behind a web server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    handler = functools.partial(Quiet, directory=str(story_site.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def rows(page: Page) -> list[str]:
    # Not the inner text: rows outside the view are not laid out, and have none.
    return [" ".join(text.split()) for text in page.locator(".listing tbody tr:visible th").all_text_contents()]


def widely_held(site: Site) -> tuple[str, set[str]]:
    """The secret that most images hold, and the repositories and digests of those."""
    shared = queries.shared_secrets(queries.findings(site.store, site.sweep.id))[0]
    return secret_page(shared.secret), set(shared.images)


def test_a_secrets_page_lists_every_image_that_holds_it_and_leads_there(
    story_site: Site, go: Callable[..., Page]
) -> None:
    path, images = widely_held(story_site)
    page = go()
    page.get_by_role("navigation", name="Dashboard").get_by_role("link", name="Secrets").click()
    page.get_by_role("combobox", name="Sort by").select_option("images")
    page.locator("tbody tr a").first.click()
    assert page.url.endswith(path)
    listed = page.evaluate(
        "[...document.querySelectorAll('#locations tbody tr')].map(e => e.querySelector('bdi').textContent + '@' +"
        " e.querySelector('th code[title]').title)"
    )
    assert set(listed) == images and len(listed) == 6
    text = page.locator("main").inner_text()
    for part in ("In 6 images of 2 repositories", "296 days", "2026-02-01", "https://github.com/settings/tokens",
                 "/root/.netrc", "2.0-arm", "linux/arm64"):  # fmt: skip
        assert part in text
    page.locator("#locations tbody a").first.click()
    body = page.locator(".secret[open] .body")
    expect(body).to_be_in_viewport()
    assert "/root/.netrc, line 1" in body.inner_text()
    body.get_by_role("link", name="in 6 images of the registry").click()
    assert page.url.endswith(path)


@pytest.mark.parametrize(
    ("name", "choose", "want"),
    [
        ("index.html", lambda page: page.get_by_role("checkbox", name="high").check(), 1),
        ("index.html", lambda page: page.get_by_role("checkbox", name="deleted").check(), 2),
        ("index.html", lambda page: page.get_by_label("Text").fill("SHOP arm"), 1),
        ("index.html", lambda page: page.get_by_role("combobox", name="Repository").select_option("team/web"), 3),
        ("index.html", lambda page: page.get_by_role("combobox", name="With").select_option("no findings"), 1),
        ("index.html", lambda page: page.get_by_role("combobox", name="With").select_option("new findings"), 3),
        ("index.html", lambda page: page.get_by_label("Text").fill("nowhere"), 0),
        ("secrets.html", lambda page: page.get_by_role("combobox", name="Found in").select_option("several images"), 2),
        ("secrets.html", lambda page: page.get_by_label("Text").fill("nowhere"), 0),
        ("secrets.html", lambda page: page.get_by_role("checkbox", name="high").check(), 1),
        ("secrets.html", lambda page: page.get_by_role("combobox", name="Owner").select_option("web"), 4),
        ("secrets.html", lambda page: page.get_by_role("combobox", name="Work").select_option("overdue"), 6),
        ("repositories.html", lambda page: page.get_by_role("combobox", name="Owner").select_option("shop"), 1),
        ("repositories.html", lambda page: page.get_by_role("combobox", name="With").select_option("no secrets"), 1),
        ("layers.html", lambda page: page.get_by_label("Text").fill(".netrc"), 1),
    ],
)
def test_each_filter_shows_matching_rows_and_their_number(
    go: Callable[..., Page], name: str, choose: Callable[[Page], None], want: int
) -> None:
    page = go(name)
    every = len(rows(page))
    choose(page)
    assert len(rows(page)) == want
    assert page.locator("output").inner_text() == f"Showing {want} of {every}"
    expect(page.locator(".none")).to_be_visible(visible=want == 0)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("output")).to_have_text(f"Showing all {every}")


def test_the_search_finds_what_a_row_shows_in_part(story_site: Site, go: Callable[..., Page]) -> None:
    """Rules, all repositories of a secret, whole digests, and ids of secrets."""
    tables = {
        name: json.loads((story_site.folder / f"json/{name}.json").read_text())
        for name in ("secrets", "images", "layers")
    }
    secrets, layers = tables["secrets"], tables["layers"]
    rule, image, layer = secrets[0]["rule"], tables["images"][0]["digest"], layers[0]["layer"]
    shared = secrets[0]["repositories"].split()
    assert shared == ["shop/checkout", "team/web"]
    for name, text, want in (
        ("secrets.html", rule, sum(one["rule"] == rule for one in secrets)),
        ("secrets.html", shared[1], sum(shared[1] in one["repositories"].split() for one in secrets)),
        ("secrets.html", secrets[1]["secret_id"], 1),
        ("secrets.html", secrets[1]["secret_id"][:12].upper(), 1),
        (owner_page("web"), rule, sum(one["rule"] == rule and "web" in one["owners"] for one in secrets)),
        ("index.html", image, 1),
        ("layers.html", layer, 1),
        ("layers.html", rule, sum(rule in one["rules"].split() for one in layers)),
    ):
        page = go(name)
        page.get_by_label("Text").fill(text)
        assert len(rows(page)) == want > 0, text


def test_repositories_without_an_owner_can_be_chosen(tmp_path: Path, scanner: Scanner, open_page: Open) -> None:
    built = {"1": service("a", token(1))}
    with closing(SweepStore(f"sqlite:///{tmp_path}/store.sqlite")) as store:
        content = {"shop/a": built, "b": {"1": service("b", token(2))}, "shop/c": {"1": service("c", token(3))}}
        sweep = Stored(store, scanner, tmp_path / "images").sweep("2026-11-24", {**content, "d": built})
        policy = Policy(POLICY.today, Owners({"**/shop/**": OwnerOptions("shop")}))
        write_site(store, sweep, tmp_path / "site", CREATED, policy)
    for name, want in (("secrets.html", 2), ("repositories.html", 2)):
        page = open_page(tmp_path / "site" / name, site=tmp_path / "site")
        owner = page.get_by_role("combobox", name="Owner")
        assert owner.locator("option").all_text_contents() == ["any", "shop", "no owner"]
        owner.select_option("no owner")
        assert len(rows(page)) == want


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hints_of_searches_have_contrast(go: Callable[..., Page], scheme: str) -> None:
    field = go("secrets.html", color_scheme=scheme).get_by_label("Text")
    colors = field.evaluate(
        "e => [getComputedStyle(e, '::placeholder').color, getComputedStyle(e).backgroundColor]"
        ".map(color => color.match(/[0-9.]+/g).map(Number))"
    )
    assert all(len(color) == 3 for color in colors), "opaque"
    dark, light = sorted(map(luminance, colors))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def luminance(color: list[float]) -> float:
    parts = [part / 255 for part in color]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_chart_of_an_image_has_the_colours_of_its_report(story_site: Site, go: Callable[..., Page]) -> None:
    image = next(one for one in image_list.images(story_site.store, story_site.sweep) if one.by_severity)
    page = go(image_page(image))
    accent = page.locator(".key.size").evaluate("e => getComputedStyle(e).backgroundColor")
    fills = page.locator(".columns rect").evaluate_all("all => all.map(e => getComputedStyle(e).fill)")
    assert set(fills) == {accent}
    margins = page.locator(".card").evaluate_all("all => all.map(e => getComputedStyle(e).marginBottom)")
    assert "0px" not in margins


def test_labels_of_a_narrow_table_do_not_touch_the_numbers(changed: Story, tmp_path: Path, open_page: Open) -> None:
    save_acknowledgement(changed.store, changed.shared, "vendor key", "ada", CREATED, None)
    write_site(changed.store, changed.sweep, tmp_path / "site", CREATED, changed.policy)
    page = open_page(tmp_path / "site/owners.html", site=tmp_path / "site", size=PHONE)
    gap = page.locator("td[data-label='Acknowledged']:visible").first.evaluate(
        "e => parseFloat(getComputedStyle(e).paddingLeft) - parseFloat(getComputedStyle(e, '::before').width)"
    )
    assert gap >= 8


def test_filters_and_order_stand_in_the_address_and_come_back_with_it(go: Callable[..., Page]) -> None:
    page = go()
    before = rows(page)
    page.get_by_role("combobox", name="Sort by").select_option("findings")
    assert rows(page)[0].startswith("shop/checkout 1.0") and sorted(rows(page)) == sorted(before)
    page.get_by_role("checkbox", name="critical").check()
    page.get_by_label("Text").fill("web")
    page.wait_for_url("**text=web**")
    again = go("index.html", "#" + page.url.partition("#")[2])
    assert rows(again) == rows(page) and len(rows(page)) == 3
    assert again.get_by_role("checkbox", name="critical").is_checked()
    again.get_by_role("button", name="Clear").click()
    expect(again.locator("output")).to_have_text("Showing all 8")
    assert rows(again) == before


def test_addresses_name_the_repository_and_the_owner(go: Callable[..., Page]) -> None:
    """Their numbers differ between sweeps, so that an address with them would show another one later."""
    for choice, text, part in (("Repository", "team/web", "repository=team%2Fweb"), ("Owner", "web", "owner=web")):
        page = go("secrets.html")
        page.get_by_role("combobox", name=choice).select_option(text)
        page.wait_for_url(f"**?{part}")
        again = go("secrets.html", f"#secrets?{part}")
        assert rows(again) == rows(page)
        assert again.get_by_role("combobox", name=choice).locator("option:checked").text_content() == text
        assert again.locator("output").text_content() == page.locator("output").text_content()


def test_leaking_layers_say_what_added_them_and_which_tags_hold_them(go: Callable[..., Page]) -> None:
    page = go("layers.html")
    first = page.locator("tbody tr").first
    text = first.text_content() or ""
    assert "COPY .netrc /root/.netrc" in text and "2026-02-01" in text
    first.locator("summary").click()
    for tag in ("shop/checkout:1.0", "shop/checkout:2.0-arm", "shop/checkout:latest", "team/web:3"):
        expect(first.get_by_text(tag, exact=True)).to_be_visible()
    assert first.locator("details li").count() == 6


def test_the_overview_says_what_is_new_gone_old_and_not_audited(go: Callable[..., Page]) -> None:
    text = " ".join(go().locator("main").inner_text().split())
    for part in ("LEAKS: 8 secrets at 14 places;", "7 of 8", "New: 2", "Gone: 1", "batch/job /srv/job/config-1.env:1",
                 "under a year 4 critical", "vendor/blob:9 layer sha256:00ff… was cut short"):  # fmt: skip
        assert part in text
    page = go()
    page.locator("#changes li a").first.click()
    expect(page.locator(".secret[open]")).to_be_in_viewport()


def test_pictures_have_words_and_a_table(go: Callable[..., Page]) -> None:
    page = go("sweeps.html")
    picture = page.get_by_role("img", name="Findings in images by severity")
    assert "2026-11-24 05:00: 13 critical, 1 high" in (picture.get_attribute("aria-label") or "")
    assert picture.locator("rect.critical").count() == 7
    assert page.locator("tbody tr").count() == 7


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", [*PAGES, "secret", "owner", "repository", "image"])
def test_axe_finds_nothing_and_nothing_sticks_out(
    story_site: Site, go: Callable[..., Page], name: str, scheme: str, size: tuple[int, int]
) -> None:
    odd = {
        "secret": widely_held(story_site)[0],
        "owner": owner_page("web"),
        "repository": repository_page("shop/checkout"),
        "image": image_page(image_list.images(story_site.store, story_site.sweep)[2]),
    }
    page = go(odd.get(name, name), size=size, color_scheme=scheme)
    for summary in page.locator(".more > summary").all()[:2]:
        summary.click()
    found = Axe().run(page, options={"runOnly": list(STANDARDS), "resultTypes": ["violations"]}).response["violations"]
    assert [(item["id"], [node["html"][:120] for node in item["nodes"]][:3]) for item in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_keyboard_alone_reaches_the_content_and_the_images(go: Callable[..., Page]) -> None:
    page = go()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#failed"
    page.locator("#images tbody a").first.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/images/*.html")


def test_without_its_script_every_table_is_complete(go: Callable[..., Page]) -> None:
    page = go(script=False)
    assert not page.locator(".filters").is_visible()
    assert len(rows(page)) == 8
    page.locator("#images tbody a").first.click()
    assert "/images/" in page.url


def test_print_shows_tables_in_light_colours_without_forms(go: Callable[..., Page]) -> None:
    page = go(color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".filters").is_visible() and not page.locator("nav").is_visible()
    assert len(rows(page)) == 8
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_it_works_behind_a_web_server(served: str, browser: Browser) -> None:
    page = browser.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served + "/")
    page.locator("#images tbody a").first.click()
    page.get_by_role("link", name="Trends").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").last.click()
    assert download.value.path().read_text().startswith("sweep,registry,started")
    page.close()
    assert said == []
    assert all(url.startswith((served, "data:image/svg+xml,")) for url in asked)


def test_hostile_names_are_only_shown(tmp_path: Path, scanner: Scanner, open_page: Open) -> None:
    folder = tmp_path / "site"
    with closing(SweepStore(f"sqlite:///{tmp_path}/store.sqlite")) as store:
        stored = Stored(store, scanner, tmp_path / "images")
        content = {
            name: {HOSTILE: service("a", token(1)), "2": service("b", token(2))} for name in (HOSTILE, "x" * 255)
        }
        sweep = stored.sweep("2026-11-24", content, failed=[(HOSTILE, HOSTILE)])
        write_site(store, sweep, folder, CREATED, POLICY)
    page = open_page(folder / "index.html", site=folder, size=PHONE)
    text = page.locator("main").inner_text()
    shown = sorted(folder.rglob("*.html"))
    assert {path.relative_to(folder).parts[0] for path in shown} > {"index.html", "images", "repositories", "secrets"}
    for path in shown:
        page.goto(path.as_uri())
        assert page.locator("script").count() == 1 and page.locator("main script").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    assert "<script>alert(1)" in text and "{{7*7}}" in text and "\\u202e" in text


def test_hundreds_of_images_and_findings_stay_within_reach(tmp_path: Path, scanner: Scanner, open_page: Open) -> None:
    folder = tmp_path / "site"
    with closing(SweepStore(f"sqlite:///{tmp_path}/store.sqlite")) as store:
        stored = Stored(store, scanner, tmp_path / "images")
        images = [service(f"s{n}", *(token(n * 100 + k) for k in range(8)), hidden=n % 8) for n in range(20)]
        content = {f"team{n % 3}/app{n}": dict(zip(map(str, range(20)), images, strict=True)) for n in range(6)}
        sweep = stored.sweep("2026-11-24", content)
        write_site(store, sweep, folder, CREATED, POLICY)
    assert len(list(folder.glob("images/*"))) == 120 and len(list(folder.glob("secrets/*"))) == 160
    assert all(path.stat().st_size < 200_000 for path in folder.rglob("*.html"))
    page = open_page(folder / "index.html", site=folder)
    expect(page.locator("#images output")).to_have_text("Showing all 50")
    page.get_by_role("combobox", name="Repository").select_option("team0/app3")
    page.get_by_role("checkbox", name="deleted").check()
    expect(page.locator("#images output")).to_have_text("Showing 17 of 50")
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#images output")).to_have_text("Showing all 50")
    page.get_by_role("link", name="3", exact=True).click()
    expect(page.locator("#images output")).to_have_text("Showing all 20")
    secrets = open_page(folder / "secrets.html", site=folder)
    expect(secrets.locator("output")).to_have_text("Showing all 100")
    secrets.locator("tbody a").first.click()
    expect(secrets.locator("output")).to_have_text("Showing all 6")
