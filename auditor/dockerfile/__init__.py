"""Problems of a Dockerfile before the build, and the line of a Dockerfile for each finding of its image.

This package must not know registries, nor build or run anything.
"""
