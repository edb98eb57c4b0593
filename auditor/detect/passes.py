"""Who searches for expressions: Vectorscan, or Python, where no wheel of it is or IMAGE_AUDIT_MATCHER=python says so.

Both have the same `Pass` and `loaded`. `MADE_BY` names the Vectorscan that made what is kept; None: nothing is kept.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

IS_FAST = find_spec("hyperscan") is not None and os.environ.get("IMAGE_AUDIT_MATCHER") != "python"
SLOW = "hyperscan is not installed: secrets are looked for in Python, which finds the same and takes many times as long"
"""What the user should know where not IS_FAST."""

if TYPE_CHECKING or IS_FAST:
    from auditor.detect.vectorscan import MADE_BY, Pass, loaded
else:
    from auditor.detect.fallback import MADE_BY, Pass, loaded

__all__ = ["IS_FAST", "MADE_BY", "SLOW", "Pass", "loaded"]
