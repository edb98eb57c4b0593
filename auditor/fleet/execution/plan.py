"""Plan of a sweep: the resolved values of all its options."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, field, replace

from auditor.core.dataclass import dataclass
from auditor.core.options import RegistryOptions
from auditor.findings.selection import Selection
from auditor.fleet.discovery.catalog import Scope, TagFilter
from auditor.fleet.execution.attestor import Attestor
from auditor.fleet.execution.engine import RegistryEndpoint


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """Registry, filter and audit settings of a sweep. `clock` returns the time as RFC 3339 in UTC.

    `record_bytes` limits the stored layer records; None is the default of the store.
    With `fresh`, the sweep reads every layer and audits every image again. An `attestor` attests
    the clean images.
    """

    scope: Scope
    tag_filter: TagFilter
    endpoint: RegistryEndpoint
    clock: Callable[[], str]
    selection: Selection = field(default_factory=Selection)
    platform: str | None = None
    base: str | None = None
    parallel: int = 8
    fresh: bool = False
    record_bytes: int | None = None
    attestor: Attestor | None = None

    @property
    def scope_digest(self) -> str:
        """Digest of registry, filter and platform: equal for all sweeps of the same images."""
        tag_filter = {
            **asdict(self.tag_filter),
            "registries": {k: asdict(v) for k, v in self.tag_filter.registries.items()},
        }
        listed = sorted(map(str, self.scope.listed))
        text = json.dumps([str(self.scope), listed, tag_filter, self.platform], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def filter_text(self) -> str | None:
        """Options that exclude a part of the registry, as written by the user; None if there are none."""
        options = {
            "--from": [self.scope.source],
            "--repos": self.tag_filter.repos,
            "--tags": self.tag_filter.tags,
            "--newest": [self.tag_filter.newest],
            "--platform": [self.platform],
        }
        used = [(name, value) for name, values in options.items() for value in values if value]
        return " ".join(f"{name} {shlex.quote(str(value))}" for name, value in used) or None

    def selection_for(self, settings: RegistryOptions) -> Selection:
        """Return the selection, extended by the exclusions that the config file has for a part of the registry."""
        exclude = settings.exclude
        return replace(
            self.selection,
            exclude_paths=(*self.selection.exclude_paths, *exclude.paths),
            exclude_rules=self.selection.exclude_rules | set(exclude.rules),
            exclude_images=(*self.selection.exclude_images, *exclude.images),
        )
