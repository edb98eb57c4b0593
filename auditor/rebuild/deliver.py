"""Where a flattened image goes once it is proven: a file, the engine, a registry."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from auditor.errors import FlattenError, UsageError
from auditor.images import daemon
from auditor.images.engine import engine
from auditor.images.push import Pusher, Sent, push
from auditor.images.reference import Reference, parse_reference, parse_target
from auditor.images.source import FileSlice
from auditor.rebuild.documents import OCI, index_of, manifest_of
from auditor.rebuild.flatten import Flattened
from auditor.rebuild.inputs import pushed_to
from auditor.rebuild.output import encoded
from auditor.rebuild.puts import Kept

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def beside(path: Path, *, force: bool) -> Iterator[Path]:
    """Give a name in the same folder; what is written there takes the place of `path` unless something fails.

    Raises UsageError where `path` exists and is not to be replaced.
    """
    if path.exists() and path.is_file() and not force:
        raise UsageError(f"{path}: exists; --force overwrites it")
    writable(path, "-o")
    with _scratch(path.parent) as folder:
        yield folder / "image"
        (folder / "image").replace(path)


def writable(path: Path, option: str) -> None:
    """See that a file can be written, or replaced. Raises UsageError."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is no plain file; {option} wants one")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder")
    with _scratch(path.parent):
        pass


@contextmanager
def _scratch(parent: Path | None) -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix=".image-audit-", dir=parent))
    except OSError as exc:
        raise UsageError(f"{parent}: can't be written: {exc.strerror}") from exc
    try:
        yield folder
    except OSError as exc:
        if exc.filename is None and exc.errno in _FULL:
            place = parent or tempfile.gettempdir()
            raise UsageError(f"{place}: can't be written: {exc.strerror}; nothing was left there") from exc
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_file() -> Iterator[Path]:
    """Give a name for a file that is gone afterwards."""
    with _scratch(None) as folder:
        yield folder / "image"


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
    if parsed.transport not in ("path", "docker-archive", "oci-archive") or not (path.exists() and output.exists()):
        return False
    return path.samefile(output)


def to_engine(path: Path, name: str, made: Flattened) -> str:
    """Load the archive, and see that the engine has what was proven. Return the image's ID.

    Raises Unreachable, FlattenError.
    """
    daemon.load(path)
    image = daemon.inspect(name)
    if image.diff_ids != tuple(blob.diff_id for blob in made.made.layers):
        raise FlattenError(f"{name}: the engine has other layers than were loaded; `docker rmi {name}`")
    return image.id


def to_registry(images: Sequence[Flattened], reference: Reference, *, insecure: bool) -> Sent:
    """Push the images of one archive; layers that stayed are mounted where the target lies in the same registry."""
    origin = _origin(images[0], reference)
    ready = []
    for image in images:
        layers = []
        for output, blob, layer in zip(image.outputs, image.made.layers, image.after.image.layers, strict=True):
            assert isinstance(layer.content, FileSlice)  # noqa: S101 - read from the archive just written
            layers.append((blob.digest, layer.content, isinstance(output, Kept)))
        ready.append((encoded(manifest_of(image.made)), image.made.config, layers))
    several = index_of([image.made for image in images]) if len(images) > 1 else None
    index = encoded({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", **several}) if several else None
    return push(reference, ready, index, insecure=insecure, origin=origin)


def _origin(image: Flattened, reference: Reference) -> str | None:
    """Return the repository of the same registry that holds the layers that stayed."""
    return next((found.repository for found in pushed_to(image.before.image, reference.host)), None)
