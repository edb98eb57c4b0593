"""Baselines: the findings that are known and accepted, in a YAML file for review. docs/baseline.md describes it.

An entry silences the finding with its id, which survives a rebuild. Everything else in it is for the reader, save
`expires`, and `images`: an entry is gone only where an image was audited that held its finding.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from auditor.core.finding import Finding, State
from auditor.core.output_file import write_output
from auditor.core.text import printable
from auditor.core.yaml_file import Node, load
from auditor.findings.selection import By, names_of, untagged
from auditor.images.source import Image
from auditor.pipeline import Audit, BaselineUse

SCHEMA = "image-audit-baseline/1"
_KEYS = ("id", "rule", "path", "where", "state", "images", "added", "reason", "expires")
_HEAD = """\
# Findings that are known and accepted: `image-audit scan TARGET --baseline FILE` does not show them.
# Say in `reason` why, and in `expires` until when (a date). `image-audit baseline audit FILE` asks for both.
"""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - two equal dates are two dates to the reader
        return True


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted finding; it holds to the end of the day `expires`."""

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
        """The path, or the place in the metadata."""
        return self.path or self.where or "?"

    def has_expired(self, today: datetime.date) -> bool:
        """Whether it silences nothing any more."""
        return self.expires is not None and self.expires < today


@dataclass(frozen=True, slots=True)
class Update:
    """A baseline brought up to date, and how many of its entries are new, kept, and left out."""

    baseline: Baseline
    new: int
    kept: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline file."""

    path: Path
    entries: tuple[Entry, ...] = ()

    def live(self, today: datetime.date) -> frozenset[str]:
        """Return the ids of the findings that it silences."""
        return frozenset(entry.id for entry in self.entries if not entry.has_expired(today))

    def use(self, audits: Sequence[Audit], today: datetime.date) -> BaselineUse:
        """Say what became of its entries in a run: which have expired, and which silence what is there no more."""
        gone = _gone(self.entries, audits)
        return BaselineUse(
            str(self.path),
            tuple(entry.id for entry in self.entries if entry.has_expired(today) and entry.id not in gone),
            tuple(entry.id for entry in self.entries if entry.id in gone),
        )

    def updated(self, audits: Sequence[Audit], known: Iterable[Entry], today: datetime.date) -> Update:
        """Return it with every finding of a run that is shown, or that a baseline silences.

        Entries keep their reason and expiry; so do those that `known` has, of another baseline. What is gone is left
        out.
        """
        old = {entry.id: entry for entry in self.entries}
        before = {**{entry.id: entry for entry in known}, **old}
        now = dict(_entries(audits, today))
        gone = _gone(self.entries, audits)
        entries = {key: entry for key, entry in old.items() if key not in gone}
        for key, entry in now.items():
            entries[key] = _merged(before[key], entry) if key in before else entry
        new = len(now.keys() - old.keys())
        return Update(
            replace(self, entries=tuple(entries.values())), new, len(entries) - new, len(old.keys() - entries.keys())
        )

    def save(self) -> None:
        """Write the file, sorted by place, all at once. Raises UsageError."""
        listed = sorted(self.entries, key=lambda entry: (entry.place, entry.rule, entry.id))
        document = {"schema": SCHEMA, "findings": [_plain(entry) for entry in listed]}
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        write_output(
            self.path, _HEAD + yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120)
        )


def load_baseline(path: Path) -> Baseline:
    """Read a baseline. Raises ConfigError, which names the line."""
    root = load(path)
    if root is None:
        return Baseline(path)
    keys = root.mapping(("schema", "findings"))
    if "schema" not in keys or keys["schema"].text() != SCHEMA:
        root.fail(f"no baseline: want `schema: {SCHEMA}`")
    entries = dict[str, Entry]()
    for item in keys["findings"].items() if "findings" in keys else ():
        entry = _parse(item)
        if entry.id in entries:
            item.fail(f"two entries have the id {entry.id}")
        entries[entry.id] = entry
    return Baseline(path, tuple(entries.values()))


def _parse(node: Node) -> Entry:
    keys = node.mapping(_KEYS)
    for key in ("id", "rule"):
        if key not in keys:
            node.fail(f"{key!r} is missing")
    return Entry(
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


def _plain(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "rule": entry.rule,
        **({"path": entry.path} if entry.path is not None else {"where": entry.where}),
        "state": str(entry.state),
        "images": list(entry.images),
        "added": entry.added,
        "reason": entry.reason,
        "expires": entry.expires,
    }


def _entries(audits: Sequence[Audit], today: datetime.date) -> Iterator[tuple[str, Entry]]:
    """Yield an entry for each finding that is shown, or that a baseline silences; one for several images."""
    found, images = dict[str, Entry](), dict[str, set[str]]()
    for audit in audits:
        name = name_of(audit.image)
        silenced = (item.finding for item in audit.ignored if item.by is By.BASELINE)
        for finding in (*audit.findings, *silenced):
            found[finding.id] = _entry(finding, name, today)
            images.setdefault(finding.id, set()).add(printable(name))
    for key, entry in found.items():
        yield key, replace(entry, images=tuple(sorted(images[key])))


def _entry(finding: Finding, image: str, today: datetime.date) -> Entry:
    path, where = (None if text is None else printable(text) for text in (finding.path, finding.where))
    return Entry(finding.id, finding.rule, path, where, finding.state, (printable(image),), today)


def _merged(old: Entry, new: Entry) -> Entry:
    images = tuple(sorted({*old.images, *new.images}))
    return replace(new, images=images, added=old.added, reason=old.reason, expires=old.expires)


def _gone(entries: Iterable[Entry], audits: Sequence[Audit]) -> set[str]:
    """Return the ids of entries whose images were audited, with their rule, and hold them no more."""
    rules: dict[str, set[str]] = {}
    for audit in audits:
        rules.setdefault(printable(name_of(audit.image)), set()).update(audit.ruleset.by_id)
    every = set[str]().union(*rules.values())
    ids = frozenset[str]().union(*(audit.ids for audit in audits))
    return {
        entry.id
        for entry in entries
        if entry.id not in ids
        and (any(entry.rule in rules.get(image, ()) for image in entry.images) if entry.images else entry.rule in every)
    }


def name_of(image: Image) -> str:
    """Return the name, without tag, that an image shares with its next build."""
    return untagged(min(names_of(image)))
