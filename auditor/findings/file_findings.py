"""Findings in files: matches of all layers joined with the history of their paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from auditor.core.dataclass import dataclass
from auditor.core.entries import Deleted, EntryKind, FileVersion, Overwritten
from auditor.core.finding import Finding, State, severity_of
from auditor.core.secret import Secret
from auditor.core.text import display_path
from auditor.detect.rules import Rule, Ruleset
from auditor.findings.finding_ids import finding_id
from auditor.findings.image_context import ImageContext, provenance_confidence
from auditor.layers.file_history import FileHistory
from auditor.scan import LayerMatch


@dataclass(frozen=True, slots=True)
class NamedMatch:
    """A match under one name of its file: `version` is the name's entry, `content` the entry with the bytes.

    The two differ for a hard link.
    """

    version: FileVersion
    content: FileVersion
    match: LayerMatch


def named_matches(context: ImageContext) -> Iterator[NamedMatch]:
    """Yield every match under every name of its file, hard links included."""
    links = _hard_links(context)
    for layer, record in enumerate(context.records):
        for match in record.matches:
            content = FileVersion(layer, match.entry)
            for version in (content, *links.get(content, ())):
                yield NamedMatch(version, content, match)


def _hard_links(context: ImageContext) -> dict[FileVersion, list[FileVersion]]:
    """Map the entry with a file's bytes to the hard links to it."""
    links: dict[FileVersion, list[FileVersion]] = {}
    for layer, record in enumerate(context.records):
        for entry in record.listing.links:
            if record.listing.kinds[entry] == EntryKind.HARDLINK:
                link = FileVersion(layer, entry)
                content = context.file_history.content(link)
                if content is not None:
                    links.setdefault(content, []).append(link)
    return links


def file_findings(
    context: ImageContext, matches: Iterable[NamedMatch], ruleset: Ruleset, mask: Callable[[str], str]
) -> Iterator[Finding]:
    """Yield a finding for each uninterrupted run of versions of a path with the same secret."""
    grouped: dict[tuple[str, str | None, Secret], list[NamedMatch]] = {}
    for named in matches:
        path = context.records[named.version.layer].listing.paths[named.version.entry]
        grouped.setdefault((path, named.match.member, named.match.secret), []).append(named)
    rules = ruleset.by_id
    context.packages.read(path for path, _, _ in grouped)
    for (path, _, _), group in grouped.items():
        for run in _runs(context.file_history, sorted(group, key=lambda named: named.version)):
            yield _masked(_finding(context, rules, path, run), mask)


def _runs(history: FileHistory, matches: Sequence[NamedMatch]) -> Iterator[list[NamedMatch]]:
    """Split the versions of one path with one secret where the secret was absent in between.

    A version that the next one overwrites with the same secret was only touched.
    """
    run: list[NamedMatch] = []
    for named in matches:
        if run and run[-1].version != named.version:
            state = history.state(run[-1].version.layer, run[-1].version.entry)
            if not (isinstance(state, Overwritten) and state.by == named.version.layer):
                yield run
                run = []
        run.append(named)
    yield run


def _finding(context: ImageContext, rules: dict[str, Rule], path: str, run: Sequence[NamedMatch]) -> Finding:
    """Return the finding of a run: the most specific rule of its last version, and the state of that version."""
    last = run[-1].version
    named = max(
        (named for named in run if named.version == last),
        key=lambda named: (rules[named.match.rule].specificity, -(named.match.line or 0)),
    )
    match, rule = named.match, rules[named.match.rule]
    checksum = context.records[named.content.layer].checksums.get(named.content.entry)
    package = context.packages.package_of(path, checksum)
    searched = path if match.member is None else f"{path}/{match.member.replace('!', '/')}"
    added_in = run[0].version.layer
    history = context.file_history.state(last.layer, last.entry)
    hidden_in = history.by if isinstance(history, Overwritten | Deleted) else None
    state = {Overwritten: State.OVERWRITTEN, Deleted: State.DELETED}.get(type(history), State.PRESENT)
    return Finding(
        id="",
        rule=rule.id,
        name=rule.name,
        provider=rule.provider,
        detector=rule.detector,
        severity=severity_of(rule.severity, match.check),
        confidence=provenance_confidence(rule, match.confidence, searched, package),
        state=state,
        path=display_path(path),
        where=None,
        member=match.member,
        decoded=match.decoded,
        line=match.line,
        added_in=added_in,
        added_by=context.created_by(added_in),
        hidden_in=hidden_in,
        hidden_by=context.created_by(hidden_in),
        inherited=added_in < context.base_layers,
        secret=match.secret,
        secret_id="",
        held_by=tuple(sorted({named.content for named in run})),
        check=match.check,
        package=package,
        revoke=rule.revoke,
    )


def _masked(finding: Finding, mask: Callable[[str], str]) -> Finding:
    """Mask secrets in path, member and package, and set the id, which covers the masked path."""
    package = finding.package
    path, member = mask(finding.path or ""), finding.member and mask(finding.member)
    return replace(
        finding,
        id=finding_id(finding.rule, path, member, finding.secret),
        path=path,
        member=member,
        package=package and replace(package, name=mask(package.name), version=mask(package.version)),
    )
