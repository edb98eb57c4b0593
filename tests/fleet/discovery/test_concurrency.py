"""Concurrency of requests: one thread for a near registry, several for a distant one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from auditor.fleet.discovery import concurrency
from auditor.fleet.discovery.concurrency import ConcurrencyLimit
from auditor.fleet.discovery.survey import Surveyor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time that passes only when a test says so."""
    own = SimpleNamespace(now=0.0)
    monkeypatch.setattr(concurrency, "time", SimpleNamespace(monotonic=lambda: own.now))
    return own


def request(limit: ConcurrencyLimit, clock: SimpleNamespace, seconds: float) -> None:
    limit(lambda: setattr(clock, "now", clock.now + seconds))


def test_a_registry_is_distant_after_five_slow_requests_until_a_fast_one(clock: SimpleNamespace) -> None:
    limit = ConcurrencyLimit(8)
    for seconds in (0.02, 0.02, 0.0002, 0.02, 0.02, 0.02, 0.02):
        request(limit, clock, seconds)
        assert limit.is_near
    request(limit, clock, 0.02)
    assert not limit.is_near
    request(limit, clock, 0.0002)
    assert limit.is_near


def test_a_failed_request_counts_by_its_time(clock: SimpleNamespace) -> None:
    limit = ConcurrencyLimit(1)

    def failing() -> None:
        clock.now += 1
        raise OSError

    for _ in range(5):
        with pytest.raises(OSError):
            limit(failing)
    assert not limit.is_near


def test_surveys_of_a_near_registry_take_turns(clock: SimpleNamespace) -> None:
    limit = ConcurrencyLimit(8)
    with limit.turn(), ThreadPoolExecutor(1) as pool:
        assert not pool.submit(limit._turn.acquire, blocking=False).result()
    for _ in range(5):
        request(limit, clock, 0.02)
    with limit.turn(), limit.turn():
        pass


@pytest.mark.parametrize("is_near", [True, False])
def test_threads_help_if_the_registry_is_distant(clock: SimpleNamespace, is_near: bool) -> None:
    limit, threads = ConcurrencyLimit(4), set[int]()
    if not is_near:
        for _ in range(5):
            request(limit, clock, 0.02)
    both = threading.Barrier(2)

    def work(item: str) -> str:
        threads.add(threading.get_ident())
        if not is_near and item in "ab":
            both.wait(60)  # until another thread has the other one
        return item.upper()

    unused: Any = None
    with ThreadPoolExecutor(4) as pool:
        surveyor = Surveyor(unused, unused, pool, None, limit, unused, fresh=False)
        assert surveyor._each(work, "abcdef") == [(item, item.upper()) for item in "abcdef"]
    assert (threads == {threading.get_ident()}) is is_near
