"""Alerts per owner: once, with what changed; acknowledged secrets are not told; tickets."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.core.errors import UsageError
from auditor.core.owner_options import OwnerOptions, TicketOptions
from auditor.fleet.service.alerts import Event
from auditor.fleet.service.notify import Notifier
from auditor.fleet.store import queries
from auditor.fleet.store.acknowledgements import delete_acknowledgement, save_acknowledgement
from tests.fleet.alerted import told_alerts
from tests.fleet.owned import Story
from tests.fleet.receiver import Receiver
from tests.fleet.stored import REGISTRY
from tests.images import token

NOW = "2026-11-24T07:00:00Z"
DAY = datetime.timedelta(days=1)
SHOP, TEAM, ALL = f"{REGISTRY}/shop/**", f"{REGISTRY}/team/**", f"{REGISTRY}/**"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_an_owner_is_told_of_its_own_repositories_alone(changed: Story) -> None:
    alerts = told_alerts(changed.store, changed.policy, teams={"web"})
    assert {name for one in alerts for name in one.repositories} == {"team/web"}
    assert {one.event for one in alerts} == {Event.NEW} and len(alerts) == 4
    assert told_alerts(changed.store, changed.policy, teams={"web"}) == ()
    others = told_alerts(changed.store, changed.policy, teams={"shop"}, receiver=b"1" * 16)
    assert {name for one in others for name in one.repositories} == {"shop/checkout"}


def test_an_acknowledged_secret_is_told_once_the_acknowledgement_lapses(changed: Story) -> None:
    today = changed.policy.today
    save_acknowledgement(changed.store, changed.shared, "vendor key", "ada", NOW, today)
    assert changed.shared not in {one.secret_id for one in told_alerts(changed.store, changed.policy)}
    later = replace(changed.policy, today=today + DAY)
    (lapsed,) = (one for one in told_alerts(changed.store, later) if one.event is Event.NEW)
    assert lapsed.secret_id == changed.shared
    assert lapsed.note == f"the acknowledgement no longer holds: expired after {today}"


def test_an_acknowledgement_after_the_alert_makes_its_end_news(changed: Story) -> None:
    told_alerts(changed.store, changed.policy)
    save_acknowledgement(changed.store, changed.shared, "vendor key", "ada", NOW, None)
    assert told_alerts(changed.store, changed.policy) == ()
    delete_acknowledgement(changed.store, changed.shared)
    assert [one.secret_id for one in told_alerts(changed.store, changed.policy)] == [changed.shared]


def test_an_overdue_secret_is_told_once_more(changed: Story) -> None:
    before = replace(changed.policy, today=datetime.date(2026, 2, 1))
    told = told_alerts(changed.store, before)
    assert not any(one.is_overdue for one in told)
    overdue = told_alerts(changed.store, replace(changed.policy, today=datetime.date(2027, 6, 1)))
    assert {one.event for one in overdue} == {Event.OVERDUE} and len(overdue) == len(told)
    assert told_alerts(changed.store, replace(changed.policy, today=datetime.date(2027, 6, 2))) == ()


def test_each_owner_gets_one_message_with_what_to_do(changed: Story, receiver: Receiver) -> None:
    owners = {
        SHOP: OwnerOptions("shop", (f"{receiver.url}?to=shop",)),
        TEAM: OwnerOptions("web", ("$HOOK",)),
        ALL: OwnerOptions("platform"),
    }
    notifier = Notifier((), owners, {"HOOK": f"{receiver.url}?to=web"})
    for _ in range(2):
        assert notifier.notify(changed.store, changed.sweep, changed.policy) == []
    assert receiver.paths == ["/hook?to=shop", "/hook?to=web"]
    for team, sent in zip(("shop", "web"), receiver.messages, strict=True):
        assert sent["title"].endswith(f"new secrets in {REGISTRY} ({team})")
        assert f"Steps: image-audit registry plan {REGISTRY} --owner {team}" in sent["message"]
        assert all(alert["event"] == "new" and team in alert["owners"] for alert in sent["alerts"])
        assert not any(token(seed)[-8:] in json.dumps(sent) for seed in (900, 901, 903, 910))


def test_a_receiver_that_fails_is_told_by_the_next_process(changed: Story, receiver: Receiver) -> None:
    owners = {TEAM: OwnerOptions("web", (receiver.url,))}
    receiver.status = 403
    (line,) = Notifier((), owners).notify(changed.store, changed.sweep, changed.policy)
    assert line == "owners: web, URL 1 (webhook): did not accept the message with 4 alerts; check the URL"
    receiver.status = 200
    assert Notifier((), owners).notify(changed.store, changed.sweep, changed.policy) == []
    assert len(receiver.messages) == 1


class TestTickets:
    def test_each_new_secret_of_the_owner_is_one_ticket(self, changed: Story, receiver: Receiver) -> None:
        ticket = TicketOptions(receiver.url, "jira", "PAY", "$TOKEN")
        notifier = Notifier((), {TEAM: OwnerOptions("web", ticket=ticket)}, {"TOKEN": "opaque"})
        for _ in range(2):
            assert notifier.notify(changed.store, changed.sweep, changed.policy) == []
        assert len(receiver.messages) == 4
        fields = receiver.messages[0]["fields"]
        assert fields["project"] == {"key": "PAY"} and fields["summary"].endswith(" in team/web")
        assert "image-audit registry where " in fields["description"]
        assert not any(token(seed)[-4:] in json.dumps(receiver.messages) for seed in (900, 910, 911, 912))
        rows = queries.findings(changed.store, changed.sweep.id)
        assert {item["fields"]["duedate"] for item in receiver.messages} <= {
            str(changed.policy.due(row.severity, row.first_seen)) for row in rows
        }

    def test_issues_of_github_have_title_body_and_labels(self, changed: Story, receiver: Receiver) -> None:
        owners = {TEAM: OwnerOptions("web", ticket=TicketOptions(receiver.url))}
        Notifier((), owners).notify(changed.store, changed.sweep, changed.policy)
        assert set(receiver.messages[0]) == {"title", "body", "labels"}

    def test_an_own_template(self, changed: Story, receiver: Receiver, tmp_path: Path) -> None:
        template = tmp_path / "ticket.j2"
        template.write_text('{"text": {{ title|tojson }}, "team": {{ team|tojson }}}')
        owners = {TEAM: OwnerOptions("web", ticket=TicketOptions(receiver.url, str(template)))}
        Notifier((), owners).notify(changed.store, changed.sweep, changed.policy)
        assert receiver.messages[0]["team"] == "web"
        template.write_text('{"text": {{ nonsense }}}')
        with pytest.raises(UsageError, match=r"owners: web, ticket: .*ticket\.j2: 'nonsense' is undefined"):
            Notifier((), owners)


def test_an_unset_variable_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="owners: web, URL 1: the environment has no variable HOOK"):
        Notifier((), {TEAM: OwnerOptions("web", ("$HOOK",))}, {})
