"""Where a flattened image goes once it is proven: a file, the engine, a registry."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from auditor.codec.file_slices import FileSlice
from auditor.core.atomic_files import work_folder
from auditor.core.errors import AuditError, FlattenError, NotFound, Unauthorized, UsageError
from auditor.images import daemon
from auditor.images.engine import engine
from auditor.images.targets import parse_target
from auditor.images.transports import TRANSPORTS
from auditor.rebuild.archive_writer import encoded
from auditor.rebuild.engine_comparison import compare_in_engine
from auditor.rebuild.flatten import FlattenedImage
from auditor.rebuild.manifests import index_of, manifest_of
from auditor.rebuild.operations import KeepLayer
from auditor.rebuild.source_images import pushed_to
from auditor.registry.push import Pusher, Sent, push
from auditor.registry.reference import Reference, parse_reference

_SPARE = 1 << 20
"""Bytes more than the draft of a proof that are reserved for it."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """Where a run writes: the archive, and the proof where one is wanted. Both are put in their places in the end."""

    image: Path
    proof: Path | None

    def reserve(self, draft: str) -> None:
        """Take the room for a proof like this one, so that it can be written whatever is done until then."""
        if self.proof is not None:
            with self.proof.open("wb") as out:
                os.posix_fallocate(out.fileno(), 0, len(draft.encode()) + _SPARE)

    def write_proof(self, text: str) -> None:
        """Write the proof, where one is wanted."""
        if self.proof is not None:
            with self.proof.open("r+b" if self.proof.exists() else "wb") as out:
                out.write(text.encode())
                out.truncate()


@contextmanager
def places(output: Path | None, proof: Path | None, *, force: bool) -> Iterator[OutputFiles]:
    """Give names to write to; in the end all take the places of `output` and `proof`, or none does.

    Without an output the archive is temporary. Raises UsageError where one can't be written, before any work, or where
    the output exists and is not to be replaced.
    """
    if output is not None and output.is_file() and not force:
        raise UsageError(f"{output}: exists; --force overwrites it")
    for path, option in ((output, "-o"), (proof, "--proof")):
        if path is not None:
            writable(path, option)
    with ExitStack() as stack:
        folder = stack.enter_context(_scratch(None if output is None else output.parent))
        beside = None if proof is None else stack.enter_context(_scratch(proof.parent)) / "proof"
        given = OutputFiles(folder / "image", beside)
        yield given
        moves = [(beside, proof)] if beside is not None and proof is not None else []
        if beside is not None:
            beside.chmod(0o666 & ~_umask())
        _place([*moves, *([(given.image, output)] if output is not None else [])])


def _place(moves: Sequence[tuple[Path, Path]]) -> None:
    """Rename files to their places, all or none. Raises UsageError."""
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
            raise UsageError(f"{done[-1][0]}: can't be written: {exc.strerror}; nothing was left there") from exc
        raise


def writable(path: Path, option: str) -> None:
    """See that a file can be written, or replaced, under this very name. Raises UsageError."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: is no plain file; {option} wants one")
        if not path.parent.is_dir():
            raise UsageError(f"{path.parent}: no such folder")
        if not os.path.lexists(path):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            path.unlink()
    except OSError as exc:
        raise UsageError(f"{path}: can't be written: {exc.strerror}") from exc
    with _scratch(path.parent):
        pass


@contextmanager
def _scratch(parent: Path | None) -> Iterator[Path]:
    """Make a work folder. Raises UsageError where it can't be made, or is full."""
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
                raise UsageError(f"{place}: can't be written: {exc.strerror}; nothing was left there") from exc
            raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def full_name(name: str) -> str:
    """Complete a name for the engine with its tag. Raises UsageError."""
    reference = parse_reference(name)
    if reference.digest is not None:
        raise UsageError(f"{name}: a digest can't be given to a new image; want NAME[:TAG]")
    return name if reference.tag else f"{name}:latest"


def reachable(reference: Reference | None, *, insecure: bool) -> None:
    """See that the registry, or the engine where None is given, answers and knows us. Raises Unreachable."""
    if reference is None:
        with engine():
            return
    Pusher(reference, insecure=insecure).check()


def is_target(target: str, output: Path) -> bool:
    """Whether a target is the very file that is to be written."""
    parsed = parse_target(target)
    path = Path(os.path.expanduser(parsed.value))  # noqa: PTH111 - the other fails where there is no such user
    if not (parsed.is_file and path.exists() and output.exists()):
        return False
    return path.samefile(output)


def unused(tag: str | None, push_to: Reference | None, *, insecure: bool) -> None:
    """See that neither the engine nor the registry has an image under the name of the result.

    Raises UsageError where one has, Unreachable.
    """
    if tag is not None:
        with suppress(NotFound):
            daemon.inspect(tag)
            raise UsageError(f"-t {tag}: the engine has an image of that name; choose another, or --force moves it")
    if push_to is not None:
        from auditor.registry.client import Client
        from auditor.registry.repository import Repository

        repository = Repository(Client(push_to.host, insecure=insecure), push_to.repository)
        with suppress(NotFound, Unauthorized):  # some hide from who may pull what there is not
            repository.look_up(push_to.version)
            raise UsageError(f"--push {push_to}: is there already; choose another tag, or --force moves it")


def to_engine(path: Path, name: str, made: FlattenedImage, say: Callable[[str], None]) -> str:
    """Load the archive, and see that the engine has what was proven. Return the image's ID.

    Where the target is the engine's too, it is asked what it shows of both: `say` is told before that. Where one of
    these fails, or is broken off, the name leads to what it led to before. Raises Unreachable, FlattenError.
    """
    before, source = None, _engine_id(made)
    with suppress(NotFound):
        before = daemon.inspect(name).id
    try:
        daemon.load(path)
        image = daemon.inspect(name)
        if image.diff_ids != tuple(blob.diff_id for blob in made.rewritten.layers):
            raise FlattenError(f"{name}: the engine has other layers than were loaded; nothing was left there")
        if source is not None:
            say("comparing what the engine shows")
            _same_shown(source, image.id, name)
    except BaseException:
        with suppress(AuditError):
            daemon.rename(before, name)
        raise
    return image.id


def _engine_id(made: FlattenedImage) -> str | None:
    """Return the ID of the image that was flattened; None where the engine does not have it, or not any more."""
    image = made.before.image
    transport = TRANSPORTS[image.transport]
    if not transport.in_engine:
        return None
    with suppress(NotFound):
        found = daemon.inspect(transport.bare(image.target))
        if found.diff_ids == tuple(record.diff_id for record in made.before.records):
            return found.id
    return None


def _same_shown(source: str, made: str, name: str) -> None:
    compared = compare_in_engine(source, made)
    if compared.count:
        more = f", and {compared.count - 1} more" if compared.count > 1 else ""
        raise FlattenError(f"{name}: {compared.differences[0]}{more}; nothing was left there")


def to_registry(images: Sequence[FlattenedImage], reference: Reference, *, insecure: bool) -> Sent:
    """Push the images of one archive; layers that stayed are mounted where the target lies in the same registry."""
    origin = _origin(images[0], reference)
    ready = []
    for image in images:
        layers = []
        for plan, blob, layer in zip(image.plans, image.rewritten.layers, image.after.image.layers, strict=True):
            assert isinstance(layer.content, FileSlice)  # noqa: S101 - read from the archive just written
            layers.append((blob.digest, layer.content, isinstance(plan, KeepLayer)))
        ready.append((encoded(manifest_of(image.rewritten)), image.rewritten.config, layers))
    document = index_of([image.rewritten for image in images])
    index = None if document is None else encoded(document)
    return push(reference, ready, index, insecure=insecure, origin=origin)


def _origin(image: FlattenedImage, reference: Reference) -> str | None:
    """Return the repository of the same registry that holds the layers that stayed."""
    return next((found.repository for found in pushed_to(image.before.image, reference.host)), None)
