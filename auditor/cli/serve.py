"""The work of `image-audit registry serve`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from auditor.cli import EXIT_CLEAN
from auditor.cli.sweep_setup import check_report, open_store, policy
from auditor.cli.sweeps import last_sweep
from auditor.core.atomic_files import work_folder
from auditor.core.clock import timestamp, utc_now
from auditor.core.command_options import SweepOptions
from auditor.core.dataclass import dataclass
from auditor.fleet.dashboard.publish import write_site
from auditor.fleet.remediation.policy import AcknowledgementStatus
from auditor.fleet.service import http_server
from auditor.fleet.service.logs import json_lines, log_event
from auditor.fleet.service.site_server import SiteServer
from auditor.fleet.service.watch import until_sigterm
from auditor.fleet.store.rows import SweepRow


def serve(registry: str | None, listen: str, load: Callable[[], SweepOptions]) -> int:
    """Serve the dashboard until SIGTERM; `load` returns the merged options for each update."""
    address = http_server.parse_address(listen)
    given = load().report_dir
    check_report(given)
    with json_lines(), until_sigterm(), work_folder() as temporary:
        folder = temporary / "site" if given is None else given
        site = SiteServer(folder, _Updater(registry, folder, load), time.sleep)
        with http_server.serve(address, site.respond) as own:
            log_event("serving", listen=own)
            site.run()
    return EXIT_CLEAN


@dataclass(frozen=True, slots=True)
class _Shown:
    """State of the store that the dashboard shows, as of a day."""

    sweep: SweepRow
    options: SweepOptions
    day: str
    statuses: Mapping[str, AcknowledgementStatus]


class _Updater:
    """Writes the dashboard of the last sweep whenever the store, the options or the day have changed."""

    def __init__(self, registry: str | None, folder: Path, load: Callable[[], SweepOptions]) -> None:
        self._registry, self._folder, self._load = registry, folder, load
        self._shown: _Shown | None = None

    def __call__(self) -> bool:
        options, now = self._load(), timestamp(utc_now())
        own = policy(options)
        with open_store(options.store) as store:
            shown = _Shown(last_sweep(store, self._registry), options, own.today.isoformat(), own.statuses(store))
            if shown == self._shown:
                return False
            write_site(store, shown.sweep, self._folder, now, own, options.cache_dir)
        self._shown = shown
        return True
