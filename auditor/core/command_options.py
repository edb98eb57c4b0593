"""Options of `flatten` and of sweeps. A module of their own, because a scan without them starts 15 ms earlier."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity
from auditor.core.options import AuditOptions, RegistryOptions
from auditor.core.owner_options import DUE_DAYS, OwnerOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class FlattenOptions(AuditOptions):
    """Options of `flatten`. At most one of `excise`, `minimal` and `lowest` is set; without any, all layers merge."""

    output: Path | None = None
    tag: str | None = None
    push: str | None = None
    excise: bool = False
    minimal: bool = False
    lowest: int | None = None
    method: str = "rebuild"
    drop_env: tuple[str, ...] = ()
    drop_label: tuple[str, ...] = ()
    archive_format: str | None = None
    compress: str | None = None
    level: int | None = None
    force: bool = False
    proof: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions(AuditOptions):
    """Options of a sweep. `cache` False reads every layer again; `registries` are those of the config file.

    `owners` are those of the config file, by globs over `HOST/REPOSITORY`; `due` are days by severity.
    `untrusted_receivers` is the config file whose receivers are ignored, because the user did not name the file.
    """

    registries: Mapping[str, RegistryOptions] = field(default_factory=dict)
    owners: Mapping[str, OwnerOptions] = field(default_factory=dict)
    due: Mapping[Severity, int] = field(default_factory=lambda: DUE_DAYS)
    untrusted_receivers: Path | None = None
    references: Path | None = None
    repos: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    newest: int | None = None
    store: str | None = None
    report_dir: Path | None = None
    notify: tuple[str, ...] = ()
    keep: datetime.timedelta | None = None
    ca: Path | None = None
    rate: float | None = None
    parallel: int = 8
    engine: str = "local"
    scheduler: str | None = None
    attest: bool = False
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions(SweepOptions):
    """Options of a watch: its schedule, and the address of its health and metrics. `now` starts with a sweep."""

    cron: str = ""
    timezone: str = "UTC"
    jitter: int = 0
    listen: str = ""
    now: bool = False
