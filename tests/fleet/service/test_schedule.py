"""Due times of a watch: cron, time zones, jitter."""

from __future__ import annotations

import datetime

import pytest

from auditor.core.errors import UsageError
from auditor.fleet.service.schedule import Schedule, parse_schedule

START = datetime.datetime(2026, 11, 24, 12, 0, 30, tzinfo=datetime.UTC)


def next_of(cron: str, zone: str, *moments: str) -> list[str]:
    schedule = parse_schedule(cron, zone, 0, START)
    return [f"{schedule.after(datetime.datetime.fromisoformat(text)):%m-%dT%H:%M}" for text in moments]


def test_due_times_follow_the_time_zone() -> None:
    before, after = "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"
    assert next_of("0 3 * * *", "Europe/Berlin", before, after) == ["10-25T02:00", "10-26T02:00"]
    assert next_of("0 */6 * * *", "Asia/Kolkata", before) == ["10-24T12:30"]


def test_a_skipped_time_moves_behind_the_gap_and_a_repeated_time_counts_once() -> None:
    assert next_of("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z") == ["03-29T01:00"]
    (first,) = next_of("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z")
    assert next_of("30 2 * * *", "Europe/Berlin", f"2026-{first}:00Z") == ["10-26T01:30"]


def test_days_are_interpreted_as_in_cron() -> None:
    monday, sunday = "11-30T00:00", "11-29T00:00"
    assert next_of("0 0 * * 1", "UTC", "2026-11-24T12:00:00Z") == [monday]
    assert next_of("0 0 * * 0", "UTC", "2026-11-24T12:00:00Z") == [sunday]
    assert next_of("0 0 27 * 1", "UTC", "2026-11-24T12:00:00Z") == ["11-27T00:00"]


def test_jitter_delays_by_a_random_part_of_its_maximum() -> None:
    schedule = Schedule("0 * * * *", datetime.UTC, 600, draw=lambda low, high: low + high / 2)
    assert schedule.after(START) == START.replace(hour=13, minute=5, second=0)


@pytest.mark.parametrize(
    ("cron", "zone", "reason"),
    [
        ("* * *", "UTC", "--cron '* * *': Wrong number of fields; use minute, hour"),
        ("61 * * * *", "UTC", "--cron '61 * * * *': Bad minute; use"),
        ("0 0 30 2 *", "UTC", "--cron '0 0 30 2 *': "),
        ("* * * * *", "Mars/Olympus", "--timezone 'Mars/Olympus': unknown time zone"),
        ("* * * * *", "../../etc/passwd", "--timezone '../../etc/passwd': unknown time zone"),
    ],
)
def test_an_invalid_schedule_is_a_usage_error(cron: str, zone: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_schedule(cron, zone, 0, START)
    assert str(caught.value).startswith(reason)
