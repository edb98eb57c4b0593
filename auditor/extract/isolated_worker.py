"""The process behind isolated_reader.py: reads files under limits of its own, and writes no file."""

from __future__ import annotations

import json
import resource
import sys
from typing import IO, Any

from auditor.core.limits import Limits, limit_note
from auditor.core.process import disable_core_dumps
from auditor.extract.budget import Budget, BudgetExceeded, ExtractContext, is_transient
from auditor.extract.formats import FORMATS
from auditor.extract.isolated_reader import LENGTHS, send

_MAX_FILES = 32


def main() -> None:
    """Answer one request after another until standard input ends."""
    limit(int(sys.argv[1]))
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while len(lengths := stdin.read(LENGTHS.size)) == LENGTHS.size:
        text, size = LENGTHS.unpack(lengths)
        request = json.loads(stdin.read(text))
        _answer(request, stdin.read(size), stdout)
        send(stdout, {"end": True})


def limit(memory: int) -> None:
    """Limit the address space, in bytes, and the number of open files; forbid core dumps and writing to files."""
    for resource_id, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _MAX_FILES),
    ):
        resource.setrlimit(resource_id, (most, most))
    disable_core_dumps()


def _answer(request: dict[str, Any], data: bytes, out: IO[bytes]) -> None:
    """Send the members of a file, and the reasons for those that were skipped."""

    def skip(path: str, reason: str, transient: bool) -> None:
        send(out, {"skipped": path or None, "reason": reason, "transient": transient})

    name: str = request["format"]
    budget = Budget(Limits(**request["limits"]), "", len(data), skip, request["time_s"])
    context = ExtractContext(budget, request["name"], None)
    try:
        read = FORMATS[name].read_buffer
        assert read is not None  # noqa: S101 - isolated formats are buffered
        for member in read(data, context):
            body = member.body
            assert isinstance(body, bytes)  # noqa: S101 - members of buffered formats are in memory
            message = {"member": member.name, "size": len(body), "search_text": member.search_text is not None}
            send(out, message, body + (member.search_text or b""))
    except BudgetExceeded as exc:
        send(out, {"exceeded": str(exc), "transient": exc.transient})
    except MemoryError:  # the memory that is left depends on the files read before
        reason = f"can't be read as {name}: it takes too much memory {limit_note('reader-memory')}"
        context.skip(None, reason, transient=True)
    except Exception as exc:  # each library has its own error classes, and damaged files raise all of them
        reason = f"can't be read as {name}: {type(exc).__name__}: {exc}"
        context.skip(None, reason, transient=is_transient(exc))


if __name__ == "__main__":
    main()
