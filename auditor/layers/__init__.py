"""Entries of a layer, file history of a stack, file trees.

This package knows nothing of rules and secrets.
"""
