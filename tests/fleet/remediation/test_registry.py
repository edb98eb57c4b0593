"""Remediation over sweeps of a real registry, in SQLite and PostgreSQL, and as commands."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from auditor.core.owner_options import OwnerOptions
from auditor.fleet.remediation import locations
from auditor.fleet.remediation.owners import Owners
from auditor.fleet.remediation.plan import make_plan
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.remediation.trends import open_secret_trend
from auditor.fleet.service.alerts import Event
from auditor.fleet.store import queries, retention
from auditor.fleet.store.acknowledgements import acknowledgements, save_acknowledgement
from auditor.fleet.store.lookup import images_with
from tests.conftest import Cli
from tests.fleet.alerted import told_alerts
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Remote, application
from tests.fleet.stored import POLICY
from tests.images import image, layer, token

pytestmark = pytest.mark.registry


def policy(address: str) -> Policy:
    owners = {f"{address}/team/**": OwnerOptions("team"), f"{address}/other/**": OwnerOptions("other")}
    return replace(POLICY, owners=Owners(owners))


def test_an_image_has_all_places_of_a_secret_and_the_tags_of_indexes(sweeps_in: Sweeps, address: str) -> None:
    remote = Remote(address)
    for repository in ("team/app", "team/copy"):
        built = image(layer({"a.env": f"TOKEN={token(1)}\n", "b.env": f"\nTOKEN={token(1)}\n"}))
        root = remote.push(repository, "1", built)
        for tag in ("2", "latest"):
            remote.index(repository, tag, [root])
    remote.push("team/copy", "alias", built)
    sweeps_in(address)
    app, copy = images_with(sweeps_in.store, locations.secret_by_value(sweeps_in.store, token(1)))
    assert (app.repository, app.images) == ("team/app", [(("1", "2", "latest"), root["digest"])])
    assert (copy.repository, copy.images) == ("team/copy", [(("1", "2", "alias", "latest"), root["digest"])])
    assert [(place.path, place.line) for place in app.places] == [("/a.env", 1), ("/b.env", 2)]
    assert app.places == copy.places


def test_the_tags_of_an_index_are_those_of_each_of_its_platforms(sweeps_in: Sweeps, address: str) -> None:
    """The secret is at another place on each platform, and in another file of the second one."""
    remote = Remote(address)
    files = ({"a.env": f"TOKEN={token(1)}\n"}, {"b.env": f"TOKEN={token(1)}\n", "c.env": f"TOKEN={token(1)}\n"})
    built = [image(layer(own), architecture=name) for name, own in zip(("amd64", "arm64"), files, strict=True)]
    listed = [remote.push("team/app", f"only{number}", one) for number, one in enumerate(built)]
    remote.index("team/app", "all", listed)
    sweeps_in(address)
    groups = images_with(sweeps_in.store, locations.secret_by_value(sweeps_in.store, token(1)))
    assert [(group.platform, group.images) for group in groups] == [
        ("linux/amd64", [(("all", "only0"), listed[0]["digest"])]),
        ("linux/arm64", [(("all", "only1"), listed[1]["digest"])]),
    ]
    assert [[place.path for place in group.places] for group in groups] == [["/a.env"], ["/b.env", "/c.env"]]


def test_a_secret_from_its_first_alert_until_it_is_gone(sweeps_in: Sweeps, address: str) -> None:
    store, remote, own = sweeps_in.store, Remote(address), policy(address)
    root = remote.push("team/app", "1", application(0, "app", token(1)))
    sweeps_in(address)
    (alert,) = told_alerts(store, own)
    assert (alert.event, alert.owners, told_alerts(store, own)) == (Event.NEW, ("team",), ())
    secret = locations.secret_by_value(store, token(1))
    assert secret == locations.secret_by_id(store, alert.secret_id[:8]) == alert.secret_id
    (group,) = images_with(store, secret)
    assert (group.host, group.repository, group.pullable) == (address, "team/app", True)
    assert [tags for tags, _ in group.images] == [("1",)]

    save_acknowledgement(store, secret, "vendor key", "ada", "2026-11-24T00:05:00Z", None)
    assert told_alerts(store, own) == ()
    last = queries.sweeps(store)[-1]
    assert queries.severities(store, last.id, without=[secret]) == {}
    assert make_plan(store, last, own).revoke == ()

    remote.push("other/copy", "1", application(0, "app", token(1)))
    sweeps_in(address)
    (status,) = own.statuses(store).values()
    assert status.lapsed == f"also found in {address}/other/copy, owned by other"
    (again,) = told_alerts(store, own)
    assert again.owners == ("other", "team") and again.note.startswith("the acknowledgement no longer holds")
    plan = make_plan(store, queries.sweeps(store)[-1], own)
    assert {(one.repository, one.tag) for one in plan.rebuild} == {("team/app", "1"), ("other/copy", "1")}

    remote.push("team/app", "1", application(0, "clean", None))
    assert len(sweeps_in(address)["withdrawn"]) == 1 and told_alerts(store, own) == ()
    withdrawn = next(group for group in images_with(store, secret) if group.repository == "team/app")
    assert (withdrawn.images, withdrawn.is_untagged, withdrawn.pullable) == ([(("1",), root["digest"])], True, True)
    remote.delete("team/app", root["digest"])
    sweeps_in(address)
    (gone,) = told_alerts(store, own)
    assert (gone.event, gone.image, gone.secret_id) == (Event.GONE, "team/app", secret)
    assert told_alerts(store, own) == ()
    assert [group.pullable for group in images_with(store, secret)] == [True, False]
    trend = open_secret_trend(store, queries.sweeps(store), own)
    assert [point.by_owner for point in trend] == [
        {"team": 1}, {"other": 1, "team": 1}, {"other": 1, "team": 1}, {"other": 1},
    ]  # fmt: skip
    assert [point.by_age for point in trend] == [{"under a day": 1}] * 4


def test_retention_is_no_proof_that_a_secret_is_gone(sweeps_in: Sweeps, address: str) -> None:
    store, remote = sweeps_in.store, Remote(address)
    remote.push("team/app", "1", application(0, "app", token(1)))
    remote.push("team/web", "1", application(0, "web", token(2)))
    sweeps_in(address)
    assert len(told_alerts(store)) == 2
    sweeps_in(address, repos=("team/web",))
    sweeps_in(address, repos=("team/web",))
    for secret in {row.secret for row in queries.findings(store, 1)}:
        save_acknowledgement(store, secret, "vendor key", "ada", "2026-11-24T00:05:00Z", None)
    retention.delete_old_sweeps(store, "2027-01-01T00:00:00Z")
    assert [one.event for one in told_alerts(store)] == []
    assert len(acknowledgements(store)) == 2, "the last complete sweep stays"


def test_an_acknowledged_secret_does_not_fail_the_command(cli: Cli, address: str) -> None:
    Remote(address).push("team/app", "1", application(0, "app", token(1)))
    store = ("--store", "sqlite:///s.sqlite")
    (cli.folder / ".image-audit.yaml").write_text(
        f"owners: {{'{address}/**': {{team: web, notify: ['http://127.0.0.1:1/hook']}}}}\n"
    )
    done = cli("registry", "scan", address, *store, "--format", "json", "-q")
    assert done.status == 1
    assert done.err.splitlines() == [
        "image-audit: .image-audit.yaml: sends no alerts. Name the file with --config to use its notify and ticket"
    ]
    (revoke,) = json.loads(cli("registry", "plan", *store, "--format", "json").out)["revoke"]
    assert revoke["owners"] == ["web"] and revoke["revoke"].startswith("https://")
    assert cli("registry", "ack", revoke["secret_id"], "--reason", "vendor key", *store).status == 0
    done = cli("registry", "scan", address, *store, "-q", "--config", ".image-audit.yaml")
    assert (done.status, done.err) == (0, ""), "no alert either"
