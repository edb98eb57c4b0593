"""Matches and fates, joined to findings."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from auditor.core.entries import Deleted, EntryKind, FileVersion, Overwritten, Skipped
from auditor.core.finding import Confidence, Finding, Package, State
from auditor.core.image_config import HistoryStep
from auditor.core.limits import Limits, named
from auditor.core.secret import Secret
from auditor.detect.confirm import Match
from auditor.detect.heuristics.file_class import FileClass, file_class
from auditor.detect.hits import truncation_reason
from auditor.detect.rules import Rule, Ruleset
from auditor.detect.secret_replacer import SecretReplacer
from auditor.findings.header_secrets import HeaderSecret, in_headers
from auditor.findings.metadata_texts import MetadataText, metadata_texts
from auditor.images.source import Image
from auditor.layers.build_steps import step_of_layer
from auditor.layers.file_history import FileHistory
from auditor.provenance import Packages
from auditor.scan import LayerMatch, LayerRecord, Scanner
from auditor.scan.masker import TextMasker, masked_text

T = TypeVar("T")

_SAMPLES = re.compile(
    r"(?:^|/)(?:tests?|testing|__tests__|testdata|test-data|fixtures?|specs?|examples?|samples?|demos?|docs?|man)/"
)
_SETTING = re.compile(r" ([^ =]+)=")
_INDEX = re.compile(r"\[\d+\]$")
_NUMBER = re.compile(r"\[\d+\]")


@dataclass(frozen=True)
class Stack:
    """An image with what its layers hold: all that findings are made of."""

    image: Image
    records: Sequence[LayerRecord]
    packages: Packages
    trace: FileHistory
    step_layers: Sequence[int | None]
    base_layers: int

    @functools.cached_property
    def last_base_step(self) -> int:
        """The last step that made a layer of the base, -1 where none did."""
        made = (at for at, layer in enumerate(self.step_layers) if layer is not None and layer < self.base_layers)
        return max(made, default=-1)


@dataclass(slots=True)
class Collected:
    """Findings in the report's order, and the history and the config with their secrets masked.

    `shown` masks the secrets of any other text of the image.
    """

    findings: list[Finding] = field(default_factory=list)
    history: tuple[HistoryStep, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    shown: Callable[[str], str] = str


def collect(stack: Stack, scanner: Scanner, seal: Callable[[Secret], Secret]) -> Collected:
    """Make the findings of an image, those of low confidence too. `seal` is what made the records' secrets equal."""
    image, skipped, overrun = stack.image, list[Skipped](), dict[str, None]()
    shown, unsearched = TextMasker(scanner.searcher), set[str]()

    def note(where: str, reason: str) -> None:
        skipped.append(Skipped(None, None, f"{where}: {reason}"))
        unsearched.add(where.partition(".")[0])

    texts = metadata_texts(
        image.config, image.annotations, image.documents, scanner.limits, note, names=image.names, mask=shown
    )
    search = scanner.searcher.search_text
    found = [(text, items) for text in texts if (items := search(_spoken(text), overrun.setdefault))]
    skipped += [Skipped(None, None, f"metadata: {truncation_reason(rule, scanner.limits)}") for rule in overrun]
    limits = scanner.limits
    history = _masked_history(stack.image.config.history, found, shown, limits.text_bytes)
    headers = in_headers(stack.records, stack.trace, scanner, seal, lambda text: shown(_escaped(text)), skipped.append)
    everything = [
        *_in_files(stack, _some(_holdings(stack), limits, skipped), history, scanner.ruleset, shown),
        *_some(_in_metadata(stack, history, found, seal), limits, skipped),
        *(_header_finding(stack, history, secret) for secret in _some(headers, limits, skipped)),
    ]
    everything.sort(key=_order)
    secrets = {item.secret for _, items in found for item in items}
    config = {} if "config" in unsearched else _masked_config(image.config.raw.get("config"), secrets, shown)
    return Collected(_numbered(everything), history, config, skipped, shown)


def _some(items: Iterable[T], limits: Limits, skipped: list[Skipped]) -> Iterator[T]:
    """Yield what findings are made of as far as an image may have them: many links to one file are many findings."""
    most = limits.findings_image
    for count, item in enumerate(items):
        if count == most:
            reason = f"more than {most} findings in the image, each layer and name of a file counted"
            skipped.append(Skipped(None, None, f"{reason}; the rest was left out {named('findings-image')}"))
            return
        yield item


def _order(finding: Finding) -> tuple[object, ...]:
    place = finding.path if finding.path is not None else f"\uffff{finding.where}"
    return (
        -finding.severity.rank,
        place,
        finding.member or "",
        -1 if finding.added_in is None else finding.added_in,
        finding.line or 0,
        finding.rule,
        finding.secret.fingerprint,
        finding.secret.masked,
    )


def _numbered(findings: Iterable[Finding]) -> list[Finding]:
    """Give equal secrets one ordinal, and findings that would share an id a number."""
    ordinals: dict[Secret, str] = {}
    seen: dict[str, int] = {}
    result = []
    for finding in findings:
        secret_id = ordinals.setdefault(finding.secret, f"s{len(ordinals) + 1}")
        seen[finding.id] = seen.get(finding.id, 0) + 1
        suffix = f"-{seen[finding.id]}" if seen[finding.id] > 1 else ""
        result.append(replace(finding, secret_id=secret_id, id=finding.id + suffix))
    return result


def finding_id(rule: str, place: str, member: str | None, secret: Secret) -> str:
    """Return an id that is the same on every machine and depends on no line or layer."""
    text = "\0".join((rule, place, member or "", f"{secret.fingerprint:05x}"))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def display(path: str) -> str:
    """Return a path as it is shown: absolute, bytes that are not UTF-8 escaped."""
    return "/" + _escaped(path)


def _escaped(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


# --- files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Holding:
    """A name (an entry of its own or a hard link) of the file version `content`, which holds a secret."""

    version: FileVersion
    content: FileVersion
    match: LayerMatch


def _in_files(
    stack: Stack,
    holdings: Iterable[_Holding],
    history: Sequence[HistoryStep],
    ruleset: Ruleset,
    shown: Callable[[str], str],
) -> Iterator[Finding]:
    held: dict[tuple[str, str | None, Secret], list[_Holding]] = {}
    for holding in holdings:
        path = stack.records[holding.version.layer].listing.paths[holding.version.entry]
        held.setdefault((path, holding.match.member, holding.match.secret), []).append(holding)
    rules = ruleset.by_id
    stack.packages.read(path for path, _, _ in held)
    for (path, _, _), own in held.items():
        for run in _runs(stack.trace, sorted(own, key=lambda h: (h.version.layer, h.version.entry))):
            yield _shown(_file_finding(stack, history, rules, path, run), shown)


def _shown(finding: Finding, shown: Callable[[str], str]) -> Finding:
    """Mask the secrets in the names that lead to a finding."""
    package = finding.package
    path, member = shown(finding.path or ""), finding.member and shown(finding.member)
    return replace(
        finding,
        id=finding_id(finding.rule, path, member, finding.secret),
        path=path,
        member=member,
        package=package and replace(package, name=shown(package.name), version=shown(package.version)),
    )


def _holdings(stack: Stack) -> Iterator[_Holding]:
    """Yield every match under every name of its file: the entry's own and those of hard links to it."""
    names = _names(stack)
    for layer, record in enumerate(stack.records):
        for match in record.matches:
            own = FileVersion(layer, match.entry)
            for version in (own, *names.get(own, ())):
                yield _Holding(version, own, match)


def _names(stack: Stack) -> dict[FileVersion, list[FileVersion]]:
    names: dict[FileVersion, list[FileVersion]] = {}
    for layer, record in enumerate(stack.records):
        for entry in record.listing.links:
            if record.listing.kinds[entry] == EntryKind.HARDLINK:
                name = FileVersion(layer, entry)
                content = stack.trace.content(name)
                if content is not None:
                    names.setdefault(content, []).append(name)
    return names


def _runs(trace: FileHistory, holdings: Sequence[_Holding]) -> Iterator[list[_Holding]]:
    """Split the versions that hold one secret where it was gone in between: each run is one finding.

    A version that is overwritten by one that holds the secret too was only touched.
    """
    run: list[_Holding] = []
    for holding in holdings:
        if run and run[-1].version != holding.version:
            fate = trace.fate(run[-1].version.layer, run[-1].version.entry)
            if not (isinstance(fate, Overwritten) and fate.by == holding.version.layer):
                yield run
                run = []
        run.append(holding)
    yield run


def _file_finding(
    stack: Stack, history: Sequence[HistoryStep], rules: dict[str, Rule], path: str, run: Sequence[_Holding]
) -> Finding:
    last = run[-1].version
    match = max((h.match for h in run if h.version == last), key=lambda m: (rules[m.rule].specificity, -(m.line or 0)))
    rule = rules[match.rule]
    content = next(h.content for h in run if h.match is match)
    package = stack.packages.package_of(path, stack.records[content.layer].checksums.get(content.entry))
    added_in = run[0].version.layer
    fate = stack.trace.fate(last.layer, last.entry)
    hidden_in = fate.by if isinstance(fate, Overwritten | Deleted) else None
    state = {Overwritten: State.OVERWRITTEN, Deleted: State.DELETED}.get(type(fate), State.PRESENT)
    shown = display(path)
    return Finding(
        id=finding_id(rule.id, shown, match.member, match.secret),
        rule=rule.id,
        name=rule.name,
        provider=rule.provider,
        detector=rule.detector,
        severity=rule.severity,
        confidence=match.confidence if rule.is_token else provenance_confidence(match.confidence, path, package),
        state=state,
        path=shown,
        where=None,
        member=match.member,
        decoded=match.decoded,
        line=match.line,
        added_in=added_in,
        added_by=_step_text(stack, history, added_in),
        hidden_in=hidden_in,
        hidden_by=None if hidden_in is None else _step_text(stack, history, hidden_in),
        inherited=added_in < stack.base_layers,
        secret=match.secret,
        secret_id="",
        held_by=tuple(sorted({h.content for h in run})),
        check=match.check,
        package=package,
        revoke=rule.revoke,
    )


def provenance_confidence(confidence: Confidence, path: str, package: Package | None) -> Confidence:
    """Lower the confidence in a key, a password or a guess by where its file comes from.

    Low in a file that a package brought and nobody changed, and in test data of packages; one step lower under
    node_modules, and in tests, examples and documentation.
    """
    if (package is not None and package.unmodified) or file_class(path) is FileClass.THIRD_PARTY_TESTS:
        return Confidence.LOW
    steps = (package is not None and package.manager == "npm") + bool(_SAMPLES.search(path))
    order = (Confidence.LOW, Confidence.MEDIUM, Confidence.HIGH)
    return order[max(confidence.rank - steps, 0)]


def _step_text(stack: Stack, history: Sequence[HistoryStep], layer: int) -> str | None:
    step = step_of_layer(stack.step_layers, layer)
    return None if step is None else history[step].created_by


# --- metadata --------------------------------------------------------------------------------------------------------


def _spoken(text: MetadataText) -> str:
    """Return a text as it is searched: what it is assigned to comes first."""
    return f"{text.key}={text.value}" if text.key else text.value


def _in_metadata(
    stack: Stack,
    history: Sequence[HistoryStep],
    found: Iterable[tuple[MetadataText, list[Match]]],
    seal: Callable[[Secret], Secret],
) -> Iterator[Finding]:
    seen: set[tuple[str, Secret]] = set()
    settings = _settings(history)
    for text, items in found:
        for item in sorted(items, key=lambda f: f.rule.specificity, reverse=True):
            # `Cmd` and `Cmd[1]`, and a legacy `container_config`, say the same once more.
            place = text.where if ".Env[" in text.where else _INDEX.sub("", text.where)
            key = (place.replace("container_config.", "config."), item.secret)
            if key not in seen:
                seen.add(key)
                yield _metadata_finding(stack, history, settings, text, replace(item, secret=seal(item.secret)))


def _metadata_finding(
    stack: Stack,
    history: Sequence[HistoryStep],
    settings: Mapping[tuple[str, str], int],
    text: MetadataText,
    item: Match,
) -> Finding:
    rule = item.rule
    step = text.step if text.step is not None else _setting_step(text, settings)
    layer = stack.step_layers[step] if step is not None else None
    return Finding(
        # Without its numbers, which shift with each step or variable that a build adds before it.
        id=finding_id(rule.id, _NUMBER.sub("[]", text.where), None, item.secret),
        rule=rule.id,
        name=rule.name,
        provider=rule.provider,
        detector=rule.detector,
        severity=rule.severity,
        confidence=item.confidence,
        state=State.METADATA,
        path=None,
        where=text.where,
        added_in=layer,
        added_by=history[step].created_by if step is not None else None,
        inherited=step is not None and _step_inherited(stack, step),
        secret=item.secret,
        secret_id="",
        check=item.check,
        revoke=rule.revoke,
    )


def _settings(history: Sequence[HistoryStep]) -> dict[tuple[str, str], int]:
    """Return the last step that sets a name, by ENV or LABEL and the last word of the name."""
    return {
        (instruction, name): at
        for at, step in enumerate(history)
        for instruction in ("ENV", "LABEL")
        if instruction in (step.created_by or "")
        for name in _SETTING.findall(step.created_by or "")
    }


def _header_finding(stack: Stack, history: Sequence[HistoryStep], secret: HeaderSecret) -> Finding:
    rule, item = secret.found.rule, secret.found
    return Finding(
        id=finding_id(rule.id, _NUMBER.sub("[]", secret.where), None, secret.secret),
        rule=rule.id,
        name=rule.name,
        provider=rule.provider,
        detector=rule.detector,
        severity=rule.severity,
        confidence=item.confidence if rule.is_token else provenance_confidence(item.confidence, secret.path, None),
        state=State.METADATA,
        path=None,
        where=secret.where,
        entry_path=display(secret.path),
        added_in=secret.added_in,
        added_by=_step_text(stack, history, secret.added_in),
        hidden_in=secret.hidden_in,
        hidden_by=None if secret.hidden_in is None else _step_text(stack, history, secret.hidden_in),
        inherited=secret.added_in < stack.base_layers,
        secret=secret.secret,
        secret_id="",
        held_by=secret.held_by,
        check=item.check,
        revoke=rule.revoke,
    )


def _setting_step(text: MetadataText, settings: Mapping[tuple[str, str], int]) -> int | None:
    """Return the last step that sets an environment variable or a label, None where none says so."""
    kind, _, rest = text.where.removeprefix("config.").partition(".")
    if kind.startswith("Env["):
        return settings.get(("ENV", text.value.partition("=")[0].rpartition(" ")[2]))
    return settings.get(("LABEL", rest.rpartition(" ")[2])) if kind == "Labels" else None


def _step_inherited(stack: Stack, step: int) -> bool:
    """A step is the base's where a layer of the base is made by it or by a later step."""
    return step <= stack.last_base_step


def _masked_history(
    history: Sequence[HistoryStep],
    found: Iterable[tuple[MetadataText, list[Match]]],
    shown: Callable[[str], str],
    most: int,
) -> tuple[HistoryStep, ...]:
    """Mask every secret in the history's texts, those of low confidence too. What was not searched is not shown."""
    masked = [
        replace(
            step,
            created=step.created and shown(step.created[:most]),
            created_by=step.created_by and step.created_by[:most],
            comment=step.comment[:most],
        )
        for step in history
    ]
    for text, items in found:
        if text.step is None or text.step >= len(masked) or not items:
            continue
        masked_value = masked_text(text.value, items)
        match text.where.rpartition(".")[2]:
            case "created_by":
                masked[text.step] = replace(masked[text.step], created_by=masked_value)
            case "comment":
                masked[text.step] = replace(masked[text.step], comment=masked_value)
    return tuple(masked)


def _masked_config(config: Any, secrets: Iterable[Secret], shown: Callable[[str], str]) -> dict[str, Any]:
    """Return a config's own keys with every secret of the metadata masked, wherever it stands."""
    masker = SecretReplacer(secrets)

    def masked(value: Any) -> Any:
        if isinstance(value, list):
            return [masked(item) for item in value]
        if isinstance(value, dict):  # of ports, volumes and labels the keys are what is shown
            return {shown(key): masked(item) for key, item in value.items()}
        return masker.masked(value) if isinstance(value, str) else value

    return masked(config) if isinstance(config, dict) else {}
