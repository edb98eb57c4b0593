"""The git pre-push hook: its installation, its audit and its message.

This package knows nothing of click and exit codes.
"""
