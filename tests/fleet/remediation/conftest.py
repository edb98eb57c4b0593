"""A copy of the story's store that a test may change, with owners."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditor.core.owner_options import OwnerOptions
from auditor.fleet.remediation.owners import Owners
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import SweepRow
from tests.fleet.stored import POLICY, REGISTRY, Site

OWNERS = {
    f"{REGISTRY}/shop/**": OwnerOptions("shop"),
    f"{REGISTRY}/team/**": OwnerOptions("web"),
    f"{REGISTRY}/**": OwnerOptions("platform"),
}


@dataclass(frozen=True)
class Story:
    """The store, its last sweep, and the policy with owners."""

    store: SweepStore
    sweep: SweepRow
    policy: Policy

    @property
    def shared(self) -> str:
        """The id of the secret that six images of two owners hold."""
        return queries.shared_secrets(self.store, self.sweep.id)[0].secret


@pytest.fixture
def changed(story_site: Site, tmp_path: Path) -> Iterator[Story]:
    """The story of `stored.story` in a store of the test's own."""
    with closing(sqlite3.connect(str(story_site.store.url.database))) as own:
        own.execute("PRAGMA wal_checkpoint")
    shutil.copy(str(story_site.store.url.database), tmp_path / "store.sqlite")
    with closing(SweepStore(f"sqlite:///{tmp_path}/store.sqlite")) as store:
        yield Story(store, story_site.sweep, Policy(POLICY.today, Owners(OWNERS)))
