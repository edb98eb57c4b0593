"""Entries of a layer, history of all file versions of a stack of layers, file trees.

This package knows nothing of rules, secrets and transports.
"""
