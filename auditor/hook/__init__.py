"""The git pre-push hook.

This package knows nothing of the command line.
"""
