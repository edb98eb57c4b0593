"""When to sweep: a cron expression in a time zone, as Debian's cron reads it, with jitter.

Where clocks go forward a time that does not exist is moved behind the gap; where they go back, a time that comes twice
counts once.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass

from auditor.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Schedule:
    """Points in time. Each is put off by up to `jitter_s` seconds, so that many watchers don't start as one."""

    cron: str
    zone: datetime.tzinfo
    jitter_s: float = 0
    draw: Callable[[float, float], float] = random.uniform

    def after(self, moment: datetime.datetime) -> datetime.datetime:
        """Return the next point after `moment`, in UTC."""
        from cronsim import CronSim

        due: datetime.datetime = next(CronSim(self.cron, moment.astimezone(self.zone)))
        return due.astimezone(datetime.UTC) + datetime.timedelta(seconds=self.draw(0, self.jitter_s))


def parse_schedule(cron: str, timezone: str, jitter_s: float, now: datetime.datetime) -> Schedule:
    """Return a schedule that has a point after `now`. Raises UsageError on anything that is none."""
    from zoneinfo import ZoneInfo

    from cronsim import CronSimError

    try:
        zone = ZoneInfo(timezone)
    except (ValueError, OSError, LookupError):
        raise UsageError(f"--timezone {timezone!r:.60}: no such zone; want a name as Europe/Berlin") from None
    schedule = Schedule(cron, zone, jitter_s)
    try:
        schedule.after(now)
    except CronSimError as exc:
        raise UsageError(
            f"--cron {cron!r:.60}: {exc}; want minute, hour, day, month, weekday as '0 */6 * * *'"
        ) from exc
    except StopIteration:
        raise UsageError(f"--cron {cron!r:.60}: never comes") from None
    return schedule
