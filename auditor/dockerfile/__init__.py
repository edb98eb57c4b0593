"""Dockerfiles before the build, and beside an image's history.

This package knows nothing of registries.
"""
