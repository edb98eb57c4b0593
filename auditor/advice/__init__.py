"""Remedies: revoke, fix the build, flatten.

This package knows nothing of report formats.
"""
