"""Fixtures: registries with content, a proxy, stores in SQLite and PostgreSQL, sweeps in this process."""

from __future__ import annotations

import gc
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from auditor.core.options import RegistryOptions
from auditor.fleet.dashboard import sweep_json
from auditor.fleet.dashboard.publish import write_site
from auditor.fleet.discovery.catalog import TagFilter, parse_scope
from auditor.fleet.execution.engine import Engine, RegistryEndpoint
from auditor.fleet.execution.image_audits import ImageAudits
from auditor.fleet.execution.local_engine import LocalEngine
from auditor.fleet.execution.plan import SweepPlan
from auditor.fleet.execution.sweep import Sweeper
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.registry.client import Client
from auditor.scan import Scanner
from tests.fleet.cluster import Cluster
from tests.fleet.owned import Story
from tests.fleet.planted import Content, Remote, fill
from tests.fleet.postgres import Postgres, make_template
from tests.fleet.stored import CREATED, OWNED, POLICY, Site, Stored, story


@pytest.fixture(scope="session")
def filled(start_registry: Any) -> tuple[str, Content]:
    """A registry of 40 images over 10 repositories, and what is in it. Nobody changes it."""
    address = start_registry()
    return address, fill(Remote(address))


@pytest.fixture
def address(start_registry: Any) -> str:
    """An empty registry of the test's own."""
    made: str = start_registry()
    return made


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server. Its folder lies where the user postgres may go."""
    folder = Path(tempfile.mkdtemp(prefix="image-audit-postgres-", dir="/tmp"))
    folder.chmod(0o755)
    server = Postgres(folder)
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.sqlite"
    made: str = request.getfixturevalue("postgres").new_database()
    return made


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with an empty store, to be copied: migrations take longer."""
    path = tmp_path_factory.mktemp("template") / "store.sqlite"
    make_template(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, template: Path) -> str:
    """An empty store, in each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(template, tmp_path / 'store.sqlite')}"
    made: str = request.getfixturevalue("postgres").new_store()
    return made


@dataclass
class Sweeps:
    """Sweeps registries into one store, in this process; its clock goes a minute a look."""

    store: SweepStore
    scanner: Scanner
    now: int = 0

    def clock(self) -> str:
        self.now += 1
        return f"2026-11-24T{self.now // 60:02}:{self.now % 60:02}:00Z"

    def plan(self, name: str | None, lines: Path | None = None, **more: Any) -> SweepPlan:
        scope = parse_scope(name, lines)
        rules = {key: more.pop(key) for key in ("repos", "tags", "newest") if key in more}
        choice = TagFilter(more.pop("registries", dict[str, RegistryOptions]()), **rules)
        endpoint = RegistryEndpoint(scope.host, ca=more.pop("ca", None), rate=more.pop("rate", None))
        return SweepPlan(scope, choice, endpoint, self.clock, **more)

    def sweeper(self, plan: SweepPlan, client: Client, engine: Engine) -> Sweeper:
        audits = partial(ImageAudits, self.store, self.scanner, engine, plan)
        return Sweeper(self.store, plan, client, self.scanner.ruleset.digest, self.scanner.progress, audits)

    def __call__(self, name: str | None, lines: Path | None = None, **more: Any) -> dict[str, Any]:
        plan = self.plan(name, lines, **more)
        client = plan.endpoint.client()
        with closing(LocalEngine(client, self.scanner, self.store.key, plan.parallel)) as engine:
            number = self.sweeper(plan, client, engine).run()
        row = next(row for row in queries.sweeps(self.store) if row.id == number)
        return sweep_json.sweep_document(self.store, row, lambda _: None, POLICY)


@pytest.fixture
def cluster(tmp_path: Path, environment: dict[str, str]) -> Iterator[Cluster]:
    """A Dask scheduler without workers."""
    made = Cluster(tmp_path, environment)
    yield made
    made.close()
    with warnings.catch_warnings():  # Dask's client leaves connections open that it could not finish in time
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def sweeps(tmp_path: Path, scanner: Scanner, template: Path) -> Iterator[Sweeps]:
    path = shutil.copy(template, tmp_path / "sweeps.sqlite")
    with closing(SweepStore(f"sqlite:///{path}", retry_s=2)) as store:
        yield Sweeps(store, scanner)


@pytest.fixture
def sweeps_in(url: str, scanner: Scanner) -> Iterator[Sweeps]:
    """As `sweeps`, in each kind of database."""
    with closing(SweepStore(url, retry_s=2)) as store:
        yield Sweeps(store, scanner)


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    """A sweep's JSON without what differs between two equal sweeps of two stores: times, and ids under its key."""
    shared = [{"rule": item["rule"], "images": item["images"]} for item in document["shared_secrets"]]
    return {**document, "started": None, "finished": None, "registry": None, "shared_secrets": shared}


@pytest.fixture(scope="session")
def story_site(tmp_path_factory: pytest.TempPathFactory, scanner: Scanner) -> Iterator[Site]:
    """The dashboard of `stored.story`."""
    folder = tmp_path_factory.mktemp("story")
    with closing(SweepStore(f"sqlite:///{folder}/store.sqlite")) as store:
        sweep = story(Stored(store, scanner, folder / "images"))
        write_site(store, sweep, folder / "site", CREATED, OWNED)
        yield Site(folder / "site", store, sweep)


@pytest.fixture
def changed(story_site: Site, tmp_path: Path) -> Iterator[Story]:
    """The story of `stored.story` in a store of the test's own."""
    with closing(sqlite3.connect(str(story_site.store.url.database))) as own:
        own.execute("PRAGMA wal_checkpoint")
    shutil.copy(str(story_site.store.url.database), tmp_path / "store.sqlite")
    with closing(SweepStore(f"sqlite:///{tmp_path}/store.sqlite")) as store:
        yield Story(store, story_site.sweep, OWNED)
