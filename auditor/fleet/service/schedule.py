"""Schedule: a cron expression in a time zone, interpreted like Debian's cron, with jitter.

A time skipped by a clock change moves behind the gap; a time that occurs twice counts once.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from auditor.core.dataclass import dataclass
from auditor.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Schedule:
    """Due times. Each is delayed by a random time of up to `jitter_s`, so that many watches don't start together."""

    cron: str
    zone: datetime.tzinfo
    jitter_s: float = 0
    draw: Callable[[float, float], float] = random.uniform

    def after(self, moment: datetime.datetime) -> datetime.datetime:
        """Return the next due time after `moment`, in UTC."""
        due: datetime.datetime = next(CronSim(self.cron, moment.astimezone(self.zone)))
        return due.astimezone(datetime.UTC) + datetime.timedelta(seconds=self.draw(0, self.jitter_s))


def parse_schedule(cron: str, timezone: str, jitter_s: float, now: datetime.datetime) -> Schedule:
    """Return a schedule with a due time after `now`. Raises UsageError for invalid values."""
    try:
        zone = ZoneInfo(timezone)
    except (ValueError, OSError, LookupError):
        raise UsageError(f"--timezone {timezone!r:.60}: unknown time zone. Use a name like Europe/Berlin.") from None
    schedule = Schedule(cron, zone, jitter_s)
    try:
        schedule.after(now)
    except CronSimError as exc:
        raise UsageError(
            f"--cron {cron!r:.60}: {exc}; use minute, hour, day, month, weekday, like '0 */6 * * *'."
        ) from exc
    except StopIteration:
        raise UsageError(f"--cron {cron!r:.60}: matches no time") from None
    return schedule
