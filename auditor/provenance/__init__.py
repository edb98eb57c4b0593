"""Which package installed a file.

This package knows nothing of secrets.
"""

from auditor.provenance.packages import Packages

__all__ = ["Packages"]
