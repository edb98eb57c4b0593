"""From a target to images, with manifest, config and layer streams; one module for each transport.

This package knows nothing of the content of layers.
"""
