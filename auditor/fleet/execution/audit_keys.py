"""Audit keys: digests of everything besides the image that its findings depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

from auditor.core import cache_keys
from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.limits import AUDITS
from auditor.core.options import Exclusions, RegistryOptions
from auditor.fleet.discovery.candidates import Candidate
from auditor.fleet.execution.attestor import is_attestable
from auditor.fleet.execution.plan import SweepPlan

_DIGITS = 32  # 128 bits


@dataclass(frozen=True, slots=True)
class _SelectionKey:
    """A selection as JSON values, whether it depends on the names of images, and the key of an image without more.

    `basis` is the digest of all on which a sweep depends besides the contents of the registry.
    """

    values: dict[str, object]
    depends_on_names: bool
    plain: str
    basis: str


class AuditKeys:
    """Audit keys of the images of one sweep. An image with an equal key is not audited again."""

    def __init__(self, plan: SweepPlan, ruleset: str) -> None:
        self._plan = plan
        self._shared = [ruleset, cache_keys.AUDITS.key, plan.base, plan.endpoint.limits.differences(AUDITS)]
        self._selections: dict[Exclusions, _SelectionKey] = {}

    def basis(self, settings: RegistryOptions) -> str:
        """Return a text that changes with the filter, and with the audit key of any image under these settings."""
        return self._of(settings).basis

    def of(self, settings: RegistryOptions, candidate: Candidate, indexes: Callable[[], Sequence[Digest]]) -> str:
        """Return the key of an image in a repository with these settings.

        `indexes` returns those that list the image, which are attested too.
        """
        selection = self._of(settings)
        is_attested = self._plan.attestor is not None and is_attestable(candidate)
        if not (candidate.attestations or selection.depends_on_names or is_attested):
            return selection.plain
        attested = [item.digest for item in candidate.attestations]
        parts: list[object] = [selection.values, attested, candidate.tags if selection.depends_on_names else ()]
        if self._plan.attestor is not None and is_attested:
            parts += [self._plan.attestor.key, indexes()]
        return self._digest(parts)

    def _of(self, settings: RegistryOptions) -> _SelectionKey:
        if settings.exclude not in self._selections:
            self._selections[settings.exclude] = self._selection(settings)
        return self._selections[settings.exclude]

    def _selection(self, settings: RegistryOptions) -> _SelectionKey:
        selection = self._plan.selection_for(settings)
        values = {name: getattr(selection, name) for name in selection.__slots__}
        plain: dict[str, object] = {
            name: sorted(map(str, value)) if isinstance(value, frozenset) else str(value)
            for name, value in values.items()
        }
        depends_on_names = bool(selection.exclude_images) or any(item.image for item in selection.ignore)
        attestor = None if self._plan.attestor is None else self._plan.attestor.key
        basis = self._digest([self._plan.scope_digest, plain, attestor])
        return _SelectionKey(plain, depends_on_names, self._digest([plain, [], ()]), basis)

    def _digest(self, parts: Sequence[object]) -> str:
        text = json.dumps([*self._shared, *parts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
