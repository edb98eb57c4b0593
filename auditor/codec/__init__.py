"""Byte formats: tar, compression, digests, JSON of manifests, file signatures.

This package knows nothing of images, layers and rules.
"""
