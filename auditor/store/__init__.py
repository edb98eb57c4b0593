"""The cache: records, reasons to trust a digest.

This package knows nothing of the state of files.
"""
