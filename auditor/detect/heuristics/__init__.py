"""Plausibility of a value: file class, word lists, placeholders.

This package knows nothing of rules.
"""
