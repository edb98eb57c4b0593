"""`image-audit flatten`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from auditor.api import components, criteria, rulesets
from auditor.cli import EXIT_CLEAN, EXIT_FOUND, completion, options
from auditor.cli.examples import examples
from auditor.cli.messages import warn
from auditor.cli.option_types import Integer, Word
from auditor.cli.progress import progress
from auditor.core.command_options import FlattenOptions
from auditor.core.errors import FlattenError, UsageError
from auditor.core.options import FAIL_ON
from auditor.core.output_file import require_writable
from auditor.core.text import plural
from auditor.images.transports import transport_of
from auditor.rebuild import destinations
from auditor.rebuild.archive_writer import CompressionOptions
from auditor.rebuild.destinations import full_name
from auditor.rebuild.flatten import EXCISE, FROM, FULL, MINIMAL, FlattenedImage, FlattenJob, flatten
from auditor.rebuild.follow_up import FollowUp, find_follow_up
from auditor.rebuild.image_config import DroppedSettings
from auditor.rebuild.output_files import is_same_file, output_files
from auditor.registry.reference import Reference, parse_reference
from auditor.report.flatten_proof import FlattenVerdict, judged, render_json, render_text
from auditor.scan import Scanner
from auditor.store.layer_store import LayerStore

_OCI_ENDINGS = (".oci", ".oci.tar", ".oci-archive", ".oci-archive.tar")
_MAX_GZIP_LEVEL = 9


@examples(
    "image-audit flatten app -t app:flat              # one layer",
    "image-audit flatten app --excise -t app:clean    # rewrite leaking layers",
    "image-audit flatten app.tar -o clean.tar --proof proof.json",
)
@click.command()
@click.argument("target", shell_complete=completion.targets)
@click.option("-o", "output", type=click.Path(path_type=Path), metavar="FILE", help="Write an archive.")
@click.option("-t", "tag", metavar="NAME", help="Load the result into the engine under this name.")
@click.option("--push", metavar="REF", help="Push the result to a registry.")
@click.option("--excise", is_flag=True, help="Rewrite only the layers that leak, without the hidden file versions.")
@click.option("--minimal", is_flag=True, help="Squash from the lowest leaking layer up.")
@click.option("--from", "lowest", type=int, metavar="N", help="Squash from layer N up.")
@click.option(
    "--method", type=Word(["rebuild", "export"]), default="rebuild", show_default=True,
    help="export: let the engine unpack the image, as docker export | docker import does.",
)  # fmt: skip
@click.option("--drop-env", multiple=True, metavar="NAME", help="Leave out an environment variable. Repeatable.")
@click.option("--drop-label", multiple=True, metavar="NAME", help="Leave out a label. Repeatable.")
@click.option(
    "--format", "archive_format", type=Word(["docker-archive", "oci-archive"]),
    help="Format of FILE.  [default: oci-archive for .oci and .oci.tar, else docker-archive]",
)  # fmt: skip
@click.option(
    "--compress", type=Word(["none", "gzip", "zstd"]),
    help="Compression of rewritten layers.  [default: gzip for OCI and registries, else none]",
)  # fmt: skip
@click.option("--level", type=Integer(1, 19), metavar="N", help="Compression level; for gzip 1 to 9.")
@click.option(
    "--fail-on", type=Word(FAIL_ON),
    help="Exit with 1 if a secret of this severity or above is still visible.  [default: high]",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite FILE; move NAME or REF from another image.")
@click.option("--proof", type=click.Path(path_type=Path, dir_okay=False), help="Write the proof as JSON.")
@click.option(
    "--jobs",
    type=Integer(1, 256),
    metavar="N",
    help="Worker processes of the scan, and compressing threads.  [default: one per core]",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
@options.strict_option
@options.verbose_option
@options.limit_option
@options.platform_option
@options.merged(FlattenOptions)
def command(target: str, options: FlattenOptions) -> int:
    """Rebuild an image without its hidden files, and prove that it shows the same files.

    By default all layers become one; --minimal and --from keep the lower layers, --excise all that do not leak.
    """
    job = _job(target, options)
    _check_destinations(target, options)
    rules, judge = rulesets.ruleset(options), _judge(options)
    with (
        progress(quiet=options.quiet, verbose=options.verbose) as display,
        components.scanner(options, rules, display) as scanner,
        components.layer_store(options, warn) as store,
    ):
        text, verdict = _deliver(job, scanner, options, store, judge)
    sys.stdout.write(verdict.warning if options.quiet else text)
    return EXIT_CLEAN if verdict.clean else EXIT_FOUND


def _judge(options: FlattenOptions) -> Callable[[Sequence[FlattenedImage]], FlattenVerdict]:
    """Return a function that judges the output as `scan` would, by the config file's selection and baseline."""
    selection = criteria.selection(options, criteria.baseline(options))
    return lambda images: judged(images, selection, options.fail_on)


def _job(target: str, options: FlattenOptions) -> FlattenJob:
    _check_exclusive("-o FILE, -t NAME or --push REF", (options.output, options.tag, options.push), least=1)
    _check_exclusive("--excise, --minimal or --from N", (options.excise, options.minimal, options.lowest), least=0)
    way = EXCISE if options.excise else MINIMAL if options.minimal else FULL if options.lowest is None else FROM
    docker = _is_docker(options)
    compress = options.compress or ("none" if docker else "gzip")
    if compress == "gzip" and (options.level or 0) > _MAX_GZIP_LEVEL:
        raise click.UsageError(f"--level {options.level}: gzip has levels 1 to {_MAX_GZIP_LEVEL}")
    if options.method == "export" and way != FULL:
        raise click.UsageError("--method export makes one layer: remove --excise, --minimal or --from")
    reference = _reference(options.push)
    return FlattenJob(
        target,
        way,
        options.lowest or 0,
        DroppedSettings(options.drop_env, options.drop_label),
        docker,
        CompressionOptions(compress, options.level, options.jobs),
        (full_name(options.tag),) if options.tag else () if options.push else None,
        options.platform,
        options.insecure,
        options.method == "export",
        reference.host if reference else None,
    )


def _check_exclusive(names: str, values: Sequence[object], least: int) -> None:
    count = sum(value not in (None, False) for value in values)
    if not least <= count <= 1:
        raise click.UsageError(f"use {'exactly' if least else 'at most'} one of {names}")


def _is_docker(options: FlattenOptions) -> bool:
    if options.output is None:
        if options.archive_format:
            raise click.UsageError("--format applies to -o FILE only")
        return options.tag is not None
    if options.archive_format:
        return options.archive_format == "docker-archive"
    return not options.output.name.endswith(_OCI_ENDINGS)


def _reference(text: str | None) -> Reference | None:
    return parse_reference(full_name(text.removeprefix("docker://"))) if text else None


def _deliver(
    job: FlattenJob,
    scanner: Scanner,
    options: FlattenOptions,
    store: LayerStore | None,
    judge: Callable[[Sequence[FlattenedImage]], FlattenVerdict],
) -> tuple[str, FlattenVerdict]:
    """Write the flattened image and its proof, or neither; return the text to print, and the verdict."""
    output, reference = options.output, _reference(options.push)
    if output is None:
        destinations.require_reachable(reference, insecure=job.insecure)
        if not options.force:
            tag = None if options.tag is None else full_name(options.tag)
            destinations.require_unused(tag, reference, insecure=job.insecure)
    with output_files(output, options.proof, force=options.force) as files:
        images = flatten(job, scanner, files.image, store)
        if options.tag is not None and len(images) > 1:
            known = ", ".join(str(image.rewritten.platform) for image in images)
            raise UsageError(f"{job.target}: contains several images ({known}). -t takes one: choose with --platform")
        verdict = judge(images)
        if options.strict and verdict.unread:
            raise FlattenError(
                f"{job.target}: not flattened: {plural(verdict.unread, 'visible item')} could not be read, and "
                f"--strict is set. `image-audit scan {job.target}` lists them"
            )
        files.reserve(render_json(images, job.method, "", FollowUp((), (), ()), verdict))
        written = _written(job, images, files.image, output, reference, scanner.progress.say)
        rest = find_follow_up(images, reference, scanner.limits, insecure=job.insecure)
        files.write_proof(render_json(images, job.method, written, rest, verdict))
    return render_text(images, written, rest, verdict), verdict


def _written(
    job: FlattenJob,
    images: Sequence[FlattenedImage],
    path: Path,
    output: Path | None,
    reference: Reference | None,
    say: Callable[[str], None],
) -> str:
    """Load or push the result; return a line on where it is. An archive is renamed to its path later."""
    if output is not None:
        form = "docker-archive" if job.docker else "oci-archive"
        return f"{output} ({form}, {', '.join(str(image.after.image.id) for image in images)})"
    if reference is not None:
        sent = destinations.to_registry(images, reference, insecure=job.insecure)
        return (
            f"{reference}: {sent.uploaded} blobs uploaded ({sent.bytes} bytes), {sent.mounted} mounted, "
            f"{sent.present} there already"
        )
    (name,) = job.names or ()
    return f"{name} in the engine ({destinations.to_engine(path, name, images[0], say)})"


def _check_destinations(target: str, options: FlattenOptions) -> None:
    """Check, before any work, that the result does not replace the target, and that the proof can be written."""
    for path in (options.output, options.proof):
        if path is not None and is_same_file(target, path):
            raise UsageError(f"{path}: is the target itself. Choose another file")
    if options.proof is not None:
        if options.output is not None and os.path.realpath(options.proof) == os.path.realpath(options.output):
            raise UsageError(f"--proof {options.proof}: is the output itself. Choose another file")
        require_writable(options.proof, "--proof")
    if options.force:
        return
    transport = transport_of(target)
    name = transport.bare(target) if transport and transport.in_engine else target
    if options.tag and full_name(options.tag) in (name, f"{name}:latest"):
        raise UsageError(f"-t {options.tag}: is the target itself. Choose another name, or move it with --force")
    tagged = transport is not None and transport.in_registry and "@" not in target
    if options.push and tagged and _reference(target) == _reference(options.push):
        raise UsageError(f"--push {options.push}: is the target itself. Choose another, or move it with --force")
