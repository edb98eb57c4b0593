"""Publishing of the dashboard: from the store to a folder of files."""

from __future__ import annotations

from pathlib import Path

from auditor.fleet.dashboard import pages, site
from auditor.fleet.dashboard.view import sweep_view
from auditor.fleet.remediation.policy import Policy
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import SweepRow
from auditor.report.html.page import cache_templates


def write_site(
    store: SweepStore, sweep: SweepRow, folder: Path, created: str, policy: Policy, cache: Path | None = None
) -> None:
    """Write the site of a sweep to a new or empty folder, or over an older site; `created` is RFC 3339 in UTC.

    `cache` is the folder of compiled templates. Raises UsageError if the folder of the site can't be written, or holds
    files of other programs.
    """
    if cache is not None:
        cache_templates(cache)
    seen = sweep_view(store, sweep, policy)
    lists = pages.site_lists(seen)
    with site.open_site(folder, pages.site_files(seen, lists)) as out:
        for name, text in pages.render_pages(store, seen, lists, created):
            out.write(name, text)
