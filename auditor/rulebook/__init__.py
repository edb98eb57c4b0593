"""Rule authoring: examples of rules, checks of rule files, the page of a rule.

This package does not know scans or findings, and no scan depends on it.
"""
