"""Who searches for expressions: Vectorscan, or Python, where it can't be had or IMAGE_AUDIT_MATCHER=python says so.

Both have the same `Pass` and `loaded`. `MADE_BY` names the Vectorscan that made what is kept; None: nothing is kept.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

SLOW = "without hyperscan secrets are looked for in Python: the same ones are found, many times more slowly"
"""What the user should know where not IS_FAST."""

if TYPE_CHECKING:
    from auditor.detect.vectorscan import MADE_BY, Pass, loaded

    IS_FAST = True
else:
    try:
        if os.environ.get("IMAGE_AUDIT_MATCHER") == "python":
            raise ImportError
        from auditor.detect.vectorscan import MADE_BY, Pass, loaded
    except ImportError:
        from auditor.detect.python_matcher import MADE_BY, Pass, loaded
    IS_FAST = MADE_BY is not None

__all__ = ["IS_FAST", "MADE_BY", "SLOW", "Pass", "loaded"]
