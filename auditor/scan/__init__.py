"""The costly half: one layer's bytes and a ruleset to a `LayerRecord`, a pure function."""

from auditor.scan.record import Checksums, LayerRecord, Match
from auditor.scan.scanner import Scanner

__all__ = ["Checksums", "LayerRecord", "Match", "Scanner"]
