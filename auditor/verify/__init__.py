"""Liveness of secrets: one request to the provider of each.

This package knows findings and rules, and neither images nor reports.
"""

from auditor.verify.verifier import Verifier, verified

__all__ = ["Verifier", "verified"]
