"""Config file and options, resolved into one value.

This package knows nothing of how options are used.
"""
