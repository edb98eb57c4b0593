"""The Python API: `from auditor import audit`. docs/api.md shows it at work; `image-audit scan` is made of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack, cast

from auditor.config import resolve
from auditor.config.file import CONFIDENCES, FAIL_ON, Settings, load_settings
from auditor.core.entries import Skipped
from auditor.core.errors import UsageError
from auditor.core.finding import Finding, Severity, State
from auditor.core.limits import BY_NAME
from auditor.core.progress import Progress
from auditor.detect.rules import Ruleset
from auditor.findings.baseline import Baseline
from auditor.findings.selection import Selection, fails
from auditor.pipeline import Audit, Failure, Request, audit_each
from auditor.report.formats import REPORT_FORMATS
from auditor.report.render_options import RenderOptions
from auditor.scan import Scanner
from auditor.store.records import Records

PathText = str | os.PathLike[str]
_T = TypeVar("_T")


class Options(TypedDict, total=False):
    """What `audit` may be told besides targets. Where `image-audit scan` has the option too, it means the same.

    An option that is left out, or None, has the value that the config file gives it, or else the default.
    """

    platform: str | None
    """Of a multi-platform image only this one, as `linux/arm64`."""
    base: str | None
    """The base image: findings of its layers are marked as inherited."""
    insecure: bool
    """Speak plain HTTP to a registry that is not on loopback."""
    states: Iterable[str]
    """Only findings that are `deleted`, `overwritten`, `present` or `metadata`. Default: all."""
    min_confidence: str | None
    """Leave out what is less sure than `high`, `medium` (the default) or `low`."""
    fail_on: str | None
    """What `Report.failed` goes by: `critical`, `high` (the default), `medium`, `low` or `never`."""
    config: PathText | None
    """A config file. Default: the nearest `.image-audit.yaml` upward from the working directory."""
    baseline: PathText | None
    """Findings that are known, and not shown."""
    dockerfile: PathText | None
    """The Dockerfile of the image: findings tell the line that brought them in."""
    rules: Iterable[PathText]
    """Files or folders of rules to add to the built-in ones."""
    only_rules: Iterable[str]
    """Ids of the only rules to use."""
    exclude_rules: Iterable[str]
    """Ids of rules whose findings are left out."""
    exclude_paths: Iterable[str]
    """Files to leave out, by globs as in a .gitignore."""
    limits: Mapping[str, int | str]
    """How much of an image is read, by the names of docs/security.md: `{"members": 50_000, "json-bytes": "64MiB"}`."""
    jobs: int | None
    """Threads that match. Default: one a core."""
    cache: bool
    """Whether to use, and keep, what is known of layers. Default: True."""
    cache_dir: PathText | None
    """Where that is kept. Default: the user's cache folder."""
    cache_size: int | None
    """Bytes of it at most. Default: 1 GiB."""
    verify: bool
    """Ask the providers whether the secrets still work: one request a secret."""
    show_secrets: bool
    """Keep secrets whole: `finding.secret.reveal()` returns them, and reports show them."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found, image by image in the order of the targets and their platforms.

    `created` is RFC 3339 in UTC. `notes` are what the command line says on standard error, a line each. `failures` are
    the targets, and the platforms of a target, that could not be audited.
    """

    images: tuple[Audit, ...]
    created: str
    fail_on: Severity | None
    notes: tuple[str, ...] = ()
    show_secrets: bool = False
    baseline: Baseline | None = None
    failures: tuple[Failure, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all images, the most severe of each first."""
        return tuple(finding for image in self.images for finding in image.findings)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was not read, and why. Empty: all was audited in full."""
        return tuple(item for image in self.images for item in image.skipped)

    @property
    def failed(self) -> bool:
        """Whether a finding is at or above `fail_on` (exit code 1), or a target was not audited (exit code 2)."""
        return bool(self.failures) or fails(self.findings, self.fail_on)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON report as plain values. docs/report.md describes it."""
        # Not needed for `image-audit --help` and `--format table`.
        from auditor.report.json_report import json_document

        return json_document(self.images, self._render_options())

    def to_json(self) -> str:
        """Return the JSON report."""
        return self.render("json")

    def render(self, form: str, *, width: int = 100, color: bool = False) -> str:
        """Return the report in a format of `image-audit scan --format`. Width, in columns, and color are of `table`."""
        if form not in REPORT_FORMATS:
            raise UsageError(f"format {form!r}: want one of {', '.join(REPORT_FORMATS)}")
        return REPORT_FORMATS[form].render(self.images, self._render_options(width, color))

    def _render_options(self, width: int = 100, color: bool = False) -> RenderOptions:
        return RenderOptions(self.created, self.failures, self.fail_on, self.show_secrets, width, color)


def audit(*targets: PathText, **options: Unpack[Options]) -> Report:
    """Audit images: which secrets can still be dug out of their layers, who added them, who hid them.

    A target is what `image-audit scan` takes: an image's name, a path, `docker://HOST/REPO:TAG`, … `Options` lists the
    keywords. Of several targets, or several platforms of one, those that can't be read stand in `Report.failures`, and
    the others are audited. Raises AuditError, whose message is one line for the user: UsageError on an option that
    makes no sense, ConfigError and RuleError for files that are wrong; and where a single target can't be read at all
    NotFound, Unreachable, Unauthorized, NotAnImage, Damaged or UsageError.
    """
    for name in options.keys() - Options.__annotations__.keys():
        raise TypeError(f"audit() has no option {name!r}; there are {', '.join(Options.__annotations__)}")
    return run(targets, options)


def run(
    targets: Iterable[PathText],
    options: Options,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    written: Path | None = None,
) -> Report:
    """Do what `audit` does, and tell `progress` and `say`, which hears the notes as they come, how it goes.

    `written` is a baseline that will be written afterwards, and need not be there yet.
    """
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        if say:
            say(text)

    settings = load_settings(_path(options.get("config")))
    limits = resolve.limits(settings, _limits(options))
    fail_on = resolve.severity(_one_of("fail_on", options.get("fail_on") or settings.fail_on, FAIL_ON))
    dockerfile = resolve.dockerfile(_path(options.get("dockerfile")))
    cache = resolve.cache(_path(options.get("cache_dir")))
    rules = _ruleset(options, settings, cache)
    baseline = resolve.baseline(settings, _path(options.get("baseline")), written)
    request = Request(
        options.get("platform"),
        options.get("base"),
        options.get("insecure", False),
        _selection(options, settings, baseline),
    )
    whole, verify = options.get("show_secrets", False), options.get("verify", False)
    with (
        resolve.scanner(rules, options.get("jobs"), progress, cache=cache, limits=limits) as scanner,
        resolve.layer_store(cache if options.get("cache", True) else None, note, options.get("cache_size")) as store,
    ):
        records = Records(scanner, store, keep_secrets=whole or verify)
        audits, failures = _audited(tuple(targets), scanner, request, records)
    audits = resolve.sourced(dockerfile, resolve.held_against(baseline, settings, audits, note), note)
    if verify:
        audits = resolve.verified(settings, audits, note)
    return Report(tuple(audits), resolve.now(), fail_on, tuple(notes), whole, baseline, failures)


def _audited(
    targets: Sequence[PathText], scanner: Scanner, request: Request, records: Records
) -> tuple[list[Audit], tuple[Failure, ...]]:
    """Audit all targets. Raises what the only one fails with."""
    audits, failures = list[Audit](), list[Failure]()
    for target in targets:
        for result in audit_each(os.fspath(target), scanner, request, records):
            if isinstance(result, Failure):
                failures.append(result)
            else:
                audits.append(result)
    if len(targets) == 1 and failures and not audits:
        raise failures[0].error
    return audits, tuple(failures)


def _ruleset(options: Options, settings: Settings, cache: Path | None) -> Ruleset:
    extra = [Path(path) for path in _many(options.get("rules"))]
    return resolve.ruleset(
        settings, extra, _many(options.get("only_rules")), _many(options.get("exclude_rules")), cache
    )


def _limits(options: Options) -> dict[str, int]:
    found = {}
    for name, value in (options.get("limits") or {}).items():
        try:
            found[name] = BY_NAME[_one_of("limits", name, tuple(BY_NAME))].parse(str(value))
        except ValueError as exc:
            raise UsageError(f"limits: {exc}") from None
    return found


def _selection(options: Options, settings: Settings, baseline: Baseline | None) -> Selection:
    states = [_one_of("states", state, [*State]) for state in _many(options.get("states"))]
    return resolve.selection(
        settings,
        baseline,
        states=[State(state) for state in states] or State,
        min_confidence=_one_of("min_confidence", options.get("min_confidence") or settings.min_confidence, CONFIDENCES),
        exclude_paths=_many(options.get("exclude_paths")),
        exclude_rules=_many(options.get("exclude_rules")),
    )


def _path(value: PathText | None) -> Path | None:
    return None if value is None else Path(value)


def _many(value: Iterable[_T] | None) -> tuple[_T, ...]:
    """Return the items; a text, which would fall apart into letters, is one."""
    if isinstance(value, str | os.PathLike):
        return (cast(_T, value),)
    return tuple(value or ())


def _one_of(name: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise UsageError(f"{name} {value!r}: want one of {', '.join(known)}")
    return value
