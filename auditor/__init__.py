"""Find the secrets that can still be dug out of a container image, and get rid of them.

    from auditor import audit

    for finding in audit("layer2").findings:
        print(finding.severity, finding.path, finding.state, finding.added_by)

docs/api.md describes what there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.core.version import __version__ as __version__

if TYPE_CHECKING:
    from auditor.api.audit import Options, Report, audit
    from auditor.core.errors import AuditError
    from auditor.core.finding import Confidence, Finding, Severity, State
    from auditor.pipeline import Audit

_HOMES = {
    "Audit": "pipeline",
    "AuditError": "core.errors",
    "Confidence": "core.finding",
    "Finding": "core.finding",
    "Options": "api.audit",
    "Report": "api.audit",
    "Severity": "core.finding",
    "State": "core.finding",
    "audit": "api.audit",
}
__all__ = [
    "Audit",
    "AuditError",
    "Confidence",
    "Finding",
    "Options",
    "Report",
    "Severity",
    "State",
    "audit",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, so that `import auditor` and the command line's help cost nothing (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"auditor.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
