"""`registry plan`: secrets to revoke, tags to rebuild, digests to delete."""

from __future__ import annotations

import datetime
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from jsonschema import Draft202012Validator
from sqlalchemy import update

from auditor.core.package_data import data_path
from auditor.fleet.dashboard.view import sweep_view
from auditor.fleet.remediation.open_secrets import open_secrets
from auditor.fleet.remediation.plan import make_plan
from auditor.fleet.remediation.plan_text import plan_json, plan_text
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import image_list, queries
from auditor.fleet.store import schema as t
from auditor.fleet.store.acknowledgements import save_acknowledgement
from auditor.fleet.store.database import SweepStore
from auditor.scan import Scanner
from tests.conftest import Cli
from tests.fleet.owned import Story
from tests.fleet.stored import OWNED, Stored, service
from tests.images import token


def test_the_plan_covers_every_secret_and_every_image(changed: Story) -> None:
    plan = make_plan(changed.store, changed.sweep, changed.policy)
    rows = queries.findings(changed.store, changed.sweep.id)
    assert {one.secret.secret_id for one in plan.revoke} == {row.secret for row in rows}
    assert {(one.repository, one.digest) for one in plan.delete} == {(row.repository, row.digest) for row in rows}
    images = image_list.images(changed.store, changed.sweep)
    tags = {(image.repository, tag) for image in images for tag in image.tags}
    assert {(one.repository, one.tag) for one in plan.rebuild} == {one for one in tags if one[0] != "docs"}
    assert all(one.url and one.url.startswith("https://") for one in plan.revoke if one.secret.worst.rule != "netrc")


def test_secrets_have_owners_and_due_dates(changed: Story) -> None:
    plan = make_plan(changed.store, changed.sweep, changed.policy)
    shared = next(one.secret for one in plan.revoke if one.secret.secret_id == changed.shared)
    assert shared.owners == ("shop", "web") and shared.is_overdue and shared.first_seen[:10] == "2026-02-01"
    newest = [one.secret for one in plan.revoke if one.secret.first_seen[:10] == "2026-11-24"]
    assert newest and not any(one.is_overdue for one in newest)


def test_a_tag_with_hidden_secrets_alone_is_flattened(changed: Story) -> None:
    plan = make_plan(changed.store, changed.sweep, changed.policy)
    for one in plan.rebuild:
        assert (one.command is None) == bool(one.visible)
        assert one.hidden + one.visible == len(one.secrets)


def test_the_plan_of_an_owner_has_its_repositories_alone(changed: Story) -> None:
    plan = make_plan(changed.store, changed.sweep, changed.policy, "web")
    assert {one.repository for one in plan.rebuild} == {one.repository for one in plan.delete} == {"team/web"}
    assert all(one.secret.repositories == ("team/web",) for one in plan.revoke)
    assert "repositories of web" in plan_text(plan)


def test_an_acknowledged_secret_needs_no_work(changed: Story) -> None:
    save_acknowledgement(changed.store, changed.shared, "vendor key", "ada", "2026-11-24T07:00:00Z", None)
    plan = make_plan(changed.store, changed.sweep, changed.policy)
    assert changed.shared not in {one.secret.secret_id for one in plan.revoke}
    assert not any(changed.shared in one.secrets for one in plan.rebuild)
    assert not any(changed.shared in one.secrets for one in plan.delete)
    assert [one.secret_id for one in plan.acknowledged] == [changed.shared]
    assert "Acknowledged: 1 secret\n" in plan_text(plan) and "by ada on 2026-11-24: vendor key" in plan_text(plan)


def test_references_that_were_not_audited_are_part_of_the_plan(changed: Story) -> None:
    failed = ("vendor/blob:9", "layer sha256:00ff… was cut short after 3 tries")
    plan = make_plan(changed.store, changed.sweep, changed.policy)
    assert plan.failed == (failed,)
    assert plan_json(plan)["failed"] == [{"reference": failed[0], "reason": failed[1]}]
    text = "\n1 reference was not audited. The plan does not cover their secrets: scan again.\n"
    assert f"{text}   {failed[0]}: {failed[1]}\n" in plan_text(plan)
    many = replace(plan, revoke=(), failed=(failed,) * 21)
    assert "nothing to do: no secret without an acknowledgement in the audited images\n" in plan_text(many)
    empty = replace(plan.sweep, counts={**plan.sweep.counts, "images": 0, "withdrawn": 0})
    assert "\nnothing was audited\n" in plan_text(replace(many, sweep=empty))
    assert "nothing to do" not in plan_text(replace(many, sweep=empty))
    assert "\n21 references were not audited." in plan_text(many) and plan_text(many).endswith("\n   and 1 more\n")
    own = {
        owner: make_plan(changed.store, changed.sweep, changed.policy, owner).failed for owner in ("platform", "web")
    }
    assert own == {"platform": (failed,), "web": ()}
    assert "not audited" not in plan_text(make_plan(changed.store, changed.sweep, changed.policy, "web"))


def test_images_that_were_not_read_in_full_are_part_of_the_plan(changed: Story) -> None:
    image = next(row for row in image_list.images(changed.store, changed.sweep) if row.repository == "docs")
    changed.store.write(lambda c: c.execute(update(t.image).where(t.image.c.id == image.id).values(skipped=2)))
    plan = make_plan(changed.store, changed.sweep, changed.policy)
    values = {"repository": "docs", "digest": image.digest, "tags": ["latest"], "skipped": 2}
    assert plan_json(plan)["partial"] == [values]
    assert "\n1 image was not read in full. The plan does not cover the rest: " in plan_text(plan)
    assert plan_text(plan).endswith("\n   docs:latest: 2 items skipped\n")
    assert "without an acknowledgement in what was read\n" in plan_text(replace(plan, revoke=()))
    many = plan_text(replace(plan, partial=plan.partial * 21))
    assert "\n21 images were not read in full." in many and many.endswith("\n   and 1 more\n")
    assert make_plan(changed.store, changed.sweep, changed.policy, "web").partial == ()


def test_the_json_follows_its_schema(changed: Story) -> None:
    save_acknowledgement(changed.store, changed.shared, "vendor key", "ada", "2026-11-24T07:00:00Z", None)
    changed.store.write(lambda c: c.execute(update(t.image).values(skipped=1)))
    schema = json.loads(data_path("reports/schemas/image-audit-plan-1.json").read_text())
    document = plan_json(make_plan(changed.store, changed.sweep, changed.policy))
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(document)


def test_the_command_knows_the_owners_of_the_config_file(cli: Cli, changed: Story) -> None:
    store = ("--store", changed.store.url.render_as_string())
    config = changed.store.url.database
    assert config is not None
    path = f"{config}.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write("owners:\n  registry.example.com/shop/**: {team: shop}\ndue: {critical: 1000}\n")
    done = cli("registry", "plan", "--owner", "shop", "--config", path, *store)
    assert done.status == 0 and "1. Revoke" in done.out and "(0 overdue)" in done.out and "team/web" not in done.out
    done = cli("registry", "plan", "--owner", "shopp", "--config", path, *store)
    assert done.status == 2 and "did you mean 'shop'" in done.err


def test_a_secret_that_moves_keeps_its_first_sight_and_its_due_date(scanner: Scanner, tmp_path: Path) -> None:
    with closing(SweepStore(f"sqlite:///{tmp_path}/store.sqlite")) as store:
        stored = Stored(store, scanner, tmp_path / "images")
        stored.sweep("2026-11-01", {"team/web": {"1": service("old", token(1))}})
        moved = service("new", token(1))
        stored.sweep("2026-11-10", {"team/web": {"1": moved}})
        last = stored.sweep("2026-11-11", {"shop/web": {"1": moved}})
        (one,) = open_secrets(store, last, Policy(datetime.date(2026, 11, 12)))
        (*_, point) = sweep_view(store, last, OWNED).trend
    assert one.repositories == ("shop/web",) and one.first_seen[:10] == "2026-11-01"
    assert one.due == datetime.date(2026, 11, 2) and one.is_overdue
    assert point.by_age == {"under 30 days": 1}
