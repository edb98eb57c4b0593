"""Files of rules, and the key of values that depend on the built-in ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

from auditor.core import cache_keys
from auditor.core.package_data import data_path


def rule_files(root: Path) -> list[Path]:
    """Return the YAML files of a folder, sorted; or the file itself."""
    return sorted((*root.rglob("*.yaml"), *root.rglob("*.yml"))) if root.is_dir() else [root]


def builtin_rules_key() -> str:
    """Return a digest of the files of the built-in rules and of the code that reads them."""
    state = hashlib.sha256(cache_keys.RULES.key.encode())
    for path in rule_files(data_path("rules")):
        state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()
