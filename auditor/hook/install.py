"""Installation and removal of the pre-push hook. An existing hook is kept, and runs first."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from auditor.core.atomic_files import work_folder
from auditor.core.errors import UsageError

NAME = "pre-push"
BEFORE = "pre-push.before-image-audit"
_MARK = "# The pre-push hook of image-audit."
_SCRIPT = """\
#!/bin/sh
{mark} `image-audit hook uninstall` removes it and restores the previous hook.
before="$(dirname -- "$0")/{before}"
refs=$(cat)
[ -z "$refs" ] || refs="$refs
"
if [ -x "$before" ]; then
    printf %s "$refs" | "$before" "$@" || exit
fi
python={python}
if "$python" -P -c 'import auditor' 2>/dev/null; then
    set -- "$python" -P -m auditor hook run "$@"
elif command -v image-audit >/dev/null; then
    set -- image-audit hook run "$@"
else
    case ",$SKIP," in *,image-audit,*) exit 0 ;; esac
    echo 'image-audit: not found; push stopped without an audit. Install image-audit, remove' >&2
    echo "this hook ($0), or push with SKIP=image-audit." >&2
    exit 1
fi
printf %s "$refs" | "$@"
"""


def install(folder: Path) -> str:
    """Write the hook, and rename an existing one, to run first. Return a message. Raises UsageError."""
    if folder.name == "_" and folder.parent.name == ".husky":
        raise UsageError(
            f'{folder}: husky overwrites this folder; add the line `image-audit hook run "$@"` to '
            f"{folder.parent / NAME} instead"
        )
    hook, before = folder / NAME, folder / BEFORE
    chains = not is_ours(hook) and os.path.lexists(hook)
    if chains and os.path.lexists(before):
        raise UsageError(f"{hook}: is another hook, and {before} exists already. Remove one of them")
    try:
        _write(hook, before if chains else None)
    except OSError as exc:
        raise UsageError(f"{hook}: can't be written: {exc.strerror}") from exc
    return f"{hook}: installed" + (f"; {before.name} runs first" if os.path.lexists(before) else "")


def uninstall(folder: Path) -> str:
    """Remove the hook, and restore the previous one. Return a message. Raises UsageError."""
    hook, before = folder / NAME, folder / BEFORE
    if not is_ours(hook):
        kept = f"; {before} is a hook that image-audit renamed" if os.path.lexists(before) else ""
        return f"{hook}: image-audit is not installed here{kept}"
    try:
        if os.path.lexists(before):
            before.replace(hook)
            return f"{hook}: previous hook restored"
        hook.unlink()
    except OSError as exc:
        raise UsageError(f"{hook}: can't be removed: {exc.strerror}") from exc
    return f"{hook}: removed"


def is_ours(hook: Path) -> bool:
    """Whether a file is the hook that `install` writes."""
    try:
        with hook.open("rb") as file:
            return _MARK.encode() in file.read(200)
    except OSError:
        return False


def script(python: str) -> str:
    """Return the hook: the previous hook, then image-audit, both with git's arguments and list of refs.

    -P keeps Python from importing a folder `auditor` of the repository.
    """
    return _SCRIPT.format(mark=_MARK, before=BEFORE, python=shlex.quote(python))


def _write(hook: Path, before: Path | None) -> None:
    """Write the hook atomically; first rename an existing one to `before`."""
    hook.parent.mkdir(parents=True, exist_ok=True)
    with work_folder(hook.parent) as folder:
        temporary = folder / NAME
        temporary.write_text(script(sys.executable), encoding="utf-8", errors="surrogateescape")
        temporary.chmod(0o755)
        if before is not None:
            hook.rename(before)
        temporary.replace(hook)
