"""Jinja2 templates of users, rendered in a process with limits: a loop in a template can't be stopped from outside.

`python -m auditor.report.template_process` reads a request as JSON from standard input, and prints the text, or with
exit status 1 the error.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from auditor.core.errors import UsageError
from auditor.core.process import disable_core_dumps
from auditor.core.text import plural, printable, size

_SECONDS, _MEMORY, _MAX_FILES = 10, 2 << 30, 32
_PACKAGE = Path(__file__).parents[2]


def environment(*, escape: bool) -> jinja2.Environment:
    """Return the sandbox; with `escape`, values are escaped for HTML and XML."""
    sandbox = ImmutableSandboxedEnvironment(
        autoescape=escape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    sandbox.filters.update(size=size, plural=plural)
    return sandbox


def render_isolated(name: str, text: str, values: Mapping[str, Any], *, escape: bool) -> str:
    """Render a template with JSON values within ten seconds and 2 GiB of memory.

    `name` stands before the message of a UsageError.
    """
    request = json.dumps({"text": text, "values": values, "escape": escape}).encode()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "auditor.report.template_process"],
            input=request,
            capture_output=True,
            timeout=2 * _SECONDS,  # of processor time the process limits its own
            check=False,
            env={"PYTHONPATH": str(_PACKAGE), "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"},
        )
    except subprocess.TimeoutExpired:
        done = None
    if done is None or done.returncode < 0:
        raise UsageError(f"{name}: takes more than {_SECONDS} seconds, or more than 2 GiB of memory")
    if done.returncode:
        error = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise UsageError(f"{name}{printable(error)}")
    return done.stdout.decode()


def main() -> None:
    """Answer the request of standard input."""
    request = json.load(sys.stdin)
    disable_core_dumps()
    for limit, most in (
        (resource.RLIMIT_CPU, _SECONDS),
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _MAX_FILES),
    ):
        resource.setrlimit(limit, (most, most))
    try:
        sys.stdout.write(environment(escape=request["escape"]).from_string(request["text"]).render(request["values"]))
    except jinja2.TemplateSyntaxError as exc:
        sys.exit(f":{exc.lineno}: {' '.join((exc.message or '').split())}")
    except MemoryError:
        sys.exit(": takes more than 2 GiB of memory")
    except Exception as exc:  # an expression can raise what it wants
        sys.exit(f": {' '.join(str(exc).split())}")


if __name__ == "__main__":
    main()
