"""Publishing of the dashboard: from the store to a folder of files."""

from __future__ import annotations

from pathlib import Path

from auditor.fleet.dashboard import pages, site
from auditor.fleet.dashboard.view import fleet
from auditor.fleet.store.database import Store
from auditor.fleet.store.rows import SweepRow


def write_site(store: Store, sweep: SweepRow, folder: Path, created: str) -> None:
    """Write the site of a sweep to a new or empty folder, or over an older site; `created` is RFC 3339 in UTC.

    Raises UsageError if the folder can't be written, or holds files of other programs.
    """
    seen = fleet(store, sweep)
    with site.opened(folder, pages.names(seen)) as out:
        for name, text in pages.rendered(store, seen, created):
            out.write(name, text)
