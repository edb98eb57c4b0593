"""`image-audit flatten`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import EXIT_CLEAN, EXIT_FOUND, completion, options
from auditor.cli.examples import examples
from auditor.config import resolve
from auditor.config.file import FAIL_ON

if TYPE_CHECKING:
    from auditor.config.file import Settings
    from auditor.rebuild.flatten import FlattenedImage, FlattenJob
    from auditor.registry.reference import Reference
    from auditor.report.flatten_proof import FlattenVerdict
    from auditor.scan import Scanner
    from auditor.store.layer_store import LayerStore

_OCI_ENDINGS = (".oci", ".oci.tar", ".oci-archive", ".oci-archive.tar")


@examples(
    "image-audit flatten app -t app:flat              # one layer",
    "image-audit flatten app --excise -t app:clean    # only what leaks goes",
    "image-audit flatten app.tar -o clean.tar --proof proof.json",
)
@click.command()
@click.argument("target", shell_complete=completion.files)
@click.option("-o", "output", type=click.Path(path_type=Path), metavar="FILE", help="Write an archive.")
@click.option("-t", "tag", metavar="NAME", help="Load the result into the engine under this name.")
@click.option("--push", "push_to", metavar="REF", help="Push the result to a registry.")
@click.option("--excise", is_flag=True, help="Rewrite only the layers that leak, without the hidden file versions.")
@click.option("--minimal", is_flag=True, help="Squash from the lowest leaking layer up.")
@click.option("--from", "lowest", type=int, metavar="N", help="Squash from layer N up.")
@click.option(
    "--method", type=click.Choice(["rebuild", "export"]), default="rebuild", show_default=True,
    help="export: let the engine unpack it, as docker export | docker import does.",
)  # fmt: skip
@click.option("--drop-env", multiple=True, metavar="NAME", help="Leave out an environment variable. Repeatable.")
@click.option("--drop-label", multiple=True, metavar="NAME", help="Leave out a label. Repeatable.")
@click.option(
    "--format", "form", type=click.Choice(["docker-archive", "oci-archive"]), default=None,
    help="Of FILE.  [default: by the ending, .oci or .oci.tar; else docker-archive]",
)  # fmt: skip
@click.option(
    "--compress", type=click.Choice(["none", "gzip", "zstd"]), default=None,
    help="Of rewritten layers.  [default: gzip for OCI and registries, else none]",
)  # fmt: skip
@click.option("--level", type=click.IntRange(1, 19), help="Of the compression; gzip knows 1 to 9.")
@click.option(
    "--fail-on", type=click.Choice(FAIL_ON), default=None,
    help="Exit with 1 where a secret at least that severe is still visible.  [default: high]",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite FILE; move NAME or REF from the image that has it.")
@click.option("--proof", "proof_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the proof as JSON.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Threads that match and compress.  [default: one a core]")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
@click.option("-v", "--verbose", is_flag=True, help="Say on standard error what is done.")
@options.limit_option
@options.platform_option
def command(target: str, **given: Any) -> int:
    """Make an image without its hidden files: by default one layer, and proven to show the same files.

    The default squashes all layers; --minimal and --from keep the lower ones, --excise all that do not leak.
    """
    from auditor.cli.progress import progress
    from auditor.config.file import load_settings

    job = _job(target, given)
    settings = load_settings(None)
    _check_places(target, given)
    limits = resolve.limits(settings, given["limits"])
    with progress(quiet=given["quiet"], verbose=given["verbose"]) as shown:
        cache = resolve.cache(None)
        rules = resolve.ruleset(settings, cache=cache)
        judge = _judge(settings, given["fail_on"])
        with (
            resolve.scanner(rules, given["jobs"], shown, cache=cache, limits=limits) as scanner,
            resolve.layer_store(cache, options.warn) as store,
        ):
            text, verdict = _deliver(job, scanner, given, store, judge)
    sys.stdout.write(verdict.line if given["quiet"] else text)
    return EXIT_CLEAN if verdict.clean else EXIT_FOUND


def _judge(settings: Settings, fail_on: str | None) -> Callable[[Sequence[FlattenedImage]], FlattenVerdict]:
    """Return what judges the output as a scan of it would, by the config file's selection and baseline."""
    from auditor.report.flatten_proof import judged

    baseline = resolve.baseline(settings, None)
    selection = resolve.selection(settings, baseline)
    level = resolve.severity(fail_on or settings.fail_on)
    return lambda images: judged(images, selection, level)


def _job(target: str, given: dict[str, Any]) -> FlattenJob:
    from auditor.rebuild.archive_writer import CompressionOptions
    from auditor.rebuild.flatten import EXCISE, FROM, FULL, MINIMAL, FlattenJob
    from auditor.rebuild.image_config import DroppedSettings

    _one_of(given, "-o FILE, -t NAME or --push REF", ("output", "tag", "push_to"), least=1)
    _one_of(given, "--excise, --minimal or --from N", ("excise", "minimal", "lowest"), least=0)
    lowest = given["lowest"]
    way = EXCISE if given["excise"] else MINIMAL if given["minimal"] else FULL if lowest is None else FROM
    docker = _is_docker(given)
    compress = given["compress"] or ("none" if docker else "gzip")
    if compress == "gzip" and (given["level"] or 0) > 9:
        raise click.UsageError(f"--level {given['level']}: gzip knows 1 to 9")
    return FlattenJob(
        target,
        way,
        lowest or 0,
        DroppedSettings(given["drop_env"], given["drop_label"]),
        docker,
        CompressionOptions(compress, given["level"], resolve.jobs(given["jobs"])),
        _names(given),
        given["platform"],
        given["insecure"],
        _is_export(given, way == FULL),
        _reference(given["push_to"]).host if given["push_to"] else None,
    )


def _is_export(given: dict[str, Any], full: bool) -> bool:
    if given["method"] == "export" and not full:
        raise click.UsageError("--method export makes one layer; it goes with none of --excise, --minimal, --from")
    return bool(given["method"] == "export")


def _one_of(given: dict[str, Any], what: str, keys: tuple[str, ...], least: int) -> None:
    count = sum(given[key] not in (None, False) for key in keys)
    if not least <= count <= 1:
        raise click.UsageError(f"want {'one' if least else 'at most one'} of {what}")


def _is_docker(given: dict[str, Any]) -> bool:
    if given["output"] is None:
        if given["form"]:
            raise click.UsageError("--format is for -o FILE")
        return given["tag"] is not None
    if given["form"]:
        return bool(given["form"] == "docker-archive")
    return not given["output"].name.endswith(_OCI_ENDINGS)


def _names(given: dict[str, Any]) -> tuple[str, ...] | None:
    from auditor.rebuild.destinations import full_name

    return (full_name(given["tag"]),) if given["tag"] else () if given["push_to"] else None


def _reference(text: str | None) -> Any:
    from auditor.rebuild.destinations import full_name
    from auditor.registry.reference import parse_reference

    return None if text is None else parse_reference(full_name(text.removeprefix("docker://")))


def _deliver(
    job: FlattenJob,
    scanner: Scanner,
    given: dict[str, Any],
    store: LayerStore | None,
    judge: Callable[..., FlattenVerdict],
) -> tuple[str, FlattenVerdict]:
    """Flatten to where the user wants it, the proof too, or to nowhere; return what to print, and the verdict."""
    from auditor.core.errors import UsageError
    from auditor.rebuild import destinations
    from auditor.rebuild.flatten import flatten
    from auditor.rebuild.follow_up import FollowUp, find_follow_up
    from auditor.rebuild.output_files import output_files
    from auditor.report.flatten_proof import render_json, render_text

    output, reference = given["output"], _reference(given["push_to"])
    if output is None:
        destinations.require_reachable(reference, insecure=job.insecure)
        if not given["force"]:
            tag = None if given["tag"] is None else destinations.full_name(given["tag"])
            destinations.require_unused(tag, reference, insecure=job.insecure)
    with output_files(output, given["proof_path"], force=given["force"]) as files:
        images = flatten(job, scanner, files.image, store)
        if given["tag"] is not None and len(images) > 1:
            have = ", ".join(str(image.rewritten.platform) for image in images)
            raise UsageError(f"{job.target}: several images, and -t names one; choose with --platform: {have}")
        verdict = judge(images)
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
    """Bring the result to the engine or the registry; return a line on where it is, or will be."""
    from auditor.rebuild import destinations

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


def _check_places(target: str, given: dict[str, Any]) -> None:
    """See, before any work, that nothing is to take the place of the target, and that the proof can be written."""
    from auditor.core.errors import UsageError
    from auditor.rebuild import destinations
    from auditor.rebuild.output_files import is_same_file, require_writable

    output, proof = given["output"], given["proof_path"]
    for path in (output, proof):
        if path is not None and is_same_file(target, path):
            raise UsageError(f"{path}: is the target itself; choose another file")
    if proof is not None:
        if output is not None and os.path.realpath(proof) == os.path.realpath(output):
            raise UsageError(f"--proof {proof}: is the output itself; choose another file")
        require_writable(proof, "--proof")
    name = target.removeprefix("docker-daemon:")
    if given["tag"] and not given["force"] and destinations.full_name(given["tag"]) in (name, f"{name}:latest"):
        raise UsageError(f"-t {given['tag']}: is the target itself; choose another name, or --force moves it")
    tagged = target.startswith("docker://") and "@" not in target
    if given["push_to"] and not given["force"] and tagged and _reference(target) == _reference(given["push_to"]):
        raise UsageError(f"--push {given['push_to']}: is the target itself; choose another, or --force moves it")
