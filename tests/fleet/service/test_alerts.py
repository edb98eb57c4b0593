"""Alerts per owner: once, with what changed; acknowledged secrets are not told; tickets."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from threading import Barrier

import pytest

from auditor.core.errors import UsageError
from auditor.core.finding import Severity
from auditor.core.owner_options import OwnerOptions, TicketOptions
from auditor.fleet.remediation.owners import Owners
from auditor.fleet.service.alerts import Alert, Event, plain
from auditor.fleet.service.messages import alert_json
from auditor.fleet.service.notify import Notifier
from auditor.fleet.service.tickets import ticket_system
from auditor.fleet.store import queries
from auditor.fleet.store.acknowledgements import acknowledgements, delete_acknowledgement, save_acknowledgement
from auditor.fleet.store.alerts import OPEN, AlertKey, receiver_id, save_alerts
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.lease import alerts_lease_name, hold_lease
from auditor.scan import Scanner
from tests.fleet.alerted import told_alerts
from tests.fleet.owned import Story
from tests.fleet.receiver import Receiver
from tests.fleet.stored import REGISTRY, Stored, service
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
    alerts = told_alerts(changed.store, changed.policy, globs={TEAM})
    assert {name for one in alerts for name in one.repositories} == {"team/web"}
    assert {one.event for one in alerts} == {Event.NEW} and len(alerts) == 4
    assert told_alerts(changed.store, changed.policy, globs={TEAM}) == ()
    others = told_alerts(changed.store, changed.policy, globs={SHOP}, receiver=b"1" * 16)
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


def test_an_acknowledgement_that_ends_before_the_next_sweep_is_news(changed: Story) -> None:
    told_alerts(changed.store, changed.policy)
    save_acknowledgement(changed.store, changed.shared, "vendor key", "ada", NOW, changed.policy.today)
    tomorrow = replace(changed.policy, today=changed.policy.today + DAY)
    (lapsed,) = (one for one in told_alerts(changed.store, tomorrow) if one.event is Event.NEW)
    assert lapsed.secret_id == changed.shared
    assert lapsed.note.startswith("the acknowledgement no longer holds: expired after ")


def test_an_acknowledgement_that_is_removed_before_the_next_sweep_is_news(changed: Story) -> None:
    told_alerts(changed.store, changed.policy)
    save_acknowledgement(changed.store, changed.shared, "vendor key", "ada", NOW, None)
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


def test_each_receiver_is_told_of_the_repositories_of_its_own_globs(changed: Story, receiver: Receiver) -> None:
    """Two globs of one team, with receivers and ticket systems of their own."""
    owners = {
        SHOP: OwnerOptions("web", (f"{receiver.url}?to=shop",), TicketOptions(f"{receiver.url}?ticket=shop")),
        TEAM: OwnerOptions("web", (f"{receiver.url}?to=team",), TicketOptions(f"{receiver.url}?ticket=team")),
    }
    policy = replace(changed.policy, owners=Owners(owners))
    assert Notifier((), owners).notify(changed.store, changed.sweep, policy) == []
    received = {path: [json.dumps(sent) for _, sent in of_path] for path, of_path in groupby(
        sorted(zip(receiver.paths, receiver.messages, strict=True), key=itemgetter(0)), itemgetter(0)
    )}  # fmt: skip
    assert set(received) == {"/hook?to=shop", "/hook?to=team", "/hook?ticket=shop", "/hook?ticket=team"}
    for path, sent in received.items():
        own, other = ("shop/checkout", "team/web") if path.endswith("shop") else ("team/web", "shop/checkout")
        assert all(own in one and other not in one for one in sent), path


def test_two_projects_of_a_team_in_one_ticket_system_get_their_own_tickets(changed: Story, receiver: Receiver) -> None:
    owners = {
        SHOP: OwnerOptions("web", ticket=TicketOptions(receiver.url, "jira", "SHOP")),
        TEAM: OwnerOptions("web", ticket=TicketOptions(receiver.url, "jira", "TEAM")),
    }
    policy = replace(changed.policy, owners=Owners(owners))
    for _ in range(2):
        assert Notifier((), owners).notify(changed.store, changed.sweep, policy) == []
    made = [(one["fields"]["project"]["key"], one["fields"]["summary"]) for one in receiver.messages]
    assert {key for key, _ in made} == {"SHOP", "TEAM"}
    assert len({json.dumps(one) for one in receiver.messages}) == len(made) == 8
    assert all(title.endswith("shop/checkout" if key == "SHOP" else "team/web") for key, title in made)


def test_an_upgrade_repeats_no_alert(changed: Story, receiver: Receiver) -> None:
    """Keys of receivers in stores of released versions."""
    owners = {TEAM: OwnerOptions("web", (receiver.url,), TicketOptions(f"{receiver.url}?ticket"))}
    for key in (receiver.url, f"web\0{receiver.url}?ticket"):
        told_alerts(changed.store, changed.policy, {TEAM}, receiver_id(changed.store, key))
    assert Notifier((), owners).notify(changed.store, changed.sweep, changed.policy) == []
    assert receiver.messages == []


class TestTwoProcesses:
    def test_alerts_that_another_process_sends_meanwhile_are_sent_once(
        self, changed: Story, receiver: Receiver
    ) -> None:
        identity = receiver_id(changed.store, receiver.url)
        with ExitStack() as other:
            other.enter_context(hold_lease(changed.store, alerts_lease_name(identity, REGISTRY), "other"))

            def end_of_other(seconds: float) -> None:
                told_alerts(changed.store, changed.policy, receiver=identity)
                other.close()

            notifier = Notifier([receiver.url], sleep=end_of_other)
            assert notifier.notify(changed.store, changed.sweep, changed.policy) == []
        assert receiver.messages == []

    def test_the_wait_for_another_process_ends(self, changed: Story, receiver: Receiver) -> None:
        name, waited = alerts_lease_name(receiver_id(changed.store, receiver.url), REGISTRY), list[float]()
        notifier = Notifier([receiver.url], sleep=waited.append)
        with hold_lease(changed.store, name, "other"):
            (line,) = notifier.notify(changed.store, changed.sweep, changed.policy)
        assert sum(waited) == 300 and receiver.messages == []
        assert line.startswith("--notify, URL 1 (webhook): another process sends alerts to it")
        assert notifier.notify(changed.store, changed.sweep, changed.policy) == [] and len(receiver.messages) == 1

    def test_both_may_record_the_same_alert(self, url: str, scanner: Scanner, tmp_path: Path) -> None:
        with closing(SweepStore(url)) as store:
            sweep = Stored(store, scanner, tmp_path).sweep("2026-11-24", {"team/app": {"1": service("a", token(1))}})
            key = AlertKey(queries.findings(store, sweep.id)[0].secret, "team/app")
            together = Barrier(2, timeout=60)

            def record(_: int) -> None:
                with closing(SweepStore(url)) as own:
                    for number in range(10):
                        together.wait()
                        save_alerts(own, bytes([number] * 16), REGISTRY, {key: OPEN}, ())
                        save_acknowledgement(own, key.secret, "vendor key", "ada", NOW, None)

            with ThreadPoolExecutor(2) as pool:
                list(pool.map(record, range(2)))
            assert acknowledgements(store)[key.secret].covered == {(REGISTRY, "team/app")}


class TestTickets:
    def test_a_refused_ticket_does_not_stop_the_others(self, changed: Story, receiver: Receiver) -> None:
        owners = {TEAM: OwnerOptions("web", ticket=TicketOptions(receiver.url))}
        alerts = told_alerts(changed.store, changed.policy, {TEAM})
        receiver.unwanted = alerts[0].secret_id[:12]
        (line,) = Notifier((), owners).notify(changed.store, changed.sweep, changed.policy)
        assert line == (
            "owners: web, ticket: HTTP 422: 1 ticket not created, the first about secret "
            f"{receiver.unwanted}. Check URL, token, project and template"
        )
        assert len(receiver.messages) == len(alerts) - 1 == 3
        receiver.unwanted = None
        assert Notifier((), owners).notify(changed.store, changed.sweep, changed.policy) == []
        assert len(receiver.messages) == len(alerts)

    def test_a_ticket_system_that_does_not_answer_is_asked_once(self, changed: Story, receiver: Receiver) -> None:
        owners = {TEAM: OwnerOptions("web", ticket=TicketOptions(receiver.url))}
        receiver.status = 503
        (line,) = Notifier((), owners).notify(changed.store, changed.sweep, changed.policy)
        assert line.startswith("owners: web, ticket: did not accept the ticket about secret ")
        assert receiver.refused == 3, "tries of one ticket"

    def test_a_template_that_fails_for_one_secret_does_not_stop_the_others(
        self, changed: Story, receiver: Receiver, tmp_path: Path
    ) -> None:
        template = tmp_path / "ticket.j2"
        template.write_text('{"id": {{ secret_id|tojson }}}{% if "web1" in location %}{{ nonsense }}{% endif %}')
        owners = {TEAM: OwnerOptions("web", ticket=TicketOptions(receiver.url, str(template)))}
        (line,) = Notifier((), owners).notify(changed.store, changed.sweep, changed.policy)
        assert "ticket.j2: 'nonsense' is undefined: 1 ticket not created" in line
        assert len(receiver.messages) == 3

    def test_the_texts_of_a_ticket(self) -> None:
        system = ticket_system(TicketOptions("https://example.com"), "https://example.com", None, "web")
        alert = Alert(
            Event.NEW, Severity.HIGH, "rule", "app:1", "0" * 32, images=2, name=plain("Token (classic) & key", "()"),
            repositories=(f"{'a/' * 120}end",),
        )  # fmt: skip
        ticket = system.document(REGISTRY, alert)
        assert len(ticket["title"]) == 250
        assert ticket["title"].startswith("Revoke Token (classic) & key in a/") and ticket["title"].endswith("a/end")
        assert "can be read from app:1 and 1 more image in" in ticket["body"]
        more = system.document(REGISTRY, replace(alert, images=3))
        assert "and 2 more images in" in more["body"]
        lapsed = replace(alert, due="2026-11-25", note="the acknowledgement no longer holds: expired after 2026-11-23")
        text = "due 2026-11-25.\nThe acknowledgement no longer holds: expired after 2026-11-23.\n\n1. Revoke"
        assert text in system.document(REGISTRY, lapsed)["body"] and "acknowledgement" not in ticket["body"]
        assert (alert_json(lapsed)["note"], alert_json(alert)["note"]) == (lapsed.note, None)

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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[text](https://example.com)", "?text?(https:?/example.com)"),
        ("<!channel> @ops &commat;ops &#64;ops", "?!channel? ?ops ?commat;ops ??64;ops"),
        ("![](x) {code} *b*", "!??(x) ?code? ?b?"),
        ("a & b (c)", "a & b (c)"),
    ],
)
def test_names_keep_parentheses_and_nothing_that_chats_and_tickets_interpret(text: str, shown: str) -> None:
    assert plain(text, "()") == shown
    assert plain(text) == shown.replace("(", "?").replace(")", "?")


def test_a_long_text_keeps_both_ends() -> None:
    shown = plain(f"registry/{'x' * 300}/.env:3")
    assert len(shown) == 200 and shown.startswith("registry/x") and shown.endswith("x/.env:3")


def test_an_unset_variable_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="owners: web, URL 1: the environment has no variable HOOK"):
        Notifier((), {TEAM: OwnerOptions("web", ("$HOOK",))}, {})
