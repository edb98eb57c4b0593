"""From one layer's bytes to its record: entries, matches, skipped items.

This package knows nothing of images and other layers.
"""

from auditor.scan.record import LayerMatch, LayerRecord
from auditor.scan.scanner import Scanner

__all__ = ["LayerMatch", "LayerRecord", "Scanner"]
