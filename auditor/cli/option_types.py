"""Types of option values: words of a fixed set, numbers, sizes, dates, ages, limits, states."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Any

import click

from auditor.core.finding import State
from auditor.core.limits import BY_NAME
from auditor.core.text import nearest

_AGE = re.compile(r"([1-9]\d{0,4})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_SIZE = re.compile(r"(\d{1,12})([KMGT]?)(?:i?B)?", re.IGNORECASE)


class Integer(click.IntRange):
    """A whole number from a lowest to a highest one, which are part of it."""

    name = "integer"  # that of click is "integer range", also in errors


class Word(click.Choice[str]):
    """A word of a fixed set, in lower or upper case."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(words, case_sensitive=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word; fail on another one, and name the nearest."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as exc:
            self.fail(exc.message.rstrip(".") + nearest(str(value), self.choices), param, ctx)


class States(click.ParamType):  # type: ignore[type-arg]
    """States joined by commas, such as `deleted,overwritten`."""

    name = "states"
    choices = tuple(state.value for state in State)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the states; fail on an unknown one."""
        if isinstance(value, tuple):
            return value
        words = tuple(word.strip().lower() for word in str(value).split(","))
        for word in words:
            if word not in self.choices:
                known = ", ".join(self.choices)
                self.fail(f"{word!r} is not one of {known}{nearest(word, self.choices)}", param, ctx)
        return words


class LimitValue(click.ParamType):  # type: ignore[type-arg]
    """Name and value of a limit, such as `json-bytes=64MiB`."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return name and value; fail on an unknown name or a malformed value."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if name not in BY_NAME:
            hint = nearest(name, BY_NAME) or "."
            self.fail(f"unknown limit {name!r:.60}{hint} `image-audit config limits` lists all", param, ctx)
        try:
            return name, BY_NAME[name].parse(text if equals else "")
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


class Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes, such as `500M` or `2G`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes; fail on a malformed value."""
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(str(value).strip())
        if not found:
            self.fail(f"{value!r} is not a size such as 500M or 2G", param, ctx)
        return int(found[1]) << (10 * " KMGT".index(found[2].upper() or " "))


class Date(click.ParamType):  # type: ignore[type-arg]
    """A date, such as `2027-03-31`."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime.date:
        """Return the date; fail on a malformed value."""
        if isinstance(value, datetime.date):
            return value
        try:
            return datetime.date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a date such as 2027-03-31", param, ctx)


class Age(click.ParamType):  # type: ignore[type-arg]
    """A number of hours, days or weeks, such as `90d` or `12w`."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime.timedelta:
        """Return the age; fail on a malformed value."""
        if isinstance(value, datetime.timedelta):
            return value
        found = _AGE.fullmatch(str(value).strip().lower())
        if not found:
            self.fail(f"{value!r} is not an age in hours, days or weeks such as 48h, 90d or 12w", param, ctx)
        return datetime.timedelta(hours=int(found[1]) * _HOURS[found[2]])
