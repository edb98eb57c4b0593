"""First `.image-audit.yaml` of a repository, with comments."""

from __future__ import annotations

import json
from collections.abc import Iterable

_TEMPLATE = """\
# Options of image-audit for this repository. Every key: docs/configuration.md of image-audit.

# Images that the pre-push hook audits. Globs match tags: "app:*".
images:{images}

# Dockerfiles that the hook checks; `image-audit dockerfile FILE` checks one.
dockerfiles:{dockerfiles}

# Exit with 1 on a finding of this severity or above: critical, high, medium, low or never.
fail_on: high

# Leave out findings below this confidence: high, medium or low.
min_confidence: medium

# Findings that you accept: `image-audit scan IMAGE --write-baseline .image-audit-baseline.yaml` writes the file.
# baseline: .image-audit-baseline.yaml

# Files, by absolute paths in the image, and rules that are left out.
# exclude:
#   paths: ["/usr/share/doc/**"]
#   rules: [generic-password]

# Single findings that are ignored, with a reason and a last day.
# ignore:
#   - path: /opt/vendor/**
#     rule: "private-*"
#     reason: keys of the vendor's examples
#     expires: 2027-06-30

# With `strict: true`, missing images and unread parts stop a push too.
# hook: {{strict: false}}
"""


def starter_text(images: Iterable[str], dockerfiles: Iterable[str]) -> str:
    """Return the text of the file."""
    return _TEMPLATE.format(images=_items(images), dockerfiles=_items(dockerfiles))


def _items(values: Iterable[str]) -> str:
    """Return a YAML list. A JSON string is a YAML string."""
    lines = [f"\n  - {json.dumps(value, ensure_ascii=False)}" for value in values]
    return "".join(lines) or " []"
