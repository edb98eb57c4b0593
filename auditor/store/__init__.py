"""The cache of layer records, and the reasons to trust a digest.

This package knows nothing of findings and of file history.
"""
