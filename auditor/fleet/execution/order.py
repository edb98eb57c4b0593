"""What is to be swept, and how; and what the findings of an image depend on besides its bytes."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from auditor.config.file import Registry
from auditor.core import cache_keys
from auditor.core.limits import AUDITS
from auditor.findings.selection import Selection
from auditor.fleet.discovery.candidates import Candidate
from auditor.fleet.discovery.catalog import Choice, Scope
from auditor.fleet.execution.engine import Source
from auditor.fleet.store.layer_records import DEFAULT_BYTES


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be swept, and how. `clock` returns the time as RFC 3339 in UTC.

    With `fresh`, nothing that was kept is used: every layer is read again, every image audited again.
    """

    scope: Scope
    choice: Choice
    source: Source
    clock: Callable[[], str]
    selection: Selection = field(default_factory=Selection)
    platform: str | None = None
    base: str | None = None
    parallel: int = 8
    fresh: bool = False
    record_bytes: int = DEFAULT_BYTES

    @property
    def scope_digest(self) -> str:
        """Tells sweeps of the same from sweeps of other things."""
        choice = {**asdict(self.choice), "registries": {k: asdict(v) for k, v in self.choice.registries.items()}}
        listed = sorted(map(str, self.scope.listed))
        text = json.dumps([str(self.scope), listed, choice, self.platform], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def choice_text(self) -> str | None:
        """The options that leave out a part of the registry, as the user wrote them; None where none does."""
        options = {
            "--from": [self.scope.source],
            "--repos": self.choice.repos,
            "--tags": self.choice.tags,
            "--newest": [self.choice.newest],
            "--platform": [self.platform],
        }
        given = [(name, value) for name, values in options.items() for value in values if value]
        return " ".join(f"{name} {shlex.quote(str(value))}" for name, value in given) or None

    def selection_for(self, rules: Registry) -> Selection:
        """Return the selection, with what the config file leaves out of a part of the registry."""
        exclude = rules.exclude
        return replace(
            self.selection,
            exclude_paths=(*self.selection.exclude_paths, *exclude.paths),
            exclude_rules=self.selection.exclude_rules | set(exclude.rules),
            exclude_images=(*self.selection.exclude_images, *exclude.images),
        )


class AuditKeys:
    """Names all that an image's findings depend on, besides its bytes: equal names, equal findings."""

    def __init__(self, order: Order, ruleset: str) -> None:
        self._order = order
        self._shared = [ruleset, cache_keys.AUDITS.key, order.base, order.source.limits.differences(AUDITS)]
        self._selections: dict[str, tuple[dict[str, object], bool]] = {}

    def of(self, rules: Registry, candidate: Candidate) -> str:
        """Return the name for an image of a part of the registry with rules of its own."""
        plain, by_name = self._plain(rules)
        attested = [item.digest for item in candidate.attestations]
        parts = [*self._shared, plain, attested, candidate.tags if by_name else ()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _plain(self, rules: Registry) -> tuple[dict[str, object], bool]:
        """Return a selection as plain values, and whether it depends on images' names."""
        key = repr(rules.exclude)
        if key not in self._selections:
            selection = self._order.selection_for(rules)
            values = {name: getattr(selection, name) for name in selection.__slots__}
            plain: dict[str, object] = {
                name: sorted(map(str, value)) if isinstance(value, frozenset) else str(value)
                for name, value in values.items()
            }
            by_name = bool(selection.exclude_images) or any(item.image for item in selection.ignore)
            self._selections[key] = (plain, by_name)
        return self._selections[key]
