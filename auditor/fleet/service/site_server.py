"""Server of the dashboard: keeps a folder up to date with the store, and serves its files."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Callable
from dataclasses import field
from pathlib import Path

from auditor.core.dataclass import dataclass
from auditor.core.errors import AuditError, reason
from auditor.fleet.dashboard.site_paths import OVERVIEW, is_site_file
from auditor.fleet.service.health import health, live
from auditor.fleet.service.http_server import TEXT, File, Page
from auditor.fleet.service.logs import log_event

_POLL_S = 10
_KINDS = {"html": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8", "json": "application/json"}
_POLICY = re.compile(rb'<meta http-equiv="Content-Security-Policy" content="([^"\r\n]+)">')
_HEAD = 1024  # bytes of a page that contain its policy


@dataclass(slots=True)
class SiteServer:
    """Folder of a dashboard, and the function that writes it again if the store has changed.

    `update` returns whether it wrote the dashboard. It raises AuditError or OSError if the store can't be read, or has
    no finished sweep; the last dashboard is served meanwhile.
    """

    folder: Path
    update: Callable[[], bool]
    sleep: Callable[[float], None]
    _failing: str | None = field(default="starting", init=False)

    def run(self) -> None:
        """Update the dashboard regularly. Only an exception ends it."""
        while True:
            self.update_once()
            self.sleep(_POLL_S)

    def update_once(self) -> None:
        """Update the dashboard; log changes and the first of equal failures."""
        try:
            if self.update():
                log_event("dashboard written")
        except (AuditError, OSError) as exc:
            failing = reason(exc)
            if failing != self._failing:
                log_event("dashboard not updated", logging.WARNING, reason=failing)
            self._failing = failing
            return
        self._failing = None

    def respond(self, path: str) -> Page | File:
        """Return a file of the dashboard, or a health page; 404 for all other paths."""
        match path:
            case "/livez":
                return live()
            case "/readyz":
                ready = (self.folder / OVERVIEW).is_file()
                return live() if ready else Page(503, TEXT, b"no dashboard yet\n")
            case "/healthz":
                return health(failing=self._failing)
        name = path.removeprefix("/") or OVERVIEW
        file = self._open(name) if is_site_file(name) else None
        if file is not None:
            return file
        if name == OVERVIEW:
            return Page(503, TEXT, b"no dashboard yet: it appears after the first sweep\n")
        return Page(404, TEXT, b"not found\n")

    def _open(self, name: str) -> File | None:
        """Open a file of the site; None if it is missing, a link, or no regular file."""
        try:
            handle = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        file = os.fdopen(handle, "rb")
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            file.close()
            return None
        kind = name.rpartition(".")[2]
        policy = _policy(file.read(_HEAD)) if kind == "html" else None
        file.seek(0)
        return File(_KINDS[kind], file, status.st_size, policy)


def _policy(head: bytes) -> str | None:
    """Return the policy that a page declares, which also forbids frames as a header; None without one."""
    found = _POLICY.search(head)
    return None if found is None else f"{found[1].decode('ascii', 'replace')}; frame-ancestors 'none'"
