"""The progress bar names an engine's export, and each target's total is that of the bytes to read."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress as RichProgress

from auditor.api.audit import run
from auditor.cli import progress_bar
from auditor.cli.progress import progress
from auditor.cli.progress_bar import export_percent
from auditor.core.options import AuditOptions
from auditor.core.progress import COMPILING, Progress, Silent
from tests.images import image, layer, token


def shown(display: RichProgress) -> str:
    """The bar as a terminal shows it."""
    console = Console(width=200)
    with console.capture() as captured:
        console.print(display.get_renderable())
    return captured.get()


def test_the_estimate_of_an_export_grows_with_time_and_never_ends() -> None:
    percents = [export_percent(2_400_000_000, second) for second in (0, 1, 5, 20, 60, 1e9)]
    assert percents == sorted(percents) and percents[0] == 0 and 5 < percents[1] < 20 and percents[4] <= 100
    assert export_percent(0, 1) <= 100


def test_an_export_is_shown_until_the_first_byte_arrives() -> None:
    display = RichProgress(progress_bar._State(), auto_refresh=False)
    bar = progress_bar._Bar(display, verbose=False)
    assert "reading" in shown(display)
    bar.exporting(1000)
    assert "Docker is exporting the image… about" in shown(display) and "%" in shown(display)
    bar.advance(250)
    assert "reading  25 %" in shown(display)


def test_the_first_use_of_the_rules_is_announced_before_a_byte_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar.progress_bar(verbose=False) as bar:
        bar.compiling()
    assert capsys.readouterr().err.startswith(f"{COMPILING}\n")


def test_each_of_several_targets_has_a_total_of_its_own() -> None:
    display = RichProgress(progress_bar._State(), auto_refresh=False)
    bar = progress_bar._Bar(display, verbose=False)
    for number, (size, read, percent) in enumerate(((100, 100, "100"), (1000, 250, " 25")), 1):
        bar.begin(number, 2)
        bar.expect(size)
        bar.advance(read)
        assert f"{number} of 2: reading {percent} %" in shown(display)
    assert len(display.tasks) == 1


class Counts(Silent):
    """Counts bytes for each target, and keeps the steps."""

    def __init__(self) -> None:
        self.expected, self.read, self.steps = list[int](), list[int](), list[str]()

    def begin(self, number: int, count: int) -> None:
        self.expected.append(0)
        self.read.append(0)

    def expect(self, count: int) -> None:
        self.expected[-1] += count

    def advance(self, count: int) -> None:
        self.read[-1] += count

    def say(self, message: str) -> None:
        self.steps.append(message)


def test_the_total_is_that_of_the_layers_that_are_read(tmp_path: Path, cache: Path) -> None:
    shared = layer({"shared": token(701)})
    first = str(image(shared, layer({"a": token(702)})).docker_archive(tmp_path / "a.tar"))
    second = str(image(shared, layer({"b": token(703) * 500})).docker_archive(tmp_path / "b.tar"))
    counts, again = Counts(), Counts()
    run([first, second], AuditOptions(cache_dir=cache), counts)
    assert counts.read == counts.expected and min(counts.read) > 0
    assert f"{first}: 2 layers, 2 to read" in counts.steps and f"{second}: 2 layers, 1 to read" in counts.steps
    assert f"reading {second}: layer 1" in counts.steps and f"2 of 2: {second}" in counts.steps
    run([first, second], AuditOptions(cache_dir=cache), again)
    assert f"{first}: 2 layers, 0 to read" in again.steps
    hashed = [Path(first).stat().st_size, Path(second).stat().st_size]
    assert again.read == again.expected, "new files are hashed again, as their times can't be trusted yet"
    assert all(count < size for count, size in zip(again.read, hashed, strict=True)), "and once"


def test_the_bar_is_opened_for_bytes_to_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = list[bool]()
    real = progress_bar.progress_bar

    def noted(*, verbose: bool) -> AbstractContextManager[Progress]:
        opened.append(verbose)
        return real(verbose=verbose)

    monkeypatch.setattr(progress_bar, "progress_bar", noted)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress(quiet=False, verbose=False) as display:
        display.begin(1, 1)
        display.expect(0)
        display.say("app.tar: 1 layer, 0 to read")
        assert not opened
        display.expect(10)
        display.advance(10)
    assert opened == [False]
