"""Pages of an image with thousands of findings: small, complete, and linked with each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from auditor.fleet.dashboard.image_pages import pages_of_images
from auditor.fleet.dashboard.publish import write_site
from auditor.fleet.dashboard.view import sweep_view
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.scan import Scanner
from tests.fleet.dashboard.test_dashboard import Links
from tests.fleet.stored import CREATED, POLICY, Site, Stored
from tests.images import image, layer, step, token, whiteout

DISTINCT, COPIES, LONG = 100, 400, "d" * 200
"""Secrets of their own, files with one and the same secret, and a part of long paths."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, scanner: Scanner) -> Iterator[Site]:
    """The site of an image with 500 findings in long paths and 60 layers."""
    folder = tmp_path_factory.mktemp("large")
    files = {f"srv/{LONG}/{LONG}/{number}.env": f"TOKEN={token(number)}\n" for number in range(DISTINCT)}
    copies = {f"opt/{LONG}/{number}.env": f"TOKEN={token(0)}\n" for number in range(COPIES)}
    upper = [layer({f"srv/more{number}": "x"}) for number in range(57)]
    built = image(
        layer(files),
        layer(copies),
        layer(*(whiteout(path) for path in [*files][:50])),
        *upper,
        history=[step(f"RUN {'long command ' * 100}{number}") for number in range(60)],
    )
    with closing(SweepStore(f"sqlite:///{folder}/store.sqlite")) as store:
        sweep = Stored(store, scanner, folder / "images").sweep("2026-11-24", {"team/large": {"1": built}})
        write_site(store, sweep, folder / "site", CREATED, POLICY)
        yield Site(folder / "site", store, sweep)


def test_each_page_is_below_200_kb_and_all_findings_are_on_one(large: Site) -> None:
    pages = sorted(large.folder.glob("images/*.html"))
    assert len(pages) > 5 and max(path.stat().st_size for path in pages) < 200_000
    ids = [match for path in pages for match in re.findall(r'id="(f-[^"]+)"', path.read_text())]
    found = queries.findings(large.store, large.sweep.id)
    assert len(found) == DISTINCT + COPIES and sorted(ids) == sorted(f"f-{row.id}" for row in found)


def test_all_pages_of_the_site_are_below_200_kb_and_their_links_lead_to_places(large: Site) -> None:
    pages = {path: Links(path.read_text()) for path in large.folder.rglob("*.html")}
    assert max(path.stat().st_size for path in pages) < 200_000
    for path, page in pages.items():
        for link in page.links:
            target, _, fragment = link.partition("#")
            if link.startswith(("https://", "data:")) or not fragment:
                continue
            assert fragment in pages[(path.parent / target).resolve() if target else path].ids, (path.name, link)


def test_every_page_leads_to_the_others(large: Site) -> None:
    view = sweep_view(large.store, large.sweep, POLICY)
    (own,) = view.image_pages.values()
    for path in own.paths:
        links = Links((large.folder / path).read_text()).links
        assert f"../{own.paths[0]}" in links and f"../{own.paths[-1]}" in links


def test_an_image_without_findings_has_one_page_and_unknown_findings_are_on_the_first(large: Site) -> None:
    view = sweep_view(large.store, large.sweep, POLICY)
    (row,) = view.images
    assert pages_of_images([row], ())[row.id].paths == (view.pages[row.id],)
    own = view.image_pages[row.id]
    assert own.on(own.paths[0], ["unknown"]) == {"unknown"} and own.on(own.paths[1], ["unknown"]) == set()
