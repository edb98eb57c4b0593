"""Flatten and recover: plan, write, prove.

This package knows nothing of report formats.
"""
