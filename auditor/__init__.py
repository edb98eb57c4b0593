"""Find the secrets that can still be dug out of a container image, and get rid of them.

    from auditor import audit

    for finding in audit("layer2").findings:
        print(finding.severity, finding.path, finding.state, finding.added_by)

docs/api.md describes what there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditor.api import Options, Report, audit
    from auditor.errors import AuditError
    from auditor.model import Confidence, Finding, Severity, State
    from auditor.pipeline import Audit

__version__ = "0.1.0"

_HOMES = {
    "Audit": "pipeline",
    "AuditError": "errors",
    "Confidence": "model",
    "Finding": "model",
    "Options": "api",
    "Report": "api",
    "Severity": "model",
    "State": "model",
    "audit": "api",
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
