"""Files inside files: archives, packages, encodings.

This package knows nothing of rules and images.
"""

from auditor.extract.extractor import Piece, Unpacker

__all__ = ["Piece", "Unpacker"]
