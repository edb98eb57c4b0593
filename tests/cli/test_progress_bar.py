"""The progress bar names an engine's export and shows a percentage before the first byte."""

from __future__ import annotations

import pytest
from rich.console import Console
from rich.progress import Progress as RichProgress

from auditor.cli import progress_bar
from auditor.cli.progress_bar import export_percent
from auditor.core.progress import COMPILING


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
