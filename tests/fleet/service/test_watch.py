"""Sweeps on a schedule: with a simulated clock, and through the command line."""

from __future__ import annotations

import datetime
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from auditor.core.errors import LeaseLost, StoreError
from auditor.fleet.service.metrics import Metrics
from auditor.fleet.service.notify import Notifier
from auditor.fleet.service.schedule import parse_schedule
from auditor.fleet.service.watch import Stopped, Watch
from auditor.fleet.store import queries
from auditor.fleet.store.rows import SweepRow
from tests.conftest import Cli
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Content, Remote, application
from tests.fleet.proxy import Proxy
from tests.fleet.receiver import Receiver
from tests.fleet.stored import POLICY
from tests.images import token

START = datetime.datetime(2026, 11, 24, 12, 0, 30, tzinfo=datetime.UTC)


@dataclass
class Clock:
    """Stands still but while somebody sleeps; stops the watch at `end`."""

    now: datetime.datetime = START
    end: datetime.datetime = START + datetime.timedelta(hours=1)
    begun: list[str] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += datetime.timedelta(seconds=seconds)
        if self.now > self.end:
            raise Stopped

    def watch(self, cron: str, sweep: Callable[[], SweepRow], **more: Any) -> Watch:
        schedule = parse_schedule(cron, more.pop("timezone", "UTC"), 0, self.now)

        def noted() -> SweepRow:
            self.begun.append(f"{self.now:%H:%M:%S}")
            return sweep()

        metrics = Metrics("registry.example.com", lambda: self.now.timestamp())  # noqa: PLW0108 - now changes
        return Watch(schedule, noted, metrics, lambda: self.now, self.sleep, **more)


def row(**counts: int) -> SweepRow:
    names = (
        "critical",
        "high",
        "medium",
        "low",
        "images",
        "layers_unique",
        "layers_read",
        "bytes_read",
        "new",
        "failed",
        "partial",
        "withdrawn",
    )
    return SweepRow(1, "registry.example.com", "2026-11-24T12:00:00Z", "2026-11-24T12:01:00Z",
                    {**dict.fromkeys(names, 0), "images": 1, **counts})  # fmt: skip


def numbers(text: str) -> dict[str, float]:
    """Metrics by name and the label that is not the registry."""
    return {
        " ".join([sample.name.removeprefix("image_audit_"), *(v for k, v in sample.labels.items() if k != "registry")]):
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }  # fmt: skip


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.mark.registry
def test_three_sweeps_on_a_one_minute_cron_report_each_new_finding_once(
    sweeps: Sweeps, address: str, receiver: Receiver
) -> None:
    remote, notifier = Remote(address), Notifier([receiver.url])
    clock = Clock(end=START + datetime.timedelta(minutes=3))
    remote.push("team/app", "1", application(0, "app", token(1)))

    def sweep() -> SweepRow:
        sweeps(address)
        found = queries.last_sweep(sweeps.store)
        assert found is not None and notifier.notify(sweeps.store, found, POLICY) == []
        if len(clock.begun) == 2:
            remote.push("team/app", "2", application(0, "app2", token(2)))
        return found

    watch = clock.watch("* * * * *", sweep)
    with pytest.raises(Stopped):
        watch.run()
    assert clock.begun == ["12:01:00", "12:02:00", "12:03:00"]
    assert [item["message"].partition(";")[0] for item in receiver.messages] == ["1 secret at 1 place"] * 2
    assert [alert["image"] for item in receiver.messages for alert in item["alerts"]] == ["team/app:1", "team/app:2"]
    shown = numbers(watch.pages()["/metrics"]()[2].decode())
    assert shown["sweeps_total good"] == 3 and shown["sweeps_total failed"] == 0
    assert (shown["images"], shown["findings critical"], shown["new_findings_total"]) == (2, 2, 2)
    assert shown["layers_read_total"] == shown["layers"] == 4 and shown["read_bytes_total"] > 1000
    assert shown["last_good_sweep_age_seconds"] == 60 and shown["failures"] == shown["sweeping"] == 0


def test_due_times_during_a_long_sweep_are_skipped() -> None:
    clock = Clock(end=START + datetime.timedelta(minutes=6))

    def slow() -> SweepRow:
        clock.now += datetime.timedelta(seconds=140)
        return row()

    with pytest.raises(Stopped):
        clock.watch("* * * * *", slow).run(at_once=True)
    assert clock.begun == ["12:00:30", "12:03:00", "12:06:00"]


def test_a_clock_that_is_set_back_by_a_year_delays_no_sweep_by_a_year() -> None:
    clock, year = Clock(end=START - datetime.timedelta(days=364)), datetime.timedelta(days=365)
    watch, slept = clock.watch("0 * * * *", row), clock.sleep

    def sleep(seconds: float) -> None:
        if clock.now.year == START.year:
            clock.now -= year
        slept(seconds)

    watch.sleep = sleep
    with pytest.raises(Stopped):
        watch.run()
    assert clock.begun == [f"{hour % 24:02}:00:00" for hour in range(13, 37)]


def test_a_clock_that_is_set_back_by_seconds_skips_no_sweep() -> None:
    """At 13:05 the sweep of 13:00 is still to come, because of its jitter; the next one is that of 14:00."""
    clock = Clock(end=START + datetime.timedelta(minutes=90))
    watch, slept = clock.watch("0 * * * *", row), clock.sleep
    watch.schedule = replace(watch.schedule, jitter_s=600, draw=lambda _, most: most)

    def sleep(seconds: float) -> None:
        slept(seconds)
        if f"{clock.now:%H:%M:%S}" == "13:05:00":
            clock.now -= datetime.timedelta(seconds=1)

    watch.sleep = sleep
    with pytest.raises(Stopped):
        watch.run()
    assert clock.begun == ["13:10:00"]


def test_a_failed_sweep_shows_in_monitoring_and_the_schedule_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    clock, outcomes = Clock(end=START + datetime.timedelta(minutes=2)), iter([StoreError("the store is away"), None])

    def sweep() -> SweepRow:
        if error := next(outcomes):
            raise error
        return row(failed=3)

    watch = clock.watch("* * * * *", sweep)
    watch.sweep_once()
    status, _, body = watch.pages()["/healthz"]()
    assert status == 503 and json.loads(body)["reason"] == "the store is away"
    watch.sweep_once()
    status, _, body = watch.pages()["/healthz"]()
    assert status == 200 and json.loads(body) == {
        "status": "ok", "reason": None, "sweeping": False, "next": None, "last_good": "2026-11-24T12:00:30Z",
    }  # fmt: skip
    shown = numbers(watch.pages()["/metrics"]()[2].decode())
    assert (shown["sweeps_total failed"], shown["sweeps_total good"], shown["failures"]) == (1, 1, 3)
    assert "the store is away" in str([record.__dict__.get("fields") for record in caplog.records])


def test_a_watch_that_lost_its_lease_ends() -> None:
    def sweep() -> SweepRow:
        raise LeaseLost("registry.example.com is being watched by another process")

    clock = Clock()
    with pytest.raises(LeaseLost):
        clock.watch("* * * * *", sweep).run(at_once=True)
    assert clock.begun == ["12:00:30"]


def test_under_strict_a_sweep_with_failures_is_not_good() -> None:
    watch = Clock().watch("* * * * *", lambda: row(failed=3), strict=True)
    watch.load_previous(row(critical=2, failed=1))
    shown = numbers(watch.pages()["/metrics"]()[2].decode())
    assert shown["findings critical"] == 2 and str(shown["last_good_sweep_age_seconds"]) == "nan"
    watch.sweep_once()
    assert json.loads(watch.pages()["/healthz"]()[2])["reason"] == "3 references were not audited"


def test_under_strict_a_sweep_that_did_not_read_all_is_not_good() -> None:
    watch = Clock().watch("* * * * *", lambda: row(partial=2), strict=True)
    watch.sweep_once()
    assert json.loads(watch.pages()["/healthz"]()[2])["reason"] == "2 images were not read in full"
    assert numbers(watch.pages()["/metrics"]()[2].decode())["partial_images"] == 2


@pytest.mark.parametrize("failed", [0, 3])
def test_a_sweep_that_audited_nothing_is_not_good(failed: int) -> None:
    watch = Clock().watch("* * * * *", lambda: row(images=0, failed=failed))
    watch.sweep_once()
    status, _, body = watch.pages()["/healthz"]()
    assert status == 503 and "nothing was audited" in json.loads(body)["reason"]
    assert numbers(watch.pages()["/metrics"]()[2].decode())["sweeps_total failed"] == 1


def test_metrics_start_with_the_totals_of_an_earlier_run() -> None:
    watch = Clock(now=START.replace(minute=2)).watch("* * * * *", row)
    watch.load_previous(row(high=4, layers_read=9))
    shown = numbers(watch.pages()["/metrics"]()[2].decode())
    assert (shown["findings high"], shown["last_good_sweep_age_seconds"], shown["layers_read_total"]) == (4, 90, 0)


class Running:
    """`registry watch` in a process of its own; its logs are read as they come."""

    def __init__(self, cli: Cli, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "auditor", "registry", "watch", *arguments, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cli.environment, cwd=cli.folder, text=True,
        )  # fmt: skip
        self.lines: list[dict[str, Any]] = []
        self.raw = ""

    def until(self, event: str) -> dict[str, Any]:
        """Return the next line that tells of an event."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.raw += line
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(f"it ended without {event!r}: {self.raw}")

    def stop(self) -> tuple[int, str]:
        """Send SIGTERM; return the status and standard output."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=60)
        self.raw += err
        self.lines += [json.loads(line) for line in err.splitlines()]
        return self.process.returncode, out


@pytest.mark.registry
class TestCommand:
    def test_a_watch_sweeps_by_the_real_clock_until_sigterm(
        self, cli: Cli, address: str, receiver: Receiver, tmp_path: Path
    ) -> None:
        remote, secrets = Remote(address), [token(1), token(2)]
        remote.push("team/app", "1", application(0, "app", secrets[0]))
        store = f"sqlite:///{tmp_path}/s.sqlite"
        given = [address, "--cron", "*/2 * * * * *", "--store", store, "--notify", receiver.url]
        running = Running(cli, *given, "--report", str(tmp_path / "site"), "--format", "json")
        host = running.until("watching")["listen"]
        assert running.until("sweep ended")["new"] == 1
        remote.push("team/app", "2", application(0, "app2", secrets[1]))
        while running.until("sweep ended")["new"] != 1:
            pass
        assert running.until("sweep ended")["new"] == 0
        shown = numbers(urllib.request.urlopen(f"http://{host}/metrics").read().decode())
        assert shown["sweeps_total good"] >= 3 and shown["findings critical"] == 2
        assert shown["overdue_secrets no owner critical"] == 0
        assert json.load(urllib.request.urlopen(f"http://{host}/healthz"))["status"] == "ok"
        status, out = running.stop()
        assert status == 0 and running.lines[-1]["event"] == "stopped"
        assert len(receiver.messages) == 2 and '"schema": "image-audit-sweep/1"' in out
        assert (tmp_path / "site" / "index.html").exists()
        assert not [part for secret in secrets for part in (secret, secret[4:20]) if part in running.raw + out]

    def test_sigterm_stops_a_running_sweep_and_the_next_run_continues_it(
        self, cli: Cli, filled: tuple[str, Content], proxy_to: Callable[[str], Proxy], tmp_path: Path
    ) -> None:
        proxy = proxy_to(filled[0])
        proxy.delay_s = 0.05
        store = f"sqlite:///{tmp_path}/s.sqlite"
        running = Running(cli, proxy.address, "--cron", "0 0 1 1 *", "--now", "--store", store, "--parallel", "2")
        running.until("sweep begins")
        while sum(proxy.blobs[name] for name in filled[1].layers) < 8:
            time.sleep(0.01)
        assert running.stop()[0] == 0 and running.lines[-1]["event"] == "stopped"
        read = {name for name in filled[1].layers if proxy.blobs[name]}
        assert read != set(filled[1].layers)
        proxy.delay_s = 0
        done = cli("registry", "scan", proxy.address, "--store", store, "--format", "json", "--fail-on", "never")
        assert done.status == 0 and len(done.json["images"]) == 40 and done.json["failed"] == []
        again = [name for name in filled[1].layers if proxy.blobs[name] > 1]
        assert len(again) <= 2 * 2 + 2, "what was read is not read again, but for what was on its way"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--cron", "nonsense"], "--cron 'nonsense': Wrong number of fields"),
            (["--cron", "* * * * *", "--listen", "9464"], "--listen '9464': not an address"),
            (["--cron", "* * * * *", "--notify", "token-of-a-chat"], "--notify, URL 1"),
            ([], "Missing option '--cron'"),
        ],
    )
    def test_bad_usage_is_one_line(self, cli: Cli, arguments: list[str], said: str) -> None:
        done = cli("registry", "watch", "127.0.0.1:1", *arguments)
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
        assert said in done.err and "of-a-chat" not in done.err
