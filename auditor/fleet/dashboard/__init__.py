"""The dashboard of a registry: a static site, from the store alone.

index.html           what there is, what is new, what is gone, what failed, and all images
images/*.html        one an image: its report
secrets.html         all secrets; secrets/*.html: one a secret, with every image that holds it
layers.html          the layers that brought secrets in, by the number of tags that hold them
sweeps.html          trends
csv/*.csv            every table

names.py names the files, view.py joins what the store knows, charts.py draws, pages.py renders, export.py writes
the tables, site.py keeps the folder.
"""

from __future__ import annotations

from pathlib import Path

from auditor.fleet.dashboard import pages, site
from auditor.fleet.dashboard.names import image_page
from auditor.fleet.dashboard.site import check
from auditor.fleet.dashboard.view import fleet
from auditor.fleet.rows import SweepRow
from auditor.fleet.store import Store

__all__ = ["check", "image_page", "write"]


def write(store: Store, sweep: SweepRow, folder: Path, created: str) -> None:
    """Write the site of a sweep to a folder that is new, empty or an older site; `created` is RFC 3339 in UTC.

    Raises UsageError where the folder can't be written, or holds other people's files.
    """
    seen = fleet(store, sweep)
    with site.opened(folder, pages.names(seen)) as out:
        for name, text in pages.rendered(store, seen, created):
            out.write(name, text)
