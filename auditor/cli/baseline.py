"""`image-audit baseline`: review of the accepted findings."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from auditor.cli.examples import examples
from auditor.core.clock import today
from auditor.core.dataclass import dataclass
from auditor.core.text import printable
from auditor.findings.baseline import Baseline, BaselineEntry, load_baseline

_ASK = "[k]eep  [d]rop  [r]eason  [e]xpiry  [b]ack  [q]uit"


@examples("image-audit baseline audit .image-audit-baseline.yaml")
@click.group()
def command() -> None:
    """Review the accepted findings."""


@examples(
    "image-audit scan app --write-baseline known.yaml    # accept all findings",
    "image-audit baseline audit known.yaml               # review them",
)
@command.command("audit")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
def audit_file(file: Path) -> None:
    """Review the entries of a baseline one by one: keep or drop each, set its reason and expiry date.

    Answer with a word or its first letter. Changes are written at once; quit at any time.
    `scan TARGET --write-baseline FILE` adds entries.
    """
    review = _Review(load_baseline(file))
    review.run()
    baseline = review.baseline
    without = sum(not entry.reason for entry in baseline.entries)
    click.echo(f"{len(baseline.entries)} left, {review.dropped} dropped, {without} without a reason")


@dataclass(slots=True)
class _Review:
    """Review of a baseline; `at` is the index of the entry shown."""

    baseline: Baseline
    at: int = 0
    dropped: int = 0

    def run(self) -> None:
        actions: dict[str, Callable[[BaselineEntry], None]] = {
            "k": lambda _: self._go(1),
            "d": self._drop,
            "r": self._reason,
            "e": self._expiry,
            "b": lambda _: self._go(-1),
        }
        while self.at < len(self.baseline.entries):
            entry = self.baseline.entries[self.at]
            self._show(entry)
            answer = _answer(_ASK)
            if answer is None or answer[:1].lower() == "q":
                return
            action = actions.get(answer[:1].lower())
            if action is None:
                click.echo(f"{answer!r} is not one of the answers.")
            else:
                action(entry)

    def _show(self, entry: BaselineEntry) -> None:
        expired = " (expired)" if entry.has_expired(today()) else ""
        click.echo(f"\n{self.at + 1} of {len(self.baseline.entries)}  {printable(entry.rule)}, {entry.state}")
        for name, text in (
            ("place", entry.place),
            ("images", ", ".join(entry.images)),
            ("added", str(entry.added or "")),
            ("reason", entry.reason),
            ("expires", f"{entry.expires or ''}{expired}"),
        ):
            click.echo(f"  {name:<8} {printable(text) or '-'}")

    def _go(self, steps: int) -> None:
        self.at = max(self.at + steps, 0)

    def _drop(self, entry: BaselineEntry) -> None:
        self._save(tuple(other for other in self.baseline.entries if other is not entry))
        self.dropped += 1

    def _reason(self, entry: BaselineEntry) -> None:
        answer = _answer("Reason")
        if answer is not None:
            self._put(entry, replace(entry, reason=answer))

    def _expiry(self, entry: BaselineEntry) -> None:
        answer = _answer("Expiry: a date such as 2026-12-31, a number of days, or empty for none")
        if answer is None:
            return
        try:
            self._put(entry, replace(entry, expires=_day(answer)))
        except (ValueError, OverflowError):
            click.echo(f"{answer!r} is neither a date such as 2026-12-31 nor a number of days.")

    def _put(self, old: BaselineEntry, new: BaselineEntry) -> None:
        self._save(tuple(new if entry is old else entry for entry in self.baseline.entries))

    def _save(self, entries: tuple[BaselineEntry, ...]) -> None:
        self.baseline = replace(self.baseline, entries=entries)
        self.baseline.save()


def _day(answer: str) -> datetime.date | None:
    if not answer:
        return None
    if answer.isdecimal():
        return today() + datetime.timedelta(days=int(answer))
    return datetime.date.fromisoformat(answer)


def _answer(prompt: str) -> str | None:
    """Prompt, and read a line from the terminal or a pipe; None at the end of the input."""
    click.echo(f"{prompt}: ", nl=False)
    line = sys.stdin.readline()
    if not line:
        click.echo()
    return line.strip() if line else None
