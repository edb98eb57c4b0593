"""Messages about what is new: to a real webhook on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auditor.core.errors import BlockedAddress, UsageError
from auditor.core.finding import Severity
from auditor.fleet.service.alerts import Alert, Event
from auditor.fleet.service.messages import Message, message
from auditor.fleet.service.notify import Notifier
from auditor.fleet.service.receivers import parse_receiver
from auditor.fleet.store import queries
from auditor.fleet.store.rows import SweepRow
from tests.conftest import Cli
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Remote, application
from tests.fleet.receiver import Receiver
from tests.fleet.stored import POLICY
from tests.images import image, layer, token

NOT_ACCEPTED = "--notify, URL 1 (webhook): did not accept the message with 1 alert; check the URL"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def sweep(sweeps: Sweeps, address: str) -> SweepRow:
    sweeps(address)
    found = queries.last_sweep(sweeps.store)
    assert found is not None
    return found


@pytest.mark.registry
class TestSweeps:
    def test_a_new_finding_is_told_once(self, sweeps: Sweeps, address: str, receiver: Receiver) -> None:
        remote, notifier = Remote(address), Notifier([receiver.url])
        remote.push("team/app", "1", application(0, "app", token(1)))
        assert notifier.notify(sweeps.store, sweep(sweeps, address), POLICY) == []
        (first,) = receiver.messages
        assert first["title"] == f"image-audit: 1 new secret in {address}" and first["type"] == "warning"
        (alert,) = first["alerts"]
        secret = alert["secret_id"][:12]
        assert first["message"].splitlines() == [
            "1 secret at 1 place; 1 hidden but recoverable, 0 visible",
            f"critical: github-pat in team/app:1, /app/.env:1 (deleted); due 2026-11-25; secret {secret}",
            "What to do: revoke the secrets, rebuild the tags, delete the digests. "
            f"Steps: image-audit registry plan {address}",
            f"All locations of a secret: image-audit registry where {secret}",
        ]
        assert notifier.notify(sweeps.store, sweep(sweeps, address), POLICY) == [] and len(receiver.messages) == 1
        remote.push("team/app", "2", application(0, "app2", token(2), hidden=False))
        notifier.notify(sweeps.store, sweep(sweeps, address), POLICY)
        _, second = receiver.messages
        line = second["message"].splitlines()[1]
        assert line.startswith("critical: github-pat in team/app:2, /app/.env:1 (present); due ")

    def test_another_process_tells_no_finding_again(self, sweeps: Sweeps, address: str, receiver: Receiver) -> None:
        Remote(address).push("team/app", "1", application(0, "app", token(1)))
        for _ in range(2):
            Notifier([receiver.url]).notify(sweeps.store, sweep(sweeps, address), POLICY)
        assert len(receiver.messages) == 1

    def test_where_nothing_is_new_nothing_is_sent(self, sweeps: Sweeps, address: str, receiver: Receiver) -> None:
        Remote(address).push("team/app", "1", application(0, "app", None))
        assert Notifier([receiver.url]).notify(sweeps.store, sweep(sweeps, address), POLICY) == []
        assert receiver.messages == []

    def test_a_receiver_that_fails_is_told_later(self, sweeps: Sweeps, address: str, receiver: Receiver) -> None:
        Remote(address).push("team/app", "1", application(0, "app", token(1)))
        other = "http://127.0.0.1:1/token-in-the-url"
        notifier, receiver.status = Notifier([receiver.url, other]), 500
        first, second = notifier.notify(sweeps.store, sweep(sweeps, address), POLICY)
        assert first == NOT_ACCEPTED
        assert second.startswith("--notify, URL 2 (webhook): did not accept") and "token-in" not in second
        assert receiver.refused == 3, "tries of one message"
        receiver.status = 200
        (only,) = notifier.notify(sweeps.store, sweep(sweeps, address), POLICY)
        assert "URL 2" in only and [item["title"] for item in receiver.messages] == [
            f"image-audit: 1 new secret in {address}"
        ]

    def test_one_secret_in_many_images_is_one_line(self, sweeps: Sweeps, address: str, receiver: Receiver) -> None:
        remote = Remote(address)
        for name in ("a", "b", "c"):
            remote.push(f"team/{name}", "1", application(0, name, token(1)))
        Notifier([receiver.url]).notify(sweeps.store, sweep(sweeps, address), POLICY)
        counts, line, *_ = receiver.messages[0]["message"].splitlines()
        assert counts == "1 secret at 3 places; 1 hidden but recoverable, 0 visible"
        assert line.startswith("critical: github-pat in team/a:1 and 2 more, /app/.env:1 (deleted); due ")

    def test_neither_a_secret_nor_markup_gets_into_a_chat(
        self, sweeps: Sweeps, address: str, receiver: Receiver
    ) -> None:
        secret = token(1)
        path = "app/<!channel> @everyone [x](http:/\u202e)\n`.env"
        Remote(address).push("team/app", "1", image(layer({path: f"T={secret}\n"})))
        Notifier([receiver.url]).notify(sweeps.store, sweep(sweeps, address), POLICY)
        (sent,) = receiver.messages
        assert "?everyone" in sent["message"] and not set("<>@[]`\u202e") & set(sent["message"])
        assert len(sent["message"].splitlines()) == 4
        assert secret[-4:] not in str(sent) and secret[4:12] not in str(sent)

    def test_the_command_warns_of_a_receiver_that_fails(
        self, cli: Cli, address: str, receiver: Receiver, tmp_path: Path
    ) -> None:
        Remote(address).push("team/app", "1", application(0, "app", token(1)))
        given: tuple[Any, ...] = (
            "registry", "scan", address, "--store", f"sqlite:///{tmp_path}/s.sqlite", "--fail-on", "never"
        )  # fmt: skip
        done = cli(*given, "-q", "--notify", "http://127.0.0.1:1/")
        assert done.status == 0
        assert done.err == f"image-audit: {NOT_ACCEPTED}\n"
        Remote(address).push("team/app", "2", application(0, "app2", token(2)))
        done = cli(*given, "-q", IMAGE_AUDIT_NOTIFY=f"{receiver.url}?id=7")
        assert (done.status, done.err, len(receiver.messages), receiver.paths) == (0, "", 1, ["/hook?id=7"])


def test_a_long_message_is_cut_and_says_so() -> None:
    found = [Alert(Event.NEW, Severity.HIGH, "own-rule", "app:1", location=f"/{number}") for number in range(50)]
    sent = message("registry.example.com", [*found, Alert(Event.GONE, Severity.LOW, "own-rule", "team/web")])
    assert sent.title == "image-audit: 50 new secrets, 1 gone secret in registry.example.com"
    lines = sent.text.splitlines()
    assert len(lines) == 26 and lines[21:24] == [
        "and 30 more", "Gone, because every digest that held it is deleted:", "and 1 more",
    ]  # fmt: skip
    assert len(sent.alerts) == 51, "programs get all: no later message repeats them"


@pytest.mark.parametrize("url", ["gopher://token-of-a-chat", "https://", "http://host:99999/", "token-of-a-chat", ""])
def test_a_url_that_nobody_knows_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError, match=r"^--notify, URL 1 \(.*\): expected an https webhook, or a URL") as caught:
        Notifier([url])
    assert "of-a-chat" not in str(caught.value)


def test_a_webhook_at_a_metadata_service_gets_nothing() -> None:
    with pytest.raises(BlockedAddress):
        parse_receiver("http://169.254.169.254/latest", "--notify, URL 1").send(Message("title", "text"))


def test_chats_are_known_by_their_own_webhooks() -> None:
    url = f"https://hooks.slack.com/services/T{'1' * 8}/B{'2' * 8}/{'x' * 24}"
    assert parse_receiver(url, "--notify, URL 1").name == "--notify, URL 1 (Slack)"
