"""The Python API: `from auditor import audit`. docs/api.md shows its use; `image-audit scan` calls `run`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from auditor.api import components, criteria, results, rulesets
from auditor.api.components import Notify
from auditor.config.file import load_config
from auditor.config.resolve import resolve
from auditor.core.clock import timestamp, utc_now
from auditor.core.dataclass import dataclass
from auditor.core.entries import Skipped
from auditor.core.errors import UsageError, without_logins
from auditor.core.finding import Confidence, Finding, Severity, State
from auditor.core.options import AuditOptions, one_of
from auditor.core.progress import Progress
from auditor.findings.baseline import Baseline
from auditor.findings.secret_groups import SecretGroup
from auditor.findings.selection import fails
from auditor.pipeline import Audit, Failure, Request, audit_each
from auditor.report.formats import REPORT_FORMATS
from auditor.report.render_options import RenderOptions
from auditor.scan import Scanner
from auditor.store.records import Records

if TYPE_CHECKING:
    from auditor.dockerfile.instructions import Dockerfile

PathText = str | os.PathLike[str]
FailOn = Literal["critical", "high", "medium", "low", "never"] | Severity
ConfidenceName = Literal["high", "medium", "low"] | Confidence
StateName = Literal["deleted", "overwritten", "present", "metadata"] | State
FormatName = Literal["table", "json", "html", "sarif", "markdown", "gitlab", "template", "junit"]


class Options(TypedDict, total=False):
    """Keywords of `audit`. An option has the meaning of the option of `image-audit scan` with the same name.

    An option that is left out, or None, has the value of the config file, or else the default.
    """

    platform: str | None
    """Only this platform of a multi-platform image, such as `linux/arm64`."""
    base: str | None
    """Base image: findings in its layers are marked as inherited."""
    insecure: bool
    """Use plain HTTP for a registry that is not on loopback."""
    states: StateName | Iterable[StateName]
    """Only findings that are `deleted`, `overwritten`, `present` or `metadata`. Default: all."""
    min_confidence: ConfidenceName | None
    """Leave out findings below `high`, `medium` (the default) or `low`."""
    fail_on: FailOn | None
    """Severity for `Report.failed`: `critical`, `high` (the default), `medium`, `low` or `never`."""
    config: PathText | None
    """Config file. Default: the nearest `.image-audit.yaml` upward from the working directory."""
    baseline: PathText | None
    """Baseline: a file of accepted findings, which are not shown."""
    dockerfile: PathText | None
    """Dockerfile of the image: findings get the line of the instruction that added them."""
    rules: Iterable[PathText]
    """Files or folders of rules to add to the built-in ones."""
    only_rules: Iterable[str]
    """Use only the rules with these ids."""
    exclude_rules: Iterable[str]
    """Leave out findings of the rules with these ids."""
    exclude_paths: Iterable[str]
    """Leave out files, by globs as in a .gitignore."""
    limits: Mapping[str, int | str]
    """Limits by the names of `image-audit config limits`: `{"members": 50_000, "json-bytes": "64MiB"}`."""
    jobs: int | None
    """Worker processes of the scan. Default: one per core. They are started for targets above 32 MiB alone."""
    memory: int | None
    """Memory in bytes that the scan may use: it starts fewer processes where this is short. Default: no limit."""
    cache: bool
    """Use and fill the cache of layers. Default: True."""
    cache_dir: PathText | None
    """Cache folder. Default: the user's."""
    cache_size: int | None
    """Largest size of the cache of layers, in bytes. Default: 1 GiB."""
    verify: bool
    """Ask the providers whether the secrets are still valid: one request per secret."""
    show_secrets: bool
    """Keep whole secrets: `finding.secret.reveal()` returns them, and reports show them."""


@dataclass(frozen=True, slots=True)
class Report:
    """Results of an audit, image by image in the order of the targets and their platforms.

    `created` is RFC 3339 in UTC. `notes` are the lines that the command line prints on standard error. `failures` are
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
        """Findings of all images, the most urgent of each image first."""
        return tuple(finding for image in self.images for finding in image.findings)

    @property
    def secrets(self) -> tuple[SecretGroup, ...]:
        """Secrets of all images with their findings, the most urgent of each image first."""
        return tuple(group for image in self.images for group in image.secrets)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Parts that were not read, with reasons. Empty after a complete audit."""
        return tuple(item for image in self.images for item in image.skipped)

    @property
    def failed(self) -> bool:
        """Whether a finding is at or above `fail_on` (exit code 1), or a target was not audited (exit code 2)."""
        return bool(self.failures) or fails(self.findings, self.fail_on)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON report as plain values. docs/report.md describes it."""
        # Not needed for `image-audit --help` and `--format table`.
        from auditor.report.json_report import json_document

        return json_document(self.images, self.render_options)

    def to_json(self) -> str:
        """Return the JSON report."""
        return self.render("json")

    def render(
        self, form: FormatName, *, width: int = 100, color: bool = False, template: PathText | None = None
    ) -> str:
        """Return the report in a format of `image-audit scan --format`.

        `width`, in columns, and `color` apply to the table, `template` is the file for the format `template`.
        """
        one_of("format", form, tuple(REPORT_FORMATS))
        path = None if template is None else Path(template)
        return REPORT_FORMATS[form].render(
            self.images, replace(self.render_options, width=width, color=color, template=path)
        )

    @property
    def render_options(self) -> RenderOptions:
        """Options of all formats of this report."""
        return RenderOptions(self.created, self.failures, self.fail_on, self.show_secrets)


def audit(*targets: PathText | Iterable[PathText], **options: Unpack[Options]) -> Report:
    """Audit images: find secrets in every layer, who added them and who hid them.

    A target is one of `image-audit scan`: an image's name, a path, `docker://HOST/REPO:TAG`, … or a list of such
    targets. `Options` lists the keywords. Of several targets, or several platforms of one, those that can't be read are
    in `Report.failures`, and the others are audited. Raises AuditError, whose message is one line for the user:
    UsageError for a wrong option or no target, ConfigError and RuleError for wrong files; and where a single target
    can't be read at all NotFound, Unreachable, Unauthorized, NotAnImage, Damaged or UsageError.
    """
    for name in options.keys() - Options.__annotations__.keys():
        raise TypeError(f"audit() has no option {name!r}; its options are {', '.join(Options.__annotations__)}")
    every = [item for target in targets for item in ((target,) if isinstance(target, str | os.PathLike) else target)]
    if not every:
        raise UsageError("audit() needs a target: an image's name, a path, docker://HOST/REPO:TAG")
    config = options.pop("config", None)
    return run(every, resolve(AuditOptions, load_config(None if config is None else Path(config)), options))


def run(
    targets: Iterable[PathText],
    options: AuditOptions,
    progress: Progress | None = None,
    notify: Notify | None = None,
    written: Path | None = None,
) -> Report:
    """Audit images with merged options; report to `progress`, and pass each note to `notify` as it arises.

    `written` is the path of a baseline that the caller writes afterwards: that file may be missing.
    """
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        if notify:
            notify(text)

    dockerfile = _dockerfile(options)
    rules = rulesets.ruleset(options)
    baseline = criteria.baseline(options, written)
    request = Request(options.platform, options.base, options.insecure, criteria.selection(options, baseline))
    with (
        components.scanner(options, rules, progress) as scanner,
        components.layer_store(options, note) as store,
    ):
        records = Records(scanner, store, keep_secrets=options.show_secrets or options.verify)
        audits, failures = _audited(tuple(targets), scanner, request, records)
    audits = results.with_baseline(audits, options, baseline, note)
    if dockerfile is not None:
        audits = results.with_lines(audits, dockerfile, note)
    if options.verify:
        audits = results.with_verification(audits, options, note)
    created = timestamp(utc_now())
    return Report(tuple(audits), created, options.fail_on, tuple(notes), options.show_secrets, baseline, failures)


def _dockerfile(options: AuditOptions) -> Dockerfile | None:
    if options.dockerfile is None:
        return None
    from auditor.dockerfile.parser import read_dockerfile  # as in api/results.py

    return read_dockerfile(options.dockerfile)


def _audited(
    targets: Sequence[PathText], scanner: Scanner, request: Request, records: Records
) -> tuple[list[Audit], tuple[Failure, ...]]:
    """Audit all targets. Raises the error of a single target that can't be read at all."""
    audits, failures = list[Audit](), list[Failure]()
    for number, target in enumerate(targets, 1):
        name = os.fspath(target)
        scanner.progress.begin(number, len(targets))
        if len(targets) > 1:
            scanner.progress.say(f"{number} of {len(targets)}: {without_logins(name)}")
        for result in audit_each(name, scanner, request, records):
            if isinstance(result, Failure):
                failures.append(result)
            else:
                audits.append(result)
    if len(targets) == 1 and failures and not audits:
        raise failures[0].error
    return audits, tuple(failures)
