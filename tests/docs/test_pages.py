"""Every page of the docs, followed from top to bottom."""

from __future__ import annotations

from itertools import groupby

import pytest

from tests.docs.conftest import Reader
from tests.docs.content import check
from tests.docs.output import same
from tests.docs.page import PAGES, PARSED, ROOT, Page, parse
from tests.docs.reader import Done
from tests.docs.services import SERVICES, SETUPS, Names

NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
NOT_RUN = {
    "README.md": ["continuous integration runs both", "asks a package index"],
    "CONTRIBUTING.md": ["installs from the network; continuous integration runs them"],
    "docs/attest.md": ["cosign is no part of image-audit", "needs a cluster"],
    "docs/comparison.md": ["takes minutes", "takes minutes"],
    "docs/explore.md": ["needs a terminal"],
    "docs/formats.md": ["talks to GitHub"],
    "docs/index.md": ["installs from the network"],
    "docs/performance.md": ["takes minutes"],
    "docs/registries.md": ["needs accounts at these registries", "needs a registry with these certificates"],
    "docs/registry.md": ["installs from the network"],
    "docs/schedule.md": ["installs from the network, and starts services", "downloads images", "needs a cluster"],
    "docs/targets.md": ["needs Podman's own storage", "needs the storage of these tools"],
}
"""All that the docs show and no test runs, and why."""


def opened(name: str) -> Page:
    return parse((ROOT / name).read_text(), name)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_works_as_it_is_written(name: str, request: pytest.FixtureRequest) -> None:
    page = opened(name)
    assert set(page.setups) <= {*SETUPS, *SERVICES}
    if not any(block.runs for block in page.blocks):
        return
    reader: Reader = request.getfixturevalue("reader")
    done, names = reader(page)
    for _, group in groupby(done, lambda one: one.command.block.line):
        _compare(name, list(group), names)


def _compare(page: str, done: list[Done], names: Names) -> None:
    block = done[0].command.block
    where = f"{page}:{block.line}"
    printed = "".join(one.printed for one in done)
    codes = [code for one in done for code in one.exits or ()]
    assert all(one.exits is not None for one in done), f"{where}: the shell did not come to its end\n{printed}"
    assert codes == block.exits, f"{where}: exit codes {codes}, said are {block.exits}\n{printed}"
    for one in done:
        seen, shown = names.named(one.printed), one.command.shown
        assert shown is None or same(shown, seen), f"{where}: {one.command.text}\nshown:\n{shown}\nprinted:\n{seen}"


@pytest.mark.parametrize("name", NAMES)
def test_what_a_page_shows_of_files_is_valid(name: str) -> None:
    for block in opened(name).blocks:
        if block.language in PARSED and "shown" not in block.marks:
            try:
                check(block.language, block.text)
            except Exception as exc:
                raise AssertionError(f"{name}:{block.line}: {type(exc).__name__}: {exc}") from exc


def test_no_other_command_is_left_out() -> None:
    reasons = {name: [one.marks["shown"] for one in opened(name).blocks if "shown" in one.marks] for name in NAMES}
    assert {name: found for name, found in reasons.items() if found} == NOT_RUN
