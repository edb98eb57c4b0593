"""The HTML report as people use it: mouse, keyboard, phone, printer, screen reader, and without its script."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser import DESKTOP, PHONE, STANDARDS, Open
from tests.images import Built
from tests.report.browser import planted

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
Report = Callable[..., Path]


@pytest.fixture
def ten(report: Report) -> Path:
    return report("ten", planted.story())


def shown(page: Page) -> int:
    return page.locator(".secret:visible").count()


def said(page: Page) -> str:
    return page.locator("output").inner_text()


@pytest.mark.parametrize(
    ("choose", "want"),
    [
        (lambda page: page.get_by_label("metadata", exact=False).check(), 1),
        (lambda page: page.get_by_label("Text").fill("ROTATE.sh overwritten"), 1),
        (lambda page: page.get_by_role("combobox", name="Layer").select_option("1"), 2),
        (lambda page: page.get_by_role("combobox", name="Layer").select_option("3"), 3),
        (lambda page: page.get_by_role("combobox", name="Provider").select_option("github"), 7),
        (lambda page: page.get_by_label("critical").check(), 7),
        (lambda page: page.get_by_label("Text").fill("nowhere"), 0),
    ],
    ids=["state", "text", "layer", "layers that hide", "provider", "severity", "nothing"],
)
def test_each_filter_shows_matching_rows_and_their_number(
    ten: Path, open_page: Open, choose: Callable[[Page], None], want: int
) -> None:
    page = open_page(ten)
    choose(page)
    assert shown(page) == want
    assert said(page) == ("Showing all 7" if want == 7 else f"Showing {want} of 7")
    expect(page.get_by_text("No secret matches")).to_be_visible(visible=want == 0)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".secret:visible")).to_have_count(7)


def test_filters_stand_in_the_address_and_come_back_with_it(ten: Path, open_page: Open) -> None:
    page = open_page(ten)
    page.get_by_label("deleted").check()
    page.get_by_label("Text").fill("netrc")
    page.get_by_role("combobox", name="Sort by").select_option("path")
    again = open_page(ten, "#" + page.url.partition("#")[2])
    assert shown(again) == 1
    assert again.get_by_label("deleted").is_checked()
    assert again.get_by_label("Text").input_value() == "netrc"


def test_findings_are_sorted_as_asked_and_back(ten: Path, open_page: Open) -> None:
    page = open_page(ten)
    places = page.locator(".secret .place")
    before = places.all_text_contents()
    page.get_by_role("combobox", name="Sort by").select_option("hidden")
    assert set(page.locator(".secret .state").all_text_contents()[:2]) == {
        "overwritten in layer 3",
        "deleted in layer 3",
    }
    page.get_by_role("combobox", name="Sort by").select_option("path")
    assert places.all_text_contents()[:2] == ["/app/.env:1", "/app/.env:1"]
    page.get_by_role("combobox", name="Sort by").select_option("")
    assert places.all_text_contents() == before


def test_a_lane_opens_its_finding_with_all_that_matters(ten: Path, open_page: Open) -> None:
    page = open_page(ten)
    page.locator(".lane").filter(has_text="/root/.netrc").click()
    body = page.locator(".secret[open] .body")
    expect(page.locator(".secret[open] .at")).to_be_in_viewport()
    text = " ".join(body.inner_text().split())
    for part in (
        "Added in layer 1 by COPY .netrc /root/.netrc",
        "Deleted in layer 3 by RUN ./rotate.sh && rm /root/.netrc",
        "Still recoverable",
        "Revoke or rotate the secret at https://github.com/settings/tokens",
        "Exclude the file in .dockerignore",
        "--layer 1",
        "/root/.netrc, line 1",
    ):
        assert part in text
    assert "ghp_****" in page.locator(".secret[open] summary").inner_text()
    assert page.evaluate("document.activeElement.matches('.secret[open] summary')")
    assert "#f-" in page.url


def test_the_file_tree_of_a_layer_leads_to_the_secret_and_again(ten: Path, open_page: Open) -> None:
    page = open_page(ten)
    page.get_by_text("Files of layer 1").press("Enter")
    link = page.locator(".tree .added").filter(has_text="added: .netrc").get_by_role("link")
    for _ in range(2):
        link.press("Enter")
        secret = page.locator(".secret[open]")
        expect(secret.locator(".place")).to_contain_text("/root/.netrc")
        secret.locator("summary").press("Enter")


def test_a_finding_has_an_address_even_where_a_filter_hides_it(ten: Path, open_page: Open) -> None:
    page = open_page(ten)
    page.get_by_label("Text").fill("nowhere")
    anchor = page.locator(".secret .at").nth(3).get_attribute("id")
    page.evaluate("hash => { location.hash = hash }", anchor)
    expect(page.locator(f"#{anchor}")).to_be_in_viewport()
    linked = open_page(ten, f"#{anchor}")
    expect(linked.locator(f"#{anchor}")).to_be_in_viewport()
    assert linked.locator(".secret[open]").count() == 1


def test_the_keyboard_alone_reaches_and_opens_findings(ten: Path, open_page: Open) -> None:
    page = open_page(ten)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the secrets"
    page.keyboard.press("Enter")
    page.locator(".lane").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".secret[open]").count() == 1
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator(".secret").nth(1).get_attribute("open") is not None
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.closest('.secret') === document.querySelector('.secret:last-child')")


def test_a_command_is_copied(ten: Path, open_page: Open) -> None:
    page = open_page(ten)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".secret summary").first.click()
    page.locator(".secret[open]").get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("image-audit recover ")


def test_without_its_script_the_page_is_complete(ten: Path, open_page: Open) -> None:
    page = open_page(ten, script=False)
    assert not page.locator(".filters").is_visible()
    page.locator(".lane").first.click()
    expect(page.locator(".secret[open]")).to_have_count(1)
    page.locator(".secret summary").nth(4).click()
    expect(page.locator(".secret .body:visible")).to_have_count(2)


def test_print_opens_every_finding_in_light_colours(ten: Path, open_page: Open) -> None:
    page = open_page(ten, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("[...document.querySelectorAll('.secret .body')].every(e => e.checkVisibility())")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".filters").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_a_long_list_is_printed_without_the_details_of_closed_secrets(report: Report, open_page: Open) -> None:
    page = open_page(report("long", planted.many(120)))
    page.locator(".secret summary").first.click()
    page.emulate_media(media="print")
    visible = page.evaluate(
        "[...document.querySelectorAll('.secret .body')].filter("
        "e => e.checkVisibility({contentVisibilityAuto: true})).length"
    )
    assert visible == 1
    assert page.locator(".printed").is_visible()


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["ten", "clean", "several", "layers"])
def test_axe_finds_nothing_and_nothing_sticks_out(
    report: Report, open_page: Open, name: str, scheme: str, size: tuple[int, int]
) -> None:
    images: dict[str, tuple[Built, ...]] = {
        "ten": (planted.story(),),
        "clean": (planted.clean(),),
        "several": (planted.story(), planted.clean(), planted.hostile()),
        "layers": (planted.many(60, 127),),
    }
    page = open_page(report(name, *images[name]), size=size, color_scheme=scheme)
    first = (
        ".secret:nth-child(-n+2) > summary, .more:not(.files) > summary, .steps > :nth-child(-n+4) > .files > summary"
    )
    for summary in page.locator(first).all():
        summary.click()
    found = Axe().run(page, options={"runOnly": list(STANDARDS), "resultTypes": ["violations"]}).response["violations"]
    assert [(item["id"], [node["html"][:120] for node in item["nodes"]][:3]) for item in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_several_images_have_an_overview_and_addresses_of_their_own(report: Report, open_page: Open) -> None:
    page = open_page(report("twins", planted.story(), planted.story(), planted.clean()))
    assert page.get_by_role("heading", level=1).inner_text() == "3 images"
    assert page.get_by_role("navigation", name="Images").get_by_role("listitem").count() == 3
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    page.locator(".image").nth(1).get_by_label("Text").fill("build.log")
    assert page.locator("output").all_inner_texts() == ["Showing all 7", "Showing 1 of 7"]


def test_hostile_names_are_only_shown(report: Report, open_page: Open) -> None:
    page = open_page(report("hostile", planted.hostile()), size=PHONE)
    text = page.locator("main").inner_text()
    assert "<script>alert(1)" in text and "{{7*7}}" in text and "\\u202e" in text
    assert page.locator("script").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_policy_lets_no_other_script_or_style_in(ten: Path, browser: Browser) -> None:
    text = ten.read_text()
    assert re.search(r"default-src 'none'; img-src data:; style-src 'sha256-[^ ]+'; script-src 'sha256-[^ ]+';", text)
    assert "unsafe" not in text and not re.search(r"\sstyle=|\son\w+=", text)
    spoiled = ten.with_name("spoiled.html")
    spoiled.write_text(text.replace("</main>", "<script>alert(1)</script><p style='color:red' id=red>x</p></main>"))
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: pytest.fail("the script ran"))
    page.goto(spoiled.as_uri())
    assert len([line for line in said if "Content Security Policy" in line]) == 2
    page.close()


def test_five_thousand_findings_stay_within_reach(report: Report, open_page: Open) -> None:
    path = report("thousands", planted.many(5000, 30))
    assert path.stat().st_size < 10_000_000
    page = open_page(path)
    assert said(page) == "Showing all 5,000"
    assert page.locator(".lane").count() == 30
    lane = page.locator(".lane").filter(has_text="deleted in layer").first
    count = lane.locator("b").inner_text().split()[0]
    lane.click()
    assert said(page) == f"Showing {count} of 5,000"
    page.get_by_label("Text").fill("config-42")
    page.get_by_role("button", name="Show all secrets").click()
    page.get_by_label("Text").fill("config-4242.env")
    assert shown(page) in (1, 2)
