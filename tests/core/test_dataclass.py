"""Dataclasses of this program behave as those of the standard library; expressions as compiled ones."""

from __future__ import annotations

import dataclasses
from dataclasses import field

import pytest

from auditor.core.dataclass import dataclass
from auditor.core.expression import Expression


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: str = "y"
    note: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True, order=True)
class Ordered:
    x: int


@dataclass(frozen=True)
class Empty:
    pass


@dataclass(slots=True)
class Mutable:
    items: list[int]


@dataclass(slots=True, eq=False)
class Node:
    x: int


def test_objects_compare_hash_and_print_as_those_of_the_standard_library() -> None:
    assert Point(1) == Point(1, note="n") != Point(2) and hash(Point(1)) == hash(Point(1, note="n"))
    assert repr(Point(1, note="n")) == "Point(x=1, y='y')" and Point(1).__eq__(Ordered(1)) is NotImplemented
    assert Ordered(1) < Ordered(2) and {Ordered(1): 1}[Ordered(1)] == 1
    assert Empty() == Empty() and hash(Empty()) == hash(Empty()) and repr(Empty()) == "Empty()"
    assert Mutable([1]) == Mutable([1]) and Node(1) != Node(1) and len({Node(1), Node(1)}) == 2
    assert dataclasses.replace(Point(1), x=2) == Point(2) and dataclasses.asdict(Ordered(1)) == {"x": 1}
    with pytest.raises(TypeError, match="unhashable"):
        hash(Mutable([]))


def test_an_object_that_holds_itself_has_a_text() -> None:
    one = Mutable([])
    one.items.append(one)  # type: ignore[arg-type]
    assert repr(one) == "Mutable(items=[...])"


def test_an_expression_matches_as_a_compiled_one() -> None:
    expression = Expression(r"(?i)a+")
    assert expression.search("baa") and not expression.match("baa") and expression.fullmatch("AA")
    assert expression.split("1a2") == ["1", "2"] and expression.sub("-", "1a2") == "1-2"
    with pytest.raises(AttributeError):
        _ = expression.scanner
