"""What holds in an audit: the config file's values, and those of options, which win over them.

The command line and the Python API both come here. `say` is told, in a line each, what the user should know.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.config.file import NEVER, Settings
from auditor.core.finding import Confidence, Severity, State
from auditor.core.limits import DEFAULT, Limits
from auditor.core.limits import of as limits_of
from auditor.detect.rules import Ruleset
from auditor.findings.selection import Selection

if TYPE_CHECKING:
    from auditor.core.progress import Progress
    from auditor.dockerfile.instructions import Dockerfile
    from auditor.findings.baseline import Baseline
    from auditor.pipeline import Audit
    from auditor.scan import Scanner
    from auditor.store.layer_store import LayerStore

Say = Callable[[str], None]

_MAX_NAMED = 3


def ruleset(
    settings: Settings,
    extra: Sequence[Path] = (),
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    cache: Path | None = None,
) -> Ruleset:
    """Load the built-in rules, the detect-secrets plugins, and what options and config add; `only` narrows them.

    Rules `without` must exist, and stay: what they find is ignored and counted. Rules of a config file that nobody
    named came with the folder: they don't say where --verify sends secrets.
    """
    from auditor.config.file import check_rules
    from auditor.detect.detect_secrets_plugins import plugin_rules
    from auditor.detect.rule_cache import cached_builtin_rules
    from auditor.detect.rules import load_path, select
    from auditor.dockerfile.problems import DockerfileRule

    found = [rule for path in settings.rules for rule in load_path(path)]
    if not settings.named:
        found = [replace(rule, verify=None) for rule in found]
    own = [rule for path in extra for rule in load_path(path)]
    rules = (*cached_builtin_rules(cache), *plugin_rules(), *found, *own)
    check_rules(settings, dict.fromkeys((*(rule.id for rule in rules), *DockerfileRule)))
    return select(rules, only, without)


def selection(
    settings: Settings,
    baseline: Baseline | None = None,
    *,
    states: Iterable[State] = State,
    min_confidence: str | None = None,
    exclude_paths: Iterable[str] = (),
    exclude_rules: Iterable[str] = (),
) -> Selection:
    """Return which findings are wanted. `min_confidence` is one of CONFIDENCES."""
    now = today()
    return Selection(
        frozenset(states),
        Confidence(min_confidence or settings.min_confidence),
        (*settings.exclude.paths, *exclude_paths),
        frozenset((*settings.exclude.rules, *exclude_rules)),
        settings.exclude.images,
        tuple(item for item in settings.ignore if not item.has_expired(now)),
        baseline.live(now) if baseline else frozenset(),
    )


def baseline(settings: Settings, path: Path | None, written: Path | None = None) -> Baseline | None:
    """Load the baseline named, or that of the config. The one that is to be written may not be there yet."""
    from auditor.findings.baseline import Baseline, load_baseline

    wanted = path or settings.baseline
    if wanted is None:
        return None
    if written is not None and not wanted.exists() and wanted.absolute() == written.absolute():
        return Baseline(wanted)
    return load_baseline(wanted)


def held_against(baseline: Baseline | None, settings: Settings, audits: Sequence[Audit], say: Say) -> list[Audit]:
    """Note in every audit what became of the baseline, and say what of it, or of the config's ignores, is over."""
    now = today()
    for item in settings.ignore:
        if item.has_expired(now):
            say(f"{item.place}: expired on {item.expires}, and ignores nothing any more")
    if baseline is None:
        return list(audits)
    use = baseline.use(audits, now)
    for what, ids in (("expired, and shown again", use.expired), ("no longer in the image", use.vanished)):
        if ids:
            say(f"{use.file}: {what}: {_some(ids)}; go through it with `image-audit baseline audit {use.file}`")
    return [replace(audit, baseline=use) for audit in audits]


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MAX_NAMED} more" if len(ids) > _MAX_NAMED else ""
    return ", ".join(ids[:_MAX_NAMED]) + more


def dockerfile(path: Path | None) -> Dockerfile | None:
    """Parse the Dockerfile that an image was built from, before anything costly is done."""
    from auditor.dockerfile.parser import read_dockerfile

    return read_dockerfile(path) if path else None


def sourced(dockerfile: Dockerfile | None, audits: Sequence[Audit], say: Say) -> list[Audit]:
    """Give findings the lines of the Dockerfile that brought them in; say where an image does not come from it."""
    from auditor.dockerfile.finding_lines import with_dockerfile_lines

    if dockerfile is None:
        return list(audits)
    found = [(audit, with_dockerfile_lines(audit, dockerfile)) for audit in audits]
    for audit, fitting in found:
        if fitting is None:
            say(f"{dockerfile.name}: does not fit the history of {audit.image.target}; its findings have no source")
    return [fitting or audit for audit, fitting in found]


def verified(settings: Settings, audits: Sequence[Audit], say: Say) -> list[Audit]:
    """Ask the providers whether the secrets still work."""
    from auditor.verify import Verifier, verified

    if settings.rules and not settings.named:
        say(f"{settings.path}: its rules ask no provider unless --config names it")
    verifier = Verifier()
    return [replace(one, findings=verified(one.findings, one.ruleset.by_id, verifier)) for one in audits]


def limits(settings: Settings, given: Mapping[str, int] | Iterable[tuple[str, int]] = ()) -> Limits:
    """Return how much of an image is read: as given by name, and where nothing is given, as the config file says."""
    return limits_of({**settings.limits, **dict(given)})


def cache(folder: Path | None) -> Path:
    """Return the cache folder: the one given, or the user's."""
    from auditor.core.cache_folder import cache_folder

    return folder or cache_folder()


@contextmanager
def scanner(
    rules: Ruleset,
    count: int | None,
    progress: Progress | None = None,
    *,
    cache: Path | None = None,
    limits: Limits = DEFAULT,
) -> Iterator[Scanner]:
    """Open a scanner with `count` threads, None: one a core."""
    from auditor.scan import Scanner

    with closing(Scanner(rules, jobs(count), progress, cache=cache, limits=limits)) as opened:
        yield opened


@contextmanager
def layer_store(folder: Path | None, say: Say, size: int | None = None) -> Iterator[LayerStore | None]:
    """Open the cache of layer records, of `size` bytes at most, in the cache folder; None gives none."""
    from auditor.store.layer_store import DEFAULT_BYTES, LayerStore

    if folder is None:
        yield None
        return
    with closing(LayerStore(folder, say, DEFAULT_BYTES if size is None else size)) as store:
        yield store


def severity(text: str) -> Severity | None:
    """Return the severity that fails a run; None stands for never."""
    return None if text == NEVER else Severity(text)


def jobs(count: int | None) -> int:
    """Return how many threads match: as told, or one a core that we may use."""
    if count:
        return count
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def today() -> datetime.date:
    """Return the day, in UTC."""
    return datetime.datetime.now(datetime.UTC).date()


def now() -> str:
    """Return the time in UTC as reports hold it, RFC 3339."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
