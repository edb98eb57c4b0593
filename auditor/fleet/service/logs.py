"""Logs as JSON lines on standard error, including warnings of libraries."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from auditor.core.progress import Silent

_NAME = "image-audit"
_logger = logging.getLogger(_NAME)


class JsonLines(logging.Formatter):
    """Formatter: one JSON line with time, level, logger, event and its fields, without traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        own = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        return json.dumps({**own, **getattr(record, "fields", {})}, ensure_ascii=True)


def log_event(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event."""
    _logger.log(level, event, extra={"fields": fields})


class LoggedProgress(Silent):
    """Progress of a sweep as log events."""

    def say(self, message: str) -> None:
        """Log a step."""
        log_event("step", logging.DEBUG, what=message)

    def note(self, message: str) -> None:
        """Log an event that does not end the run."""
        log_event("note", what=message)


@contextmanager
def json_lines(*, verbose: bool = False) -> Iterator[None]:
    """Send all logs to standard error; `verbose` adds the steps of a sweep."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.addHandler(handler)
    _logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
