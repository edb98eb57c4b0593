"""Date and time in UTC."""

from __future__ import annotations

import datetime


def today() -> datetime.date:
    """Return the date in UTC."""
    return utc_now().date()


def utc_now() -> datetime.datetime:
    """Return the time in UTC."""
    return datetime.datetime.now(datetime.UTC)


def timestamp(time: datetime.datetime) -> str:
    """Return a time in UTC as RFC 3339 in seconds, the form in reports and stores."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
