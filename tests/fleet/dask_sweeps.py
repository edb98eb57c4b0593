"""Sweeps on a Dask cluster, in this process."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from auditor.core.progress import Progress, Silent
from auditor.fleet.dashboard import sweep_json
from auditor.fleet.execution.dask_engine import DaskEngine
from auditor.fleet.execution.engine import RegistryEndpoint
from auditor.fleet.store import queries
from tests.fleet.conftest import Sweeps
from tests.fleet.stored import POLICY


def engine_of(sweeps: Sweeps, scheduler: str, source: RegistryEndpoint, progress: Progress | None = None) -> DaskEngine:
    return DaskEngine(
        scheduler, source, sweeps.scanner.ruleset, sweeps.store.key,
        name="test", parallel=8, progress=progress or Silent(),
    )  # fmt: skip


def swept(
    sweeps: Sweeps, scheduler: str, registry: str, progress: Progress | None = None, rate: float | None = None
) -> dict[str, Any]:
    """Sweep a registry; return the JSON document of the sweep."""
    plan = sweeps.plan(registry, rate=rate)
    with closing(engine_of(sweeps, scheduler, plan.endpoint, progress)) as engine:
        client = plan.endpoint.client(rate=engine.rate)
        number = sweeps.sweeper(plan, client, engine).run()
    row = next(row for row in queries.sweeps(sweeps.store) if row.id == number)
    return sweep_json.sweep_document(sweeps.store, row, lambda _: None, POLICY)
