"""Baselines: accepted findings in a YAML file for review (docs/baseline.md).

An entry silences the finding with its id, which survives a rebuild of the image, until `expires`. An entry has vanished
if one of its `images` was audited and no longer has the finding. All other keys are for the reader.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from auditor.core.dataclass import dataclass
from auditor.core.finding import Finding, State
from auditor.core.output_file import write_output
from auditor.core.text import printable

if TYPE_CHECKING:
    from auditor.core.yaml_file import YamlValue

SCHEMA = "image-audit-baseline/1"
_KEYS = ("id", "rule", "path", "where", "state", "images", "added", "reason", "expires")
_HEAD = """\
# Accepted findings, which `image-audit scan TARGET --baseline FILE` does not show. Give the reason in `reason`, and
# the last day in `expires`. `image-audit baseline audit FILE` asks for both.
"""


@dataclass(frozen=True, slots=True)
class BaselineEntry:
    """One accepted finding, until the end of the day `expires`."""

    id: str
    rule: str
    path: str | None
    where: str | None
    state: str
    images: tuple[str, ...]
    added: datetime.date | None = None
    reason: str = ""
    expires: datetime.date | None = None

    @property
    def place(self) -> str:
        """Path, or place in the metadata."""
        return self.path or self.where or "?"

    def has_expired(self, today: datetime.date) -> bool:
        """Whether the entry no longer silences its finding."""
        return self.expires is not None and self.expires < today


@dataclass(frozen=True, slots=True)
class ImageFindings:
    """Findings of one audited image as a baseline needs them.

    `name` is shared with the next build of the image (`image_names.name_without_tag`), `rules` are the ids of the rules
    searched for, and `ids` those of all findings. `findings` are the shown ones and those silenced by a baseline.
    """

    name: str
    rules: frozenset[str]
    ids: frozenset[str]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class BaselineUse:
    """Ids of a baseline's expired entries, and of those with findings that have vanished from their images."""

    file: str
    expired: tuple[str, ...]
    vanished: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BaselineUpdate:
    """An updated baseline, with the numbers of new, kept and dropped entries."""

    baseline: Baseline
    new: int
    kept: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """Entries of a baseline file."""

    path: Path
    entries: tuple[BaselineEntry, ...] = ()

    def active_ids(self, today: datetime.date) -> frozenset[str]:
        """Return the ids of the findings that the baseline silences."""
        return frozenset(entry.id for entry in self.entries if not entry.has_expired(today))

    def use(self, images: Sequence[ImageFindings], today: datetime.date) -> BaselineUse:
        """Return the expired entries and those with vanished findings in a run."""
        vanished = _vanished(self.entries, images)
        return BaselineUse(
            str(self.path),
            tuple(entry.id for entry in self.entries if entry.has_expired(today) and entry.id not in vanished),
            tuple(entry.id for entry in self.entries if entry.id in vanished),
        )

    def updated(
        self, images: Sequence[ImageFindings], known: Iterable[BaselineEntry], today: datetime.date
    ) -> BaselineUpdate:
        """Return the baseline with an entry for each finding of a run, and without vanished ones.

        Entries keep their reason and expiry. `known` are entries of another baseline, with reasons to take over.
        """
        old = {entry.id: entry for entry in self.entries}
        known_by_id = {**{entry.id: entry for entry in known}, **old}
        now = _entries(images, today)
        vanished = _vanished(self.entries, images)
        entries = {key: entry for key, entry in old.items() if key not in vanished}
        for key, entry in now.items():
            entries[key] = _merged(known_by_id[key], entry) if key in known_by_id else entry
        new = len(now.keys() - old.keys())
        return BaselineUpdate(
            replace(self, entries=tuple(entries.values())), new, len(entries) - new, len(old.keys() - entries.keys())
        )

    def save(self) -> None:
        """Write the file atomically, sorted by place. Raises UsageError."""
        listed = sorted(self.entries, key=lambda entry: (entry.place, entry.rule, entry.id))
        document = {"schema": SCHEMA, "findings": [_document(entry) for entry in listed]}
        write_output(self.path, _HEAD + _yaml().dump_yaml(document))


def _yaml() -> ModuleType:
    from auditor.core import yaml_file  # PyYAML takes 15 ms, which a run without a baseline need not pay

    return yaml_file


def load_baseline(path: Path) -> Baseline:
    """Read a baseline. Raises ConfigError with the line."""
    root: YamlValue | None = _yaml().load_yaml(path)
    if root is None:
        return Baseline(path)
    keys = root.mapping(("schema", "findings"))
    if "schema" not in keys or keys["schema"].text() != SCHEMA:
        root.fail(f"not a baseline: the key `schema: {SCHEMA}` is missing")
    entries = dict[str, BaselineEntry]()
    for item in keys["findings"].items() if "findings" in keys else ():
        entry = _parse(item)
        if entry.id in entries:
            item.fail(f"the id {entry.id} is repeated. Remove one of the entries")
        entries[entry.id] = entry
    return Baseline(path, tuple(entries.values()))


def _parse(node: YamlValue) -> BaselineEntry:
    keys = node.mapping(_KEYS)
    for key in ("id", "rule"):
        if key not in keys:
            node.fail(f"{key!r} is missing")
    return BaselineEntry(
        keys["id"].text(),
        keys["rule"].text(),
        keys["path"].text() if "path" in keys else None,
        keys["where"].text() if "where" in keys else None,
        keys["state"].one_of([*State]) if "state" in keys else State.PRESENT,
        keys["images"].texts() if "images" in keys else (),
        keys["added"].date() if "added" in keys else None,
        keys["reason"].text(empty=True) if "reason" in keys else "",
        keys["expires"].date() if "expires" in keys else None,
    )


def _document(entry: BaselineEntry) -> dict[str, Any]:
    location = {key: text for key, text in (("path", entry.path), ("where", entry.where)) if text is not None}
    return {
        "id": entry.id,
        "rule": entry.rule,
        **(location or {"where": None}),
        "state": str(entry.state),
        "images": list(entry.images),
        "added": entry.added,
        "reason": entry.reason,
        "expires": entry.expires,
    }


def _entries(images: Iterable[ImageFindings], today: datetime.date) -> dict[str, BaselineEntry]:
    """Return an entry by id for each finding, one for several images."""
    entries, names = dict[str, BaselineEntry](), dict[str, set[str]]()
    for image in images:
        for finding in image.findings:
            entries[finding.id] = _entry(finding, today)
            names.setdefault(finding.id, set()).add(printable(image.name))
    return {key: replace(entry, images=tuple(sorted(names[key]))) for key, entry in entries.items()}


def _entry(finding: Finding, today: datetime.date) -> BaselineEntry:
    path, where = (None if text is None else printable(text) for text in (finding.path, finding.where))
    return BaselineEntry(finding.id, finding.rule, path, where, finding.state, (), today)


def _merged(old: BaselineEntry, new: BaselineEntry) -> BaselineEntry:
    images = tuple(sorted({*old.images, *new.images}))
    return replace(new, images=images, added=old.added, reason=old.reason, expires=old.expires)


def _vanished(entries: Iterable[BaselineEntry], images: Sequence[ImageFindings]) -> set[str]:
    """Return the ids of entries missing in a run that audited one of their images with their rule."""
    rules: dict[str, set[str]] = {}
    for image in images:
        rules.setdefault(printable(image.name), set()).update(image.rules)
    all_rules = set[str]().union(*rules.values())
    ids = frozenset[str]().union(*(image.ids for image in images))

    def was_searched(entry: BaselineEntry) -> bool:
        if not entry.images:
            return entry.rule in all_rules
        return any(entry.rule in rules.get(name, ()) for name in entry.images)

    return {entry.id for entry in entries if entry.id not in ids and was_searched(entry)}
