"""`registry where`: every repository, tag and digest of a secret, by id or by value."""

from __future__ import annotations

import io
import json
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from jsonschema import Draft202012Validator

from auditor.core.errors import UsageError
from auditor.core.package_data import data_path
from auditor.fleet.remediation import locations
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.lookup import find_secrets, images_with
from auditor.scan import Scanner
from tests.conftest import Cli
from tests.fleet.owned import Story
from tests.fleet.stored import Site, Stored, service
from tests.images import token


def test_all_images_of_a_secret_are_listed_those_that_can_be_pulled_first(changed: Story) -> None:
    found = images_with(changed.store, changed.shared)
    pullable = [group for group in found if group.pullable]
    rows = [row for row in queries.findings(changed.store, changed.sweep.id) if row.secret == changed.shared]
    images = {(group.repository, digest): tags for group in pullable for tags, digest in group.images}
    assert set(images) == {(row.repository, row.digest) for row in rows}
    assert found[: len(pullable)] == pullable and len(images) == 6
    assert ("2.0", "latest") in images.values()
    (checkout,) = (group for group in pullable if ("2.0", "latest") in [tags for tags, _ in group.images])
    assert checkout.places[0].path == "/root/.netrc"


def test_a_deleted_image_is_listed_as_deleted(changed: Story) -> None:
    """The second secret of batch/job was in the tag 1, whose digest is deleted."""
    (gone,) = {row.secret for row in queries.gone_findings(changed.store, changed.sweep.id)} - {
        row.secret for row in queries.findings(changed.store, changed.sweep.id)
    }
    (group,) = images_with(changed.store, gone)
    assert (group.pullable, group.is_untagged, group.repository) == (False, True, "batch/job")
    assert [tags for tags, _ in group.images] == [("1",)]
    assert "0 images not deleted" in locations.locations_text(locations.locate(changed.store, gone, changed.policy))


def test_a_deleted_image_keeps_its_last_tags_after_further_sweeps(url: str, scanner: Scanner, tmp_path: Path) -> None:
    clean, leaking = {"1": service("c")}, service("a", token(1))
    with closing(SweepStore(url)) as store:
        stored = Stored(store, scanner, tmp_path)
        stored.sweep("2026-11-21", {"team/app": {"1": leaking, "2": leaking}})
        for day in ("2026-11-22", "2026-11-23", "2026-11-24"):
            stored.sweep(day, {"team/app": clean})
        (group,) = images_with(store, locations.secret_by_value(store, token(1)))
    assert (group.pullable, group.is_untagged) == (False, True)
    assert [tags for tags, _ in group.images] == [("1", "2")]


def test_each_image_of_a_repository_has_its_own_places_and_times(url: str, scanner: Scanner, tmp_path: Path) -> None:
    with closing(SweepStore(url)) as store:
        stored = Stored(store, scanner, tmp_path)
        first, second = service("a", token(1)), service("b", token(1), hidden=1)
        stored.sweep("2026-11-23", {"team/app": {"1": first}})
        stored.sweep("2026-11-24", {"team/app": {"1": first, "2": second, "3": second}})
        old, new = images_with(store, locations.secret_by_value(store, token(1)))
    assert [[tags for tags, _ in group.images] for group in (old, new)] == [[("1",)], [("2", "3")]]
    assert [[place.state for place in group.places] for group in (old, new)] == [["present"], ["deleted"]]
    assert [group.first_seen[:10] for group in (old, new)] == ["2026-11-23", "2026-11-24"]
    assert [group.last_seen[:10] for group in (old, new)] == ["2026-11-24", "2026-11-24"]


def test_the_first_digits_of_an_id_suffice(changed: Story) -> None:
    for length in (8, 9, 12, 32):
        assert find_secrets(changed.store, changed.shared[:length].upper()) == [changed.shared]
    for text in (changed.shared[:7], changed.shared + "0", "secret", "%", "", "00000000"):
        assert find_secrets(changed.store, text) == []
        with pytest.raises(UsageError, match="has no secret with this id") as caught:
            locations.secret_by_id(changed.store, text)
        assert str(caught.value).startswith("SECRET_ID: the store "), "it may be the secret"


def test_the_id_of_a_finding_leads_to_its_secret(changed: Story) -> None:
    for row in queries.findings(changed.store, changed.sweep.id):
        assert find_secrets(changed.store, row.id) == [row.secret]


@pytest.mark.parametrize("text", ["{}", "{}\n", "{}\r\n", "  {} \n"])
def test_a_value_leads_to_its_secret(changed: Story, text: str) -> None:
    assert locations.secret_by_value(changed.store, text.format(token(900))) == changed.shared


def test_an_unknown_value_is_no_all_clear(changed: Story) -> None:
    with pytest.raises(UsageError, match="Images that were not swept") as caught:
        locations.secret_by_value(changed.store, token(999))
    assert token(999) not in str(caught.value) and token(999)[-4:] not in str(caught.value)


class TestCommand:
    def test_the_json_follows_its_schema(self, cli: Cli, changed: Story) -> None:
        store = ("--store", changed.store.url.render_as_string())
        found = json.loads(cli("registry", "where", changed.shared[:8], "--format", "json", *store).out)
        schema = json.loads(data_path("reports/schemas/image-audit-where-1.json").read_text())
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(found)
        assert found["secret_id"] == changed.shared and len(found["images"]) >= 6

    def test_a_value_on_standard_input_is_neither_stored_nor_shown(
        self, story_site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from auditor.cli import group

        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(f"{token(900)}\n".encode())))
        arguments = ["registry", "where", "--stdin", "--store", story_site.store.url.render_as_string()]
        assert group.main(arguments, standalone_mode=False) == 0
        shown = capsys.readouterr()
        assert "6 images not deleted, in 2 repositories" in shown.out
        assert token(900) not in shown.out + shown.err

    @pytest.mark.parametrize("arguments", [(), ("0123456789", "--stdin")])
    def test_either_id_or_value(self, cli: Cli, changed: Story, arguments: tuple[str, ...]) -> None:
        done = cli("registry", "where", *arguments, "--store", changed.store.url.render_as_string())
        assert done.status == 2 and "give either SECRET_ID or --stdin" in done.err
