"""What the hook audits: the config's images, as the engine has them, and its Dockerfiles."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from auditor.config.file import Settings
from auditor.core import cache_keys
from auditor.core.errors import AuditError, EngineUnusable, NotFound, Unreachable
from auditor.core.finding import Severity
from auditor.core.limits import AUDITS
from auditor.dockerfile.problems import DockerfileProblem
from auditor.findings.selection import fails, fits
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
class Result:
    """What was audited: images by the name the user gives them, Dockerfiles by path, and what is not there to audit.

    `failed` are lines on what is there and can't be read.
    """

    images: tuple[tuple[str, Audit], ...]
    dockerfiles: tuple[tuple[Path, tuple[DockerfileProblem, ...]], ...]
    missing: tuple[str, ...]
    failed: tuple[str, ...] = ()


def run(settings: Settings, scanner: Scanner, request: Request, store: LayerStore | None) -> Result:
    """Audit all that the config names. What can't be read holds up nothing else.

    An image of the engine that was clean under the same settings, rules and code is not read again: its id tells.
    """
    records = Records(scanner, store)
    missing = list[str]()
    failed = list[str]()
    images = list[tuple[str, Audit]]()
    for name, target in _targets(settings, missing, failed):
        try:
            key = _key(target, settings, scanner, request) if store else None
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
        if store and key and not failures and all(_is_clean(result, settings) for result in found):
            store.keep_clean(key)
    dockerfiles = tuple(_dockerfiles(settings, scanner, failed))
    return Result(tuple(images), dockerfiles, tuple(missing), tuple(failed))


def _is_clean(audit: Audit, settings: Settings) -> bool:
    fail_on = None if settings.fail_on == "never" else Severity(settings.fail_on)
    return not audit.skipped and not fails(audit.findings, fail_on)


def _key(target: str, settings: Settings, scanner: Scanner, request: Request) -> str | None:
    """Name an image of the engine and all that its verdict depends on; None for what has no id without being read."""
    if not target.startswith(_ENGINE):
        return None
    image = daemon.inspect(target.removeprefix(_ENGINE))
    shown = (settings.fail_on, request.selection.key, scanner.limits.differences(AUDITS))
    parts = (
        image.id,
        sorted(image.names),
        scanner.ruleset.digest,
        cache_keys.VERDICTS.key,
        request.base,
        *shown,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _targets(settings: Settings, missing: list[str], failed: list[str]) -> Iterable[tuple[str, str]]:
    """Return names and targets. A bare name is the engine's alone: a push does not wait for a registry."""
    bare = [text for text in settings.images if not is_explicit(text)]
    found = dict.fromkeys((text, text) for text in settings.images if is_explicit(text))
    if bare:
        try:
            tags = daemon.tags() if any(_GLOB & set(text) for text in bare) else ()
            with engine():
                found |= dict.fromkeys((name, _ENGINE + name) for name in _expanded(bare, tags, missing))
        except Unreachable as exc:
            unusable = isinstance(exc, EngineUnusable)
            (failed if unusable else missing).append(f"{', '.join(bare)}: {exc}")
    excluded = settings.exclude.images
    return [pair for pair in found if not any(fits([pair[0]], pattern) for pattern in excluded)]


def _expanded(names: Sequence[str], tags: Sequence[str], missing: list[str]) -> Iterable[str]:
    for name in names:
        fitting = [tag for tag in tags if fnmatchcase(tag, name)] if _GLOB & set(name) else [name]
        if not fitting:
            missing.append(f"{name}: no image of the engine has such a name")
        yield from fitting


def _dockerfiles(
    settings: Settings, scanner: Scanner, failed: list[str]
) -> Iterable[tuple[Path, tuple[DockerfileProblem, ...]]]:
    from auditor.dockerfile.check import check_file, select_problems

    for path in settings.dockerfiles:
        try:
            problems = select_problems(check_file(path, scanner), (), settings.exclude.rules)
        except AuditError as exc:
            failed.append(str(exc))
            continue
        yield path, problems
