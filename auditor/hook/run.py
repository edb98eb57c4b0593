"""Audit of the images and Dockerfiles that the config file lists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from auditor.core import cache_keys
from auditor.core.dataclass import dataclass
from auditor.core.errors import AuditError, EngineUnusable, NotFound, Unreachable
from auditor.core.limits import AUDITS
from auditor.core.options import HookOptions
from auditor.dockerfile.check import check_file, select_problems
from auditor.dockerfile.problems import DockerfileProblem
from auditor.findings.selection import Selection, fails, matches_name
from auditor.images import daemon
from auditor.images.engine import engine
from auditor.images.targets import is_explicit
from auditor.images.transports import TRANSPORTS
from auditor.pipeline import Audit, Failure, Request, audit_each
from auditor.scan import Scanner
from auditor.store.layer_store import LayerStore
from auditor.store.records import Records

_GLOB = frozenset("*?[")
_ENGINE = TRANSPORTS["docker-daemon"].prefix


@dataclass(frozen=True, slots=True)
class HookResult:
    """Audits of images by the name in the config file, problems of Dockerfiles by path.

    `missing` are messages on images that don't exist, `failed` on targets that can't be read.
    """

    images: tuple[tuple[str, Audit], ...]
    dockerfiles: tuple[tuple[Path, tuple[DockerfileProblem, ...]], ...]
    missing: tuple[str, ...]
    failed: tuple[str, ...] = ()


def run_hook(options: HookOptions, scanner: Scanner, selection: Selection, store: LayerStore | None) -> HookResult:
    """Audit all images and Dockerfiles of the config file. An error of one does not stop the others.

    An image ID of the engine that was clean with the same options, rules and code is not read again.
    """
    request = Request(selection=selection)
    records = Records(scanner, store)
    missing = list[str]()
    failed = list[str]()
    images = list[tuple[str, Audit]]()
    for name, target in _targets(options, missing, failed):
        try:
            key = _key(target, options, scanner, request) if store else None
        except NotFound as exc:
            missing.append(str(exc))
            continue
        except AuditError as exc:
            failed.append(f"{name}: {exc}")
            continue
        if store and key and store.is_clean(key):
            continue
        results = list(audit_each(target, scanner, request, records))
        found = [result for result in results if isinstance(result, Audit)]
        failures = [result for result in results if isinstance(result, Failure)]
        images += [(name, result) for result in found]
        absent = not found and all(isinstance(failure.error, NotFound) for failure in failures)
        (missing if absent else failed).extend(str(failure) for failure in failures)
        if store and key and not failures and all(_is_clean(result, options) for result in found):
            store.keep_clean(key)
    dockerfiles = tuple(_dockerfiles(options, scanner, failed))
    return HookResult(tuple(images), dockerfiles, tuple(missing), tuple(failed))


def _is_clean(audit: Audit, options: HookOptions) -> bool:
    return not audit.skipped and not fails(audit.findings, options.fail_on)


def _key(target: str, options: HookOptions, scanner: Scanner, request: Request) -> str | None:
    """Return a digest of an image ID and all inputs of its verdict; None for targets without an ID."""
    if not target.startswith(_ENGINE):
        return None
    image = daemon.inspect(target.removeprefix(_ENGINE))
    shown = (options.fail_on, request.selection.key, scanner.limits.differences(AUDITS))
    parts = (
        image.id,
        sorted(image.names),
        scanner.ruleset.digest,
        cache_keys.VERDICTS.key,
        request.base,
        *shown,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _targets(options: HookOptions, missing: list[str], failed: list[str]) -> Iterable[tuple[str, str]]:
    """Return names and targets. Names without transport are looked up in the engine alone, to keep pushes fast."""
    bare = [text for text in options.images if not is_explicit(text)]
    found = dict.fromkeys((text, text) for text in options.images if is_explicit(text))
    if bare:
        try:
            tags = daemon.tags() if any(_GLOB & set(text) for text in bare) else ()
            with engine():
                found |= dict.fromkeys((name, _ENGINE + name) for name in _expanded(bare, tags, missing))
        except Unreachable as exc:
            unusable = isinstance(exc, EngineUnusable)
            (failed if unusable else missing).append(f"{', '.join(bare)}: {exc}")
    excluded = options.exclude_images
    return [pair for pair in found if not any(matches_name([pair[0]], pattern) for pattern in excluded)]


def _expanded(names: Sequence[str], tags: Sequence[str], missing: list[str]) -> Iterable[str]:
    for name in names:
        fitting = [tag for tag in tags if fnmatchcase(tag, name)] if _GLOB & set(name) else [name]
        if not fitting:
            missing.append(f"{name}: no image in the engine matches")
        yield from fitting


def _dockerfiles(
    options: HookOptions, scanner: Scanner, failed: list[str]
) -> Iterable[tuple[Path, tuple[DockerfileProblem, ...]]]:
    for path in options.dockerfiles:
        try:
            problems = select_problems(check_file(path, scanner), (), options.exclude_rules)
        except AuditError as exc:
            failed.append(str(exc))
            continue
        yield path, problems
