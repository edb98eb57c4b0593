"""Registries that are down, stop answering during a sweep, or send Retry-After."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auditor.core.errors import Unreachable
from auditor.fleet.discovery import survey
from auditor.registry.client import Client
from auditor.registry.retry import TRIES, Clock
from tests.conftest import Cli, free_port
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Content, Remote, application
from tests.fleet.proxy import Proxy
from tests.images import token

pytestmark = pytest.mark.registry


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The pauses that were made between two tries; nobody waits for them."""
    made: list[float] = []

    def sleep(_: Clock, seconds: float, stopped: threading.Event) -> None:
        made.append(seconds)

    monkeypatch.setattr(Clock, "sleep", sleep)
    yield made


def test_an_unreachable_registry_is_reported_at_once(pauses: list[float]) -> None:
    host = f"127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable, match=f"registry {host} does not answer"):
        Client(host).ping()
    assert pauses == []


def test_an_unreachable_registry_is_reported_before_rules_are_compiled(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("".join(f"team/app{number}\n" for number in range(50)))
    host = f"127.0.0.1:{free_port()}"
    done = cli("registry", "scan", host, "--from", tmp_path / "list", "--cache-dir", tmp_path / "cache")
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"registry {host} does not answer" in done.err
    assert not [*(tmp_path / "cache").glob("*.vectorscan")], "rules were compiled first"


def test_a_registry_that_stops_answering_is_retried_and_then_ends_the_sweep(
    sweeps: Sweeps, filled: tuple[str, Content], proxy_to: Callable[[str], Proxy], pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(survey, "_MAX_UNANSWERED", 3)
    proxy = proxy_to(filled[0])
    count = proxy.fault

    def fault(method: str, path: str) -> str | None:
        count(method, path)
        return "dropped" if sum(proxy.asked.values()) > 40 else None

    monkeypatch.setattr(proxy, "fault", fault)
    with pytest.raises(Unreachable, match="run the same command again to continue the sweep"):
        sweeps(proxy.address)
    assert len(pauses) >= 3 * (TRIES - 1)
    monkeypatch.setattr(proxy, "fault", count)
    assert len(sweeps(proxy.address)["images"]) == 40


@pytest.mark.parametrize(
    "when", [lambda: "7", lambda: email.utils.formatdate(time.time() + 30, usegmt=True)], ids=["seconds", "date"]
)
def test_retry_after_is_honoured(
    sweeps: Sweeps, address: str, proxy_to: Callable[[str], Proxy], pauses: list[float], when: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    Remote(address).push("team/app", "1", application(0, "app", token(1)))
    proxy = proxy_to(address)
    proxy.retry_after = when
    count, refused = proxy.fault, set[str]()

    def fault(method: str, path: str) -> str | None:
        count(method, path)
        if path == "/v2/" or path in refused:
            return None
        refused.add(path)
        return "slow down" if len(refused) % 2 else "busy"

    monkeypatch.setattr(proxy, "fault", fault)
    found = sweeps(proxy.address)
    assert found["failed"] == [] and len(found["images"]) == 1
    assert len(pauses) == len(refused) > 4
    assert set(pauses) == {7} if when() == "7" else all(25 < pause <= 30 for pause in pauses)
