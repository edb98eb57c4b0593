"""`python -m tests.security.recorder FILE ARGUMENT...`: run a command; write the imports of other threads to FILE.

Modules of the standard library are left out: they have no import cycles.
"""

from __future__ import annotations

import atexit
import json
import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType


class Recorder(MetaPathFinder):
    """Finds no module; notes which thread asked first for each."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        thread = threading.current_thread()
        if thread is not threading.main_thread() and fullname.partition(".")[0] not in sys.stdlib_module_names:
            self.found.append((fullname, thread.name))
        return None


def record(file: Path) -> None:
    """Record from now on to the end of the process."""
    recorder = Recorder()
    sys.meta_path.insert(0, recorder)
    atexit.register(lambda: file.write_text(json.dumps(recorder.found)))


if __name__ == "__main__":
    record(Path(sys.argv[1]))
    from auditor.cli import main

    main(sys.argv[2:])
