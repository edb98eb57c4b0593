"""One layer to a record: entries, matches, skipped items.

This package knows nothing of other layers of the image.
"""

from auditor.scan.record import LayerMatch, LayerRecord
from auditor.scan.scanner import Scanner

__all__ = ["LayerMatch", "LayerRecord", "Scanner"]
