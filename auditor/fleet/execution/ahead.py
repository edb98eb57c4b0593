"""Work in a thread pool, a bounded number of items ahead of the consumer of the results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import chain, islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(pool: Executor, work: Callable[[T], R], items: Iterable[T], count: int) -> Iterator[R]:
    """Map in order, working at most `count` items ahead of the consumer."""
    return chain.from_iterable(ahead_together(pool, work, items, count, 1))


def ahead_together(
    pool: Executor, work: Callable[[T], R], items: Iterable[T], count: int, most: int
) -> Iterator[list[R]]:
    """Map as `ahead` does; yield up to `most` results together if they are there."""
    left, waiting = iter(items), deque[Future[R]]()

    def submit() -> None:
        waiting.extend(pool.submit(work, item) for item in islice(left, count - len(waiting)))

    submit()
    while waiting:
        found = [waiting.popleft().result()]
        while len(found) < most and waiting and waiting[0].done() and not waiting[0].exception():
            found.append(waiting.popleft().result())
        submit()
        yield found
