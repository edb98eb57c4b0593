"""Which installed package brought a file, and whether it is still as the package brought it."""

from auditor.provenance.packages import Packages

__all__ = ["Packages"]
