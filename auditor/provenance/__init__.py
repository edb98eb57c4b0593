"""Package owners: which installed package a file belongs to, by the package databases of an image.

This package knows nothing of rules, secrets and findings.
"""

from auditor.provenance.packages import Packages

__all__ = ["Packages"]
