"""Acknowledged secrets: shown, not counted, until they expire or reach another owner."""

from __future__ import annotations

import datetime
import getpass
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import click
import pytest

from auditor.core.finding import Severity
from auditor.core.owner_options import NO_OWNER, OwnerOptions
from auditor.fleet.remediation.open_secrets import overdue_counts
from auditor.fleet.remediation.owners import Owners
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.service.metrics import Metrics
from auditor.fleet.store import queries, retention
from auditor.fleet.store.acknowledgements import (
    acknowledgements,
    delete_acknowledgement,
    save_acknowledgement,
)
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.lookup import images_with
from auditor.scan import Scanner
from tests.conftest import Cli
from tests.fleet.owned import Story
from tests.fleet.stored import OWNED, REGISTRY, Stored, service
from tests.images import token

NOW = "2026-11-24T07:00:00Z"
DAY = datetime.timedelta(days=1)
DAYS = ("2026-11-21", "2026-11-22", "2026-11-23")
SHOP, TEAM = "shop/a", "team/web"


def acknowledge(story: Story, until: datetime.date | None = None) -> str:
    save_acknowledgement(story.store, story.shared, "test key of the vendor", "ada", NOW, until)
    return story.shared


def test_an_acknowledgement_covers_the_repositories_that_hold_the_secret(changed: Story) -> None:
    secret = acknowledge(changed)
    kept = acknowledgements(changed.store)[secret]
    assert (kept.reason, kept.author, kept.created, kept.until) == ("test key of the vendor", "ada", NOW, None)
    assert kept.covered == kept.holders == {(REGISTRY, "shop/checkout"), (REGISTRY, "team/web")}
    assert changed.policy.statuses(changed.store)[secret].holds


def test_it_holds_through_its_last_day(changed: Story) -> None:
    today = changed.policy.today
    acknowledge(changed, until=today)
    for day, lapsed in ((today, None), (today + DAY, f"expired after {today}")):
        (status,) = replace(changed.policy, today=day).statuses(changed.store).values()
        assert status.lapsed == lapsed


def test_a_repository_of_another_owner_ends_it(changed: Story) -> None:
    """As if the secret had been acknowledged before it came to team/web."""
    secret = acknowledge(changed)
    kept = acknowledgements(changed.store)[secret]
    before = replace(kept, covered=frozenset({(REGISTRY, "shop/checkout")}))
    assert changed.policy.status(before).lapsed == f"also found in {REGISTRY}/team/web, owned by web"
    same_team = Policy(changed.policy.today, Owners({f"{REGISTRY}/**": OwnerOptions("all")}))
    assert same_team.status(before).holds
    assert Policy(changed.policy.today).status(before).holds, "without owners there is no other owner"
    shop_alone = Policy(changed.policy.today, Owners({f"{REGISTRY}/shop/**": OwnerOptions("shop")}))
    assert shop_alone.status(before).lapsed == f"also found in {REGISTRY}/team/web, without an owner"


@pytest.fixture
def stored(url: str, scanner: Scanner, tmp_path: Path) -> Iterator[Stored]:
    with closing(SweepStore(url)) as store:
        yield Stored(store, scanner, tmp_path)


def test_it_covers_a_repository_that_held_the_secret_before(stored: Stored) -> None:
    """The secret was acknowledged while no image had it."""
    images = service("a", token(1)), service("a")
    (secret,) = {
        row.secret for row in queries.findings(stored.store, stored.sweep(DAYS[0], {SHOP: {"1": images[0]}}).id)
    }
    stored.sweep(DAYS[1], {SHOP: {"1": images[1]}})
    save_acknowledgement(stored.store, secret, "test key", "ada", NOW, None)
    stored.sweep(DAYS[2], {SHOP: {"1": images[0]}})
    assert OWNED.statuses(stored.store)[secret].holds


def test_it_stays_ended_when_the_other_owner_deletes_its_image(stored: Stored) -> None:
    images = service("a", token(1)), service("b", token(1))
    (secret,) = {
        row.secret for row in queries.findings(stored.store, stored.sweep(DAYS[0], {SHOP: {"1": images[0]}}).id)
    }
    save_acknowledgement(stored.store, secret, "test key", "ada", NOW, None)
    for day, others in zip(DAYS[1:], ({"1": images[1]}, {}), strict=True):
        stored.sweep(day, {SHOP: {"1": images[0]}, TEAM: others})
        assert OWNED.statuses(stored.store)[secret].lapsed == f"also found in {REGISTRY}/team/web, owned by web"
    save_acknowledgement(stored.store, secret, "test key", "ada", NOW, None)
    assert OWNED.statuses(stored.store)[secret].holds, "again"


def test_a_later_acknowledgement_replaces_the_earlier_one(changed: Story) -> None:
    acknowledge(changed, until=changed.policy.today)
    acknowledge(changed)
    (kept,) = acknowledgements(changed.store).values()
    assert kept.until is None and len(kept.covered) == 2


def test_it_can_be_removed(changed: Story) -> None:
    secret = acknowledge(changed)
    assert delete_acknowledgement(changed.store, secret) and acknowledgements(changed.store) == {}
    assert not delete_acknowledgement(changed.store, secret)


def test_findings_of_an_acknowledged_secret_do_not_count(changed: Story) -> None:
    pullable = [group for group in images_with(changed.store, changed.shared) if group.pullable]
    places = sum(len(group.places) * len(group.images) for group in pullable)
    before = queries.severities(changed.store, changed.sweep.id)
    assert before == {name: count for name, count in changed.sweep.counts.items() if name in before}
    after = queries.severities(changed.store, changed.sweep.id, without=[changed.shared])
    assert sum(before.values()) - sum(after.values()) == places


def test_overdue_secrets_are_counted_by_owner_and_severity_until_they_are_acknowledged(changed: Story) -> None:
    before = overdue_counts(changed.store, changed.sweep, changed.policy)
    assert {owner for owner, _ in before} == {"platform", "shop", "web", NO_OWNER}
    assert before["shop", Severity.CRITICAL] and not before[NO_OWNER, Severity.CRITICAL]
    acknowledge(changed)
    after = overdue_counts(changed.store, changed.sweep, changed.policy)
    lost = {key: count - after[key] for key, count in before.items() if count != after[key]}
    assert lost == {("shop", Severity.CRITICAL): 1, ("web", Severity.CRITICAL): 1}
    metrics = Metrics(REGISTRY, lambda: 0.0)
    for counts in (before, after):
        metrics.show_overdue(counts)
    labels = f'owner="shop",registry="{REGISTRY}",severity="critical"'
    line = f"image_audit_overdue_secrets{{{labels}}} {float(after['shop', Severity.CRITICAL])}"
    assert line in metrics.text().decode().splitlines()
    assert metrics.text().decode().count("image_audit_overdue_secrets{") == len(after)


def test_the_store_deletes_it_with_the_last_finding_of_its_secret(changed: Story) -> None:
    acknowledge(changed)
    for row in queries.sweeps(changed.store):
        assert row.finished is not None
    retention.delete_old_sweeps(changed.store, "2027-01-01T00:00:00Z")
    assert len(acknowledgements(changed.store)) == 1


class TestCommand:
    def test_it_is_shown_in_the_report(self, cli: Cli, changed: Story) -> None:
        store = ("--store", changed.store.url.render_as_string())
        done = cli("registry", "ack", changed.shared[:12], "--reason", "vendor's\ntest key", "--by", "ada", *store)
        assert done.status == 0 and "acknowledged by ada on " in done.out and "vendor's" in done.out
        report = json.loads(cli("registry", "report", "--format", "json", *store).out)
        (item,) = report["acknowledged"]
        assert item["secret_id"] == changed.shared and item["acknowledged"]["by"] == "ada"
        table = cli("registry", "report", *store).out
        assert "\nAcknowledged\n" in table and "1 acknowledged secret" in table
        assert cli("registry", "ack", changed.shared, "--remove", *store).status == 0
        assert json.loads(cli("registry", "report", "--format", "json", *store).out)["acknowledged"] == []

    def test_a_secret_in_the_reason_is_not_stored(self, cli: Cli, stored: Stored) -> None:
        """A password without the format of a token, of which no rule tells that it is one."""
        password = "Vq7!mZ-x2Lp"
        sweep = stored.sweep(DAYS[0], {SHOP: {"1": service("a", shared=password)}})
        (row,) = queries.findings(stored.store, sweep.id)
        store = ("--store", stored.store.url.render_as_string(hide_password=False))
        reason = f"rotated '{password}', was pw={password}; {'x ' * 240}{password}"
        done = cli("registry", "ack", row.secret[:12], "--reason", reason, "--by", f"ada {password}", *store)
        kept = acknowledgements(stored.store)[row.secret]
        assert done.status == 0 and kept.author == "ada ****"
        assert kept.reason.startswith("rotated '****', was pw=****; x x") and len(kept.reason) <= 500
        assert "Vq7" not in done.out + done.err + kept.reason

    @pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 12345"), OSError("No username set")])
    def test_a_user_without_a_name_has_to_give_one(
        self, changed: Story, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        from auditor.cli import group

        def nobody() -> str:
            raise error

        monkeypatch.setattr(getpass, "getuser", nobody)
        given = ["registry", "ack", changed.shared, "--store", changed.store.url.render_as_string()]
        with pytest.raises(click.UsageError, match="--by NAME"):
            group.main([*given, "--reason", "x"], standalone_mode=False)
        assert group.main([*given, "--reason", "x", "--by", "ada"], standalone_mode=False) == 0
        assert group.main([*given, "--remove"], standalone_mode=False) == 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "give either --reason TEXT or --remove"),
            (("--reason", "x", "--remove"), "give either --reason TEXT or --remove"),
            (("--reason", "x", "--until", "2020-01-01"), "--until 2020-01-01 is over"),
        ],
    )
    def test_bad_options_change_nothing(
        self, cli: Cli, changed: Story, arguments: tuple[str, ...], message: str
    ) -> None:
        store = ("--store", changed.store.url.render_as_string())
        done = cli("registry", "ack", changed.shared, *arguments, *store)
        assert done.status == 2 and message in done.err
        assert acknowledgements(changed.store) == {}
