"""Plugin of the docker command line: `docker imageaudit scan app` runs `image-audit scan app`.

Source of the protocol: docker/cli, cli-plugins/manager. docker accepts names of lower-case letters and digits only, so
the name has no hyphen. docker asks for `docker-cli-plugin-metadata`, and passes its own options before the name.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

from auditor.core.errors import UsageError
from auditor.core.output_file import open_output
from auditor.core.version import PROGRAM, __version__

COMMAND = "imageaudit"
"""Name of the plugin as a docker command."""
NAME = f"docker-{COMMAND}"
"""File name of the plugin."""
_MARK = "# The docker plugin of image-audit."
_MODE = 0o755
_SCRIPT = """\
#!/bin/sh
{mark} `image-audit completion --docker-plugin` writes it.
if [ "$1" = docker-cli-plugin-metadata ]; then
    printf '%s\\n' {metadata}
    exit
fi
while [ $# -gt 0 ] && [ "$1" != {command} ]; do
    case "$1" in
    -c | --context) export DOCKER_CONTEXT="$2"; unset DOCKER_HOST; shift ;;
    --context=*) export DOCKER_CONTEXT="${{1#*=}}"; unset DOCKER_HOST ;;
    -H | --host) export DOCKER_HOST="$2"; shift ;;
    --host=*) export DOCKER_HOST="${{1#*=}}" ;;
    --config) export DOCKER_CONFIG="$2"; shift ;;
    --config=*) export DOCKER_CONFIG="${{1#*=}}" ;;
    help)
        shift 2
        set -- {command} "$@" --help
        break
        ;;
    *)
        echo "{program}: docker's option $1 is not supported; use environment variables such as DOCKER_HOST" >&2
        exit 2
        ;;
    esac
    shift
done
[ $# -eq 0 ] || shift
exec {python} -P -m auditor "$@"
"""


def plugin_folder() -> Path:
    """Return the folder in which docker looks for the user's plugins."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "cli-plugins"


def install(folder: Path) -> str:
    """Write the plugin, and return a message. Raises UsageError, also for a file of the same name by somebody else."""
    path = folder / NAME
    if os.path.lexists(path) and not _is_ours(path):
        raise UsageError(f"{path}: is another file. Remove it, or name another folder with --dir")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise UsageError(f"{folder}: can't be created: {exc.strerror}") from exc
    with open_output(path, _MODE) as out:
        out.write(script(sys.executable).encode())
    return f"{path}: installed; try `docker {COMMAND} --help`"


def script(python: str) -> str:
    """Return the plugin, which runs this interpreter."""
    metadata = {
        "SchemaVersion": "0.1.0",
        "Vendor": PROGRAM,
        "Version": __version__,
        "ShortDescription": "Find secrets in the layers of images, and remove them",
    }
    shown = shlex.quote(json.dumps(metadata))
    return _SCRIPT.format(mark=_MARK, metadata=shown, program=PROGRAM, command=COMMAND, python=shlex.quote(python))


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _MARK.encode() in file.read(200)
    except OSError:
        return False
