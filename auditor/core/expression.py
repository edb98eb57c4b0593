"""A regular expression that is compiled when it is first used: a run imports more of them than it needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


class Expression:
    """The methods of `re.Pattern` that are in use.

    No lock is held while one compiles: a process may be forked meanwhile.
    """

    search: Callable[..., re.Match[str] | None]
    match: Callable[..., re.Match[str] | None]
    fullmatch: Callable[..., re.Match[str] | None]
    split: Callable[[str], list[str]]
    sub: Callable[[str, str], str]

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __getattr__(self, name: str) -> Any:
        if name not in Expression.__annotations__:
            raise AttributeError(name)
        method = getattr(re.compile(self.pattern), name)
        setattr(self, name, method)
        return method
