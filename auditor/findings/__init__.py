"""Matches with image context: state, masks, selection, baselines.

This package knows nothing of report formats.
"""
