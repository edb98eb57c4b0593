"""The process behind isolated.py: it opens what it is given, under limits of its own, and writes no file."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any

from auditor.core.limits import Limits, named
from auditor.core.process import disable_core_dumps
from auditor.extract import sevenzip, sqlite_cells
from auditor.extract.budget import Budget, BudgetExceeded, ExtractContext, is_transient
from auditor.extract.isolated_reader import LENGTHS, send
from auditor.extract.member_stream import Member

_MAX_FILES = 32
_READERS: dict[str, Callable[[bytes, ExtractContext, str], Iterator[Member]]] = {
    "7z": sevenzip.archive,
    "sqlite": sqlite_cells.database,
    "rpmdb": sqlite_cells.packages,
}


def main() -> None:
    """Open files until there are no more."""
    import json

    limit(int(sys.argv[1]))
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while len(lengths := stdin.read(LENGTHS.size)) == LENGTHS.size:
        text, size = LENGTHS.unpack(lengths)
        asked = json.loads(stdin.read(text))
        _open(asked, stdin.read(size), stdout)
        send(stdout, {"end": True})


def limit(memory: int) -> None:
    """Bound the address space, to so many bytes, and open files; allow neither core dumps nor writing to files."""
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _MAX_FILES),
    ):
        resource.setrlimit(what, (most, most))
    disable_core_dumps()


def _open(asked: dict[str, Any], data: bytes, out: IO[bytes]) -> None:
    def skip(where: str, reason: str, transient: bool) -> None:
        send(out, {"skipped": where or None, "reason": reason, "transient": transient})

    context = ExtractContext(
        Budget(Limits(**asked["limits"]), "", len(data), skip, asked["time_s"]), asked["name"], None
    )
    try:
        for part in _READERS[asked["kind"]](data, context, asked["kind"]):
            body = part.body
            assert isinstance(body, bytes)  # noqa: S101 - these readers have their members in memory
            said = {"part": part.name, "size": len(body), "shown": part.shown is not None}
            send(out, said, body + (part.shown or b""))
    except BudgetExceeded as exc:
        send(out, {"exhausted": str(exc), "transient": exc.transient})
    except MemoryError:  # how much is left depends on the files that this process opened before
        reason = f"can't be read as {asked['kind']}: it takes too much memory {named('reader-memory')}"
        context.skip(None, reason, transient=True)
    except Exception as exc:  # each library has errors of its own, and hostile bytes reach all of them
        reason = f"can't be read as {asked['kind']}: {type(exc).__name__}: {exc}"
        context.skip(None, reason, transient=is_transient(exc))


if __name__ == "__main__":
    main()
