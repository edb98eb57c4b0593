"""The cost of a second sweep grows with tags and repositories alone: counted, not timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from sqlalchemy import event

from auditor.fleet.store.database import SweepStore
from bench.fleet import simulated_registry
from bench.fleet_records import plant_records
from bench.simulated_content import TAGS, FakeRegistry
from tests.fleet.conftest import Sweeps


@contextmanager
def counted_statements(store: SweepStore) -> Iterator[list[str]]:
    """Count the statements that the database executes."""
    statements: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(store._engine, "before_cursor_execute", count)
    yield statements
    event.remove(store._engine, "before_cursor_execute", count)


def second_sweep(sweeps: Sweeps, repositories: int) -> tuple[list[str], dict[str, int]]:
    """Return the statements, and the number of requests by kind."""
    registry = FakeRegistry(repositories * TAGS)
    plant_records(sweeps.store, sweeps.scanner, registry)
    with simulated_registry(registry.images) as address:
        first = sweeps(address)
        assert (len(first["images"]), first["layers"]["read"], first["failed"]) == (registry.images, 0, [])
        requests.get(f"http://{address}/counts", timeout=10)
        with counted_statements(sweeps.store) as statements:
            again = sweeps(address)
        counts = requests.get(f"http://{address}/counts", timeout=10).json()
    assert [image["digest"] for image in again["images"]] == [image["digest"] for image in first["images"]]
    return statements, {name: counts[name] for name in ("lists", "HEAD", "GET")}


def test_unchanged_repositories_add_no_statement_and_each_of_their_tags_one_request(
    sweeps: Sweeps, tmp_path_factory: pytest.TempPathFactory
) -> None:
    few, requests_of_few = second_sweep(sweeps, 1)
    store = SweepStore(f"sqlite:///{tmp_path_factory.mktemp('larger')}/store.sqlite")
    many, requests_of_many = second_sweep(Sweeps(store, sweeps.scanner), 4)
    store.close()
    assert requests_of_few == {"lists": 1 + 1, "HEAD": TAGS, "GET": 0}
    assert requests_of_many == {"lists": 1 + 4, "HEAD": 4 * TAGS, "GET": 0}
    assert len(many) == len(few), "one row for each repository, a hundred rows in a statement"
