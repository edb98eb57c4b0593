"""Output files of flatten: written in a work folder, and moved to their paths together at the end."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from auditor.core.atomic_files import work_folder
from auditor.core.dataclass import dataclass
from auditor.core.errors import UsageError
from auditor.core.output_file import default_mode, require_writable
from auditor.images.targets import parse_target

_SPARE = 1 << 20
"""Bytes reserved for a proof beyond the size of its draft."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """Temporary paths of the archive and, where requested, of the proof."""

    image: Path
    proof: Path | None

    def reserve(self, draft: str) -> None:
        """Reserve disk space for a proof of this size, so that writing it later cannot fail for lack of space."""
        if self.proof is not None:
            with self.proof.open("wb") as out:
                os.posix_fallocate(out.fileno(), 0, len(draft.encode()) + _SPARE)

    def write_proof(self, text: str) -> None:
        """Write the proof, where requested."""
        if self.proof is not None:
            with self.proof.open("r+b" if self.proof.exists() else "wb") as out:
                out.write(text.encode())
                out.truncate()


@contextmanager
def output_files(output: Path | None, proof: Path | None, *, force: bool) -> Iterator[OutputFiles]:
    """Yield temporary paths; at the end move all to `output` and `proof`, or none.

    Without `output` the archive is temporary. Raises UsageError before any work where a path can't be written, or the
    output exists and `force` is not given.
    """
    if output is not None and output.is_file() and not force:
        raise UsageError(f"{output}: exists. Use --force to overwrite it")
    for path, option in ((output, "-o"), (proof, "--proof")):
        if path is not None:
            require_writable(path, option)
    with ExitStack() as stack:
        folder = stack.enter_context(_scratch(None if output is None else output.parent))
        beside = None if proof is None else stack.enter_context(_scratch(proof.parent)) / "proof"
        files = OutputFiles(folder / "image", beside)
        yield files
        moves = [(beside, proof)] if beside is not None and proof is not None else []
        if beside is not None:
            beside.chmod(default_mode())
        _move_all([*moves, *([(files.image, output)] if output is not None else [])])


def _move_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Rename files to their paths, all or none. Raises UsageError."""
    done: list[tuple[Path, Path]] = []
    try:
        for source, path in moves:
            before = source.with_name(f"{source.name}.before")
            if os.path.lexists(path):
                with suppress(OSError):  # a file system without hard links
                    os.link(path, before, follow_symlinks=False)
            done.append((path, before))
            source.replace(path)
    except BaseException as exc:
        for path, before in reversed(done):
            if os.path.lexists(before):
                before.replace(path)
            elif path != done[-1][0]:
                path.unlink(missing_ok=True)
        if isinstance(exc, OSError):
            raise UsageError(f"{done[-1][0]}: can't be written: {exc.strerror}. No output was left") from exc
        raise


@contextmanager
def _scratch(parent: Path | None) -> Iterator[Path]:
    """Create a work folder. Raises UsageError where that fails, or the disk is full."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(work_folder(parent))
        except OSError as exc:
            raise UsageError(f"{parent}: can't be written: {exc.strerror}") from exc
        try:
            yield folder
        except OSError as exc:
            if exc.filename is None and exc.errno in _FULL:
                place = parent or tempfile.gettempdir()
                raise UsageError(f"{place}: can't be written: {exc.strerror}. No output was left") from exc
            raise


def is_same_file(target: str, output: Path) -> bool:
    """Whether a target is the file at `output`."""
    parsed = parse_target(target)
    path = Path(os.path.expanduser(parsed.value))  # noqa: PTH111 - Path.expanduser fails for an unknown user
    if not (parsed.is_file and path.exists() and output.exists()):
        return False
    return path.samefile(output)
