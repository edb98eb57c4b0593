"""Plausibility of values and class of files; README.md lists the heuristics.

This package does not know rules, matches or layers: it gets a value, its line and a path.
"""
