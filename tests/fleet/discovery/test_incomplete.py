"""Sweeps of registries whose lists are incomplete or wrong: each gap is a failure, and the rest is audited."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from auditor.registry.retry import Clock
from tests.fleet.conftest import Sweeps
from tests.images import image, layer
from tests.registry.double import Answer, Asked, Double


class _Open(Double):
    """A registry without logins, with one image under all tags. `answers` replace those to some paths."""

    images: Mapping[str, Sequence[str]] = {"team/app": ("1", "2", "3"), "team/web": ("1",)}

    def __init__(self) -> None:
        super().__init__()
        blobs, root = image(layer({"app/readme": "hello\n"})).blobs()
        self.blobs, self.root = blobs, root["digest"]
        self.answers: dict[str, Answer] = {}

    def answer(self, asked: Asked) -> Answer:
        if asked.path in self.answers and ("last" in asked.query or not self.answers[asked.path].headers):
            return self.answers[asked.path]
        return Answer({}) if asked.path == "/v2/" else super().answer(asked)

    def allows(self, asked: Asked, scope: str) -> bool:
        return True


@pytest.fixture
def double() -> Iterator[_Open]:
    server = _Open()
    yield server
    server.close()


UNKNOWN = Answer({"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known to registry"}]}, 404)
HTML = Answer("<html>nginx</html>", 404)
_LATER = {"X-Page": "later"}  # an answer with a header is for later pages only


def audited(found: dict[str, Any]) -> set[str]:
    return {item["repository"] for item in found["images"]}


def failures(found: dict[str, Any]) -> dict[str, str]:
    return {item["reference"]: item["reason"] for item in found["failed"]}


def test_a_repository_that_was_deleted_after_the_catalog_was_read_is_no_failure(sweeps: Sweeps, double: _Open) -> None:
    double.answers["/v2/team/web/tags/list"] = UNKNOWN
    found = sweeps(double.address)
    assert audited(found) == {"team/app"} and found["failed"] == []


def test_a_404_that_is_not_of_the_registry_is_a_failure(sweeps: Sweeps, double: _Open) -> None:
    double.answers["/v2/team/web/tags/list"] = HTML
    found = sweeps(double.address)
    assert audited(found) == {"team/app"}
    assert "HTTP 404: Not Found; without an error code of the OCI specification" in failures(found)["team/web"]


@pytest.mark.parametrize("answer", [UNKNOWN, HTML])
def test_a_stored_repository_that_is_no_longer_listed_may_be_gone(
    sweeps: Sweeps, double: _Open, answer: Answer
) -> None:
    sweeps(double.address)
    double.images = {"team/app": double.images["team/app"]}
    double.answers["/v2/team/web/tags/list"] = answer
    found = sweeps(double.address)
    assert audited(found) == {"team/app"} and found["failed"] == []


@pytest.mark.parametrize("answer", [UNKNOWN, HTML])
def test_a_later_page_that_is_missing_is_a_failure(sweeps: Sweeps, double: _Open, answer: Answer) -> None:
    double.answers["/v2/team/app/tags/list"] = Answer(answer.content, answer.status, _LATER)
    found = sweeps(double.address)
    assert audited(found) == {"team/web"}
    assert "page 2 of the list can't be read" in failures(found)["team/app"]


def test_many_incomplete_lists_do_not_end_a_sweep(sweeps: Sweeps, double: _Open) -> None:
    double.images = {f"team/app{number:02}": ("1", "2", "3") for number in range(30)} | {"team/web": ("1",)}
    for name in double.images:
        double.answers[f"/v2/{name}/tags/list"] = Answer(UNKNOWN.content, 404, _LATER)
    found = sweeps(double.address)
    assert audited(found) == {"team/web"} and len(found["failed"]) == 30


def test_a_listed_tag_that_can_not_be_pulled_is_a_failure(sweeps: Sweeps, double: _Open) -> None:
    double.answers["/v2/team/app/manifests/2"] = Answer({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, 404)
    found = sweeps(double.address)
    assert audited(found) == {"team/app", "team/web"} and {*failures(found)} == {"team/app:2"}
    assert "MANIFEST_UNKNOWN" in failures(found)["team/app:2"]
    assert failures(found)["team/app:2"].endswith("although the registry lists this tag")
    double.images = {**double.images, "team/app": ("1", "3")}
    assert sweeps(double.address)["failed"] == []


def test_a_repository_with_many_damaged_tags_does_not_end_a_sweep(
    sweeps: Sweeps, double: _Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clock, "sleep", lambda *_: None)
    tags = tuple(f"{number:02}" for number in range(25))
    double.images = {"team/app": tags, "team/web": ("1",)}
    double.answers.update({f"/v2/team/app/manifests/{tag}": Answer("storage error", 500) for tag in tags})
    found = sweeps(double.address)
    assert audited(found) == {"team/web"} and len(found["failed"]) == len(tags)


def test_images_of_a_list_that_became_incomplete_stay(sweeps: Sweeps, double: _Open) -> None:
    sweeps(double.address)
    double.answers["/v2/team/app/tags/list"] = Answer(UNKNOWN.content, 404, _LATER)
    assert sweeps(double.address)["failed"]
    del double.answers["/v2/team/app/tags/list"]
    found = sweeps(double.address)
    assert audited(found) == {"team/app", "team/web"} and found["failed"] == [] and found["layers"]["read"] == 0


def test_a_repository_of_the_user_that_does_not_exist_is_a_failure(
    sweeps: Sweeps, double: _Open, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text("team/app\nteam/typo\n")
    found = sweeps(double.address, tmp_path / "list")
    assert audited(found) == {"team/app"}
    assert "NAME_UNKNOWN" in failures(found)["team/typo"] and "Is the name" in failures(found)["team/typo"]


def test_repositories_with_invalid_names_are_failures(sweeps: Sweeps, double: _Open) -> None:
    double.images = {**double.images, "Team/App": ("1",), "team/x_.y": ("1",), "team/\x1b[31m": ("1",)}
    found = sweeps(double.address)
    assert audited(found) == {"team/app", "team/web"}
    assert {*failures(found)} == {"'Team/App'", "'team/x_.y'", r"'team/\x1b[31m'"}
    assert all("as the name of a repository" in reason for reason in failures(found).values())
    assert {*failures(sweeps(f"{double.address}/team"))} == {"'team/x_.y'", r"'team/\x1b[31m'"}
    assert sweeps(double.address, repos=("team/[aw]*",))["failed"] == []


def test_many_invalid_names_are_counted(sweeps: Sweeps, double: _Open) -> None:
    double.images = {**double.images, **{f"UPPER/{number:03}{'x' * 900}": ("1",) for number in range(123)}}
    found = failures(sweeps(double.address))
    assert len(found) == 21 and all(len(reference) < 200 for reference in found)
    assert found["…"].startswith("103 further invalid names of a repository")


def test_invalid_tags_are_failures_in_each_sweep(sweeps: Sweeps, double: _Open) -> None:
    assert sweeps(double.address)["failed"] == []
    double.images = {**double.images, "team/web": ("1", "-bad", "../../x", "sha 1")}
    for _ in range(2):
        found = sweeps(double.address)
        assert {*failures(found)} == {"team/web:'-bad'", "team/web:'../../x'", "team/web:'sha 1'"}
        assert audited(found) == {"team/app", "team/web"}
    assert {*failures(sweeps(double.address, tags=("1", "-*")))} == {"team/web:'-bad'"}
    assert not [path for path in double.paths("manifests") if "bad" in path or "x" in path.rpartition("/")[2]]
