"""Compiled rules in the cache folder.

An index holds, for each pattern database of a ruleset, the digest of its expressions, and the rule number and reach of
each: to compute a reach takes milliseconds. The databases are files named by these digests, so rulesets share equal
ones: a user's own rule does not make the built-in rules compile again.
"""

from __future__ import annotations

import hashlib
import platform
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from auditor.core import cache_keys
from auditor.core.cache_folder import RULES_LOCK, read_cache_file, read_or_make, write_cache_file
from auditor.core.forked import may_fork, results_of_forks
from auditor.core.process import trim_heap
from auditor.detect.engines import MatchingEngine, PatternDatabase
from auditor.detect.hits import Expression

_HEAD = struct.Struct("<I16s")
"""Of a database in an index: number of expressions, their digest. Rule number, `back` and `ahead` of each follow."""
_COLUMNS = 3
T = TypeVar("T")

_Numbers: TypeAlias = "array[int]"
"""Rule number, `back` and `ahead` of each expression, 16 bits each."""


class CompiledRules(NamedTuple):
    """The pattern database of each list of expressions, and the reach of rules, by number: `back` and `ahead`."""

    databases: list[PatternDatabase]
    reaches: dict[int, tuple[int, int]]


class _Compiled(NamedTuple):
    """A pattern database: digest and numbers of its expressions, dump; that is empty until it is compiled."""

    digest: bytes
    numbers: _Numbers
    dump: bytes


def compiled_rules(
    engine: MatchingEngine,
    ruleset: str,
    expressions: Callable[[], Sequence[Sequence[Expression]]],
    cache: Path | None,
    jobs: int = 1,
) -> CompiledRules:
    """Return the pattern database of each list of expressions, from the folder `cache` where it has them.

    `ruleset` is the digest of the ruleset. `expressions` is called where the folder has no index of it. Up to `jobs`
    processes compile, where this one can be forked. Raises ValueError where the engine refuses an expression.
    """
    made_by = f"{engine.name} {cache_keys.RULES.key} {platform.machine()} {_cpu_flags()}".encode()
    index = cache / f"rules-{hashlib.sha256(made_by + ruleset.encode()).hexdigest()[:32]}.index" if cache else None

    def make() -> CompiledRules:
        parts = _parts(engine, _in_thread(expressions), made_by, cache, jobs)
        trim_heap()
        if index:
            write_cache_file(index, b"".join(_index_entry(part) for part in parts))
        return _loaded(engine, [(part.numbers, part.dump) for part in parts])

    return read_or_make(lambda: _load(engine, index), make, cache / RULES_LOCK if cache else None)


def _in_thread(function: Callable[[], T]) -> T:
    """Call a function in a thread: its own heap is returned whole, which saves 30 MB during the scan."""
    with ThreadPoolExecutor(1, "compile") as pool:
        return pool.submit(function).result()


def _parts(
    engine: MatchingEngine, lists: Sequence[Sequence[Expression]], made_by: bytes, cache: Path | None, jobs: int
) -> list[_Compiled]:
    """Compile each list of expressions, unless an earlier run compiled an equal one."""
    parts = [_kept(engine, expressions, made_by, cache) for expressions in lists]
    missing = [number for number, part in enumerate(parts) if not part.dump]
    missing.sort(key=lambda number: sum(len(one.pattern) for one in lists[number]), reverse=True)  # the slowest first
    dumps = _results([partial(_dump, engine, lists[number]) for number in missing], jobs)
    for number, dump in zip(missing, dumps, strict=True):
        parts[number] = parts[number]._replace(dump=dump)
        if cache:
            write_cache_file(_database_file(engine, parts[number].digest, cache), dump)
    return parts


def _results(functions: Sequence[Callable[[], bytes]], jobs: int) -> list[bytes]:
    if functions and may_fork():
        with suppress(OSError):  # too few processes, or one was killed
            return results_of_forks(functions, jobs)
    return _in_thread(lambda: [function() for function in functions])


def _dump(engine: MatchingEngine, expressions: Sequence[Expression]) -> bytes:
    return engine.compile(expressions).dump()


def _loaded(engine: MatchingEngine, parts: Iterable[tuple[_Numbers, bytes]]) -> CompiledRules:
    """Load databases. Raises ValueError where one belongs to another engine."""
    databases, reaches = list[PatternDatabase](), dict[int, tuple[int, int]]()
    for numbers, dump in parts:
        rules, backs, aheads = (numbers[column::_COLUMNS] for column in range(_COLUMNS))
        databases.append(engine.load(dump, rules))
        reaches.update((rule, (back, ahead)) for rule, back, ahead in zip(rules, backs, aheads, strict=True) if back)
    return CompiledRules(databases, reaches)


def _kept(engine: MatchingEngine, expressions: Sequence[Expression], made_by: bytes, cache: Path | None) -> _Compiled:
    """Return what an earlier run compiled of equal expressions; without a dump where there is none."""
    numbers = array("H", [number for one in expressions for number in (one.rule, one.back, one.ahead)])
    state = hashlib.sha256(made_by)
    for one in expressions:
        state.update(b"%d %d " % (one.flags, len(one.pattern)) + one.pattern)
    digest = state.digest()[:16]
    dump = read_cache_file(_database_file(engine, digest, cache)) if cache else None
    is_usable = dump is not None and _can_load(engine, dump, numbers[::_COLUMNS])
    return _Compiled(digest, numbers, dump if dump and is_usable else b"")


def _load(engine: MatchingEngine, index: Path | None) -> CompiledRules | None:
    """Load the databases that an index names; None where one is missing or can't be loaded."""
    data = read_cache_file(index) if index else None
    if data is None or index is None:
        return None
    parts = []
    for digest, numbers in _index_entries(data):
        dump = read_cache_file(_database_file(engine, digest, index.parent))
        if dump is None:
            return None
        parts.append((numbers, dump))
    try:
        return _loaded(engine, parts)
    except ValueError:
        return None


def _can_load(engine: MatchingEngine, dump: bytes, rules: Sequence[int]) -> bool:
    try:
        engine.load(dump, rules)
    except ValueError:  # another version or CPU, which the cache key did not tell apart
        return False
    return True


def _database_file(engine: MatchingEngine, digest: bytes, folder: Path) -> Path:
    return folder / f"rules-{digest.hex()}.{engine.name}"


def _index_entry(part: _Compiled) -> bytes:
    return _HEAD.pack(len(part.numbers) // _COLUMNS, part.digest) + part.numbers.tobytes()


def _index_entries(data: bytes) -> Iterator[tuple[bytes, _Numbers]]:
    at = 0
    while at < len(data):
        count, digest = _HEAD.unpack_from(data, at)
        start, at = at + _HEAD.size, at + _HEAD.size + 2 * _COLUMNS * count
        yield digest, array("H", data[start:at])


def _cpu_flags() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
