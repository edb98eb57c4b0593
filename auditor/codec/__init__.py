"""Byte formats: tar, compression, file signatures, overlapping windows, digests, JSON documents of images.

This package knows nothing of transports, layer stacks and rules.
"""
