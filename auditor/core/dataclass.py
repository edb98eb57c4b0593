"""`dataclass` of the standard library, whose classes take a third of the time to define: a scan imports a hundred.

The standard library writes and compiles source text for every method. Here only `__init__` is made so; comparison,
hash and text are functions over the names of the fields, and `frozen` is checked by the type checker alone, because its
check at run time also doubles the time in which an object is made. Objects compare and hash as frozen ones do.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import reprlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    _Class = TypeVar("_Class", bound=type)

    def dataclass(
        cls: _Class | None = None,
        /,
        *,
        frozen: bool = False,
        eq: bool = True,
        order: bool = False,
        repr: bool = True,  # noqa: A002 - a name of the standard library
        **options: Any,
    ) -> _Class | Callable[[_Class], _Class]:
        """Make a dataclass; the options are those of the standard library."""
        if cls is None:
            return functools.partial(dataclass, frozen=frozen, eq=eq, order=order, repr=repr, **options)
        defined = frozenset(vars(cls))
        made = dataclasses.dataclass(cls, eq=order, order=order, repr=False, **options)
        methods: dict[str, Any] = {"__repr__": _text} if repr else {}
        if eq:
            methods |= _comparison(made, frozen=frozen)
        for name in methods.keys() - defined:
            setattr(made, name, methods[name])
        return made

    def _comparison(cls: type, *, frozen: bool) -> dict[str, Any]:
        names = [field.name for field in dataclasses.fields(cls) if field.compare]
        values = operator.attrgetter(*names) if names else type

        def equal(one: object, other: object) -> bool:
            return values(one) == values(other) if other.__class__ is one.__class__ else NotImplemented

        def hashed(one: object) -> int:
            return hash(values(one))

        return {"__eq__": equal, "__hash__": hashed if frozen else None}

    @reprlib.recursive_repr()
    def _text(one: object) -> str:
        shown = (field.name for field in dataclasses.fields(one) if field.repr)
        return f"{type(one).__qualname__}({', '.join(f'{name}={getattr(one, name)!r}' for name in shown)})"
