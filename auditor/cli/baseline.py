"""`image-audit baseline`: the accepted findings, gone through one by one."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli.examples import examples
from auditor.config import resolve

if TYPE_CHECKING:
    from auditor.findings.baseline import Baseline, Entry

_ASK = "[k]eep  [d]rop  [r]eason  [e]xpiry  [b]ack  [q]uit"


@examples("image-audit baseline audit .image-audit-baseline.yaml")
@click.group()
def command() -> None:
    """Go through the findings that are known and accepted."""


@examples(
    "image-audit scan app --write-baseline known.yaml    # write what is found",
    "image-audit baseline audit known.yaml               # say why each stays",
)
@command.command("audit")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
def audit_file(file: Path) -> None:
    """Show the entries of a baseline one by one: keep it, drop it, say why it stays or until when.

    Each answer is a line: the first letter of a word, or the word. What is changed is written at once; quit at any
    time. `scan TARGET --write-baseline FILE` adds entries.
    """
    from auditor.findings.baseline import load_baseline

    walk = _Walk(load_baseline(file))
    walk.run()
    baseline = walk.baseline
    without = sum(not entry.reason for entry in baseline.entries)
    click.echo(f"{len(baseline.entries)} left, {walk.dropped} dropped, {without} without a reason")


@dataclass(slots=True)
class _Walk:
    """A walk through a baseline; `at` is the number of the entry shown."""

    baseline: Baseline
    at: int = 0
    dropped: int = 0

    def run(self) -> None:
        acts: dict[str, Callable[[Entry], None]] = {
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
            act = acts.get(answer[:1].lower())
            if act is None:
                click.echo(f"{answer!r} is none of these.")
            else:
                act(entry)

    def _show(self, entry: Entry) -> None:
        from auditor.core.text import printable

        over = " (expired)" if entry.has_expired(resolve.today()) else ""
        click.echo(f"\n{self.at + 1} of {len(self.baseline.entries)}  {printable(entry.rule)}, {entry.state}")
        for name, text in (
            ("place", entry.place),
            ("images", ", ".join(entry.images)),
            ("added", str(entry.added or "")),
            ("reason", entry.reason),
            ("expires", f"{entry.expires or ''}{over}"),
        ):
            click.echo(f"  {name:<8} {printable(text) or '-'}")

    def _go(self, steps: int) -> None:
        self.at = max(self.at + steps, 0)

    def _drop(self, entry: Entry) -> None:
        self._save(tuple(other for other in self.baseline.entries if other is not entry))
        self.dropped += 1

    def _reason(self, entry: Entry) -> None:
        answer = _answer("Why it stays")
        if answer is not None:
            self._put(entry, replace(entry, reason=answer))

    def _expiry(self, entry: Entry) -> None:
        answer = _answer("Until when: 2026-12-31, a number of days, or nothing for ever")
        if answer is None:
            return
        try:
            self._put(entry, replace(entry, expires=_day(answer)))
        except (ValueError, OverflowError):
            click.echo(f"{answer!r} is no date and no number of days.")

    def _put(self, old: Entry, new: Entry) -> None:
        self._save(tuple(new if entry is old else entry for entry in self.baseline.entries))

    def _save(self, entries: tuple[Entry, ...]) -> None:
        self.baseline = replace(self.baseline, entries=entries)
        self.baseline.save()


def _day(answer: str) -> datetime.date | None:
    if not answer:
        return None
    if answer.isdecimal():
        return resolve.today() + datetime.timedelta(days=int(answer))
    return datetime.date.fromisoformat(answer)


def _answer(prompt: str) -> str | None:
    """Ask on the terminal, or read the next line of a pipe; None at the end of the input."""
    click.echo(f"{prompt}: ", nl=False)
    line = sys.stdin.readline()
    if not line:
        click.echo()
    return line.strip() if line else None
