"""The built-in rules by the names of their files. A test for each rule costs pytest more than the rule itself."""

from __future__ import annotations

import re

from auditor.core.package_data import data_path
from auditor.detect.rule_files import rule_files
from auditor.detect.rules import builtin_rules

RULES = builtin_rules()
_BY_ID = {rule.id: rule for rule in RULES}
RULES_BY_FILE = {
    path.stem: [_BY_ID[rule_id] for rule_id in re.findall(r"^- id: (\S+)", path.read_text(), re.MULTILINE)]
    for path in rule_files(data_path("rules"))
}
