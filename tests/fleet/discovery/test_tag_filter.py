"""Selection of repositories and tags: globs, prefixes, lists, newest tags, the config file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.core.errors import UsageError
from auditor.core.options import Exclusions, RegistryOptions
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Content, Remote, application, fill
from tests.fleet.proxy import Proxy

pytestmark = pytest.mark.registry
Filled = tuple[str, Content]


def test_lists_of_repositories_and_tags_are_read_to_their_last_page(
    sweeps: Sweeps, start_registry: Callable[[str], str], proxy_to: Callable[[str], Proxy]
) -> None:
    address = start_registry("catalog: {maxentries: 3}\n")
    content = fill(Remote(address), repositories=7, tags=3)
    proxy = proxy_to(address)
    proxy.page = 2
    found = sweeps(proxy.address)
    assert found["failed"] == []
    assert {(item["repository"], item["digest"]) for item in found["images"]} == content.images
    assert (proxy.asked["GET", "/v2/_catalog"], proxy.asked["GET", "/v2/team0/app0/tags/list"]) == (3, 2)


def test_globs_select_repositories_and_tags(sweeps: Sweeps, filled: Filled) -> None:
    found = sweeps(filled[0], repos=("team0/*",), tags=("1.0", "1.3"))
    assert {item["repository"] for item in found["images"]} == {f"team0/app{n}" for n in (0, 3, 6, 9)}
    assert {tag for item in found["images"] for tag in item["tags"]} == {"1.0", "1.3"}


def test_a_prefix_selects_repositories_below_it(sweeps: Sweeps, filled: Filled) -> None:
    found = sweeps(f"{filled[0]}/team1")
    assert found["registry"] == f"{filled[0]}/team1"
    assert {item["repository"] for item in found["images"]} == {f"team1/app{n}" for n in (1, 4, 7)}


def test_newest_selects_tags_by_the_creation_time_of_their_images(sweeps: Sweeps, address: str) -> None:
    remote = Remote(address)
    for tag, year in (("a", 2021), ("b", 2025), ("c", 2023), ("d", 2024)):
        built = application(0, tag, None)
        built.config["created"] = f"{year}-01-01T00:00:00Z"
        remote.push("team/app", tag, built)
    for _ in range(2):  # from the registry, then from the store
        found = sweeps(address, newest=2)
        assert [item["tags"] for item in found["images"]] == [["b"], ["d"]]


def test_a_list_may_contain_references_and_repositories(sweeps: Sweeps, filled: Filled, tmp_path: Path) -> None:
    address, content = filled
    one = next(name for repository, name in sorted(content.images) if repository == "team1/app4")
    lines = tmp_path / "list"
    lines.write_text(f"# ours\nteam0/app0:1.1\n{address}/team0/app3\n\nteam1/app4@{one}\nteam9/none:1\n")
    found = sweeps(address, lines)
    assert {(item["repository"], *item["tags"]) for item in found["images"]} >= {
        ("team0/app0", "1.1"), ("team0/app3", "1.0"), ("team0/app3", "1.3"),
    }  # fmt: skip
    assert len(found["images"]) == 6
    assert [item["reference"] for item in found["failed"]] == ["team9/none:1"]


def test_the_host_is_optional_if_the_lines_of_a_list_name_it(sweeps: Sweeps, filled: Filled, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(f"docker://{filled[0]}/team0/app0:1.1\n")
    assert [item["tags"] for item in sweeps(None, tmp_path / "list")["images"]] == [["1.1"]]


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "contains no reference"), ("UPPER/case", "line 1"), ("a.example/x\nb.example/y", "several registries")],
)
def test_an_invalid_list_is_a_usage_error(sweeps: Sweeps, tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(UsageError, match=word):
        sweeps(None, tmp_path / "list")


def test_the_config_file_has_settings_for_a_part_of_the_registry(sweeps: Sweeps, filled: Filled) -> None:
    address = filled[0]
    registries = {
        address: RegistryOptions(tags=("1.0", "1.1")),
        f"{address}/team1": RegistryOptions(newest=1, exclude=Exclusions(paths=("/app/**",))),
    }
    found = sweeps(address, registries=registries)
    team1 = [item for item in found["images"] if item["repository"].startswith("team1/")]
    assert len(team1) == 3 and not any(item["by_severity"] for item in team1)
    assert len(found["images"]) == 3 + 2 * 7
