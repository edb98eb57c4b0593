"""Real paths through the symbolic links of a layer."""

from __future__ import annotations

import pytest

from auditor.core.errors import Damaged
from auditor.core.limits import DEFAULT, Limits
from auditor.layers.path_resolver import PathResolver


def resolver(limits: Limits = DEFAULT, /, **links: str) -> PathResolver:
    made = PathResolver(limits)
    for path, target in links.items():
        made.add(path.replace("__", "/"), target)
    return made


def test_links_among_the_parents_are_followed_and_the_name_itself_is_not() -> None:
    links = resolver(bin="usr/bin", lib="/usr/lib", a__b="../c")
    assert links.real("bin/sh") == "usr/bin/sh"
    assert links.real("lib/x/y") == "usr/lib/x/y"
    assert links.real("a/b/c") == "c/c"
    assert links.real("bin") == "bin"


def test_a_link_above_the_root_ends_at_the_root() -> None:
    assert resolver(a="../../..").real("a/b") == "b"


def test_links_that_lead_to_links_are_followed() -> None:
    links = resolver(a="b", b="c/d", c="e")
    assert links.real("a/x") == "e/d/x"


def test_in_a_loop_the_path_stays() -> None:
    assert resolver(a="b", b="a").real("a/x") == "a/x"


def test_a_link_that_is_replaced_is_followed_no_more() -> None:
    links = resolver(a="b")
    assert links.real("a/x") == "b/x"
    links.add("a", None, folder=True)
    assert links.real("a/x") == "a/x"
    links.add("a", "c")
    assert links.real("a/x") == "c/x"


def test_a_folder_that_becomes_a_link_is_followed() -> None:
    links = resolver(z="y")
    assert links.real("a/b/x") == "a/b/x"
    links.add("a", "c")
    assert links.real("a/b/x") == "c/b/x"


def test_a_link_goes_with_the_folder_that_holds_it() -> None:
    links = resolver(a__b="c")
    links.add("a", None)
    links.add("a", None, folder=True)
    assert links.real("a/b/x") == "a/b/x"


def test_steps_are_limited() -> None:
    links = resolver(Limits(link_steps=100), a="/".join(["b"] * 60))
    assert links.real("a/x").endswith("/x")
    links.add("a", "/".join(["c"] * 60))
    with pytest.raises(Damaged, match="link-steps"):
        links.real("a/x")
