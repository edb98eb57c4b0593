"""Audit keys: digests of everything besides the image that its findings depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from auditor.core import cache_keys
from auditor.core.digests import Digest
from auditor.core.limits import AUDITS
from auditor.core.options import RegistryOptions
from auditor.fleet.discovery.candidates import Candidate
from auditor.fleet.execution.attestor import is_attestable
from auditor.fleet.execution.plan import SweepPlan


class AuditKeys:
    """Audit keys of the images of one sweep. An image with an equal key is not audited again."""

    def __init__(self, plan: SweepPlan, ruleset: str) -> None:
        self._plan = plan
        self._shared = [ruleset, cache_keys.AUDITS.key, plan.base, plan.endpoint.limits.differences(AUDITS)]
        self._selections: dict[str, tuple[dict[str, object], bool]] = {}

    def of(self, settings: RegistryOptions, candidate: Candidate, indexes: Sequence[Digest]) -> str:
        """Return the key of an image in a repository with these settings. `indexes` list it, and are attested too."""
        selection, depends_on_names = self._selection(settings)
        attested = [item.digest for item in candidate.attestations]
        parts: list[object] = [*self._shared, selection, attested, candidate.tags if depends_on_names else ()]
        if self._plan.attestor is not None and is_attestable(candidate):
            parts += [self._plan.attestor.key, indexes]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _selection(self, settings: RegistryOptions) -> tuple[dict[str, object], bool]:
        """Return the selection as JSON values, and whether it depends on the names of images."""
        key = repr(settings.exclude)
        if key not in self._selections:
            selection = self._plan.selection_for(settings)
            values = {name: getattr(selection, name) for name in selection.__slots__}
            plain: dict[str, object] = {
                name: sorted(map(str, value)) if isinstance(value, frozenset) else str(value)
                for name, value in values.items()
            }
            depends_on_names = bool(selection.exclude_images) or any(item.image for item in selection.ignore)
            self._selections[key] = (plain, depends_on_names)
        return self._selections[key]
