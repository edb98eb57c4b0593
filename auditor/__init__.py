"""Find secrets that can still be read from the layers of a container image, and remove them.

    from auditor import audit

    for finding in audit("layer2").findings:
        print(finding.severity, finding.path, finding.state, finding.added_by)

docs/api.md describes the API.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from auditor.core.version import __version__ as __version__

if TYPE_CHECKING:
    from auditor.api.audit import Options, Report, audit
    from auditor.core.errors import AuditError
    from auditor.core.finding import Confidence, Finding, Severity, State
    from auditor.findings.secret_groups import SecretGroup, Verdict
    from auditor.pipeline import Audit

_MODULES = {
    "Audit": "pipeline",
    "AuditError": "core.errors",
    "Confidence": "core.finding",
    "Finding": "core.finding",
    "Options": "api.audit",
    "Report": "api.audit",
    "SecretGroup": "findings.secret_groups",
    "Severity": "core.finding",
    "State": "core.finding",
    "Verdict": "findings.secret_groups",
    "audit": "api.audit",
}
__all__ = [
    "Audit",
    "AuditError",
    "Confidence",
    "Finding",
    "Options",
    "Report",
    "SecretGroup",
    "Severity",
    "State",
    "Verdict",
    "audit",
]


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that `import auditor` and the command line's help are fast (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"auditor.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
