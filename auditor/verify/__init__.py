"""Is a secret still active: requests to providers.

This package knows nothing of images.
"""

from auditor.verify.verifier import Verifier, verified

__all__ = ["Verifier", "verified"]
