"""`dataclass` of the standard library, with `frozen` checked by the type checker alone.

A scan imports a hundred dataclasses. The check at run time takes half of the time in which a class is defined, 0.04 s
in all, and doubles the time in which an object is made. Objects compare and hash as frozen ones do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    _Class = TypeVar("_Class", bound=type)

    def dataclass(
        cls: _Class | None = None, /, *, frozen: bool = False, **options: Any
    ) -> _Class | Callable[[_Class], _Class]:
        """Make a dataclass; the options are those of the standard library."""
        return dataclasses.dataclass(cls, unsafe_hash=frozen, **options)
