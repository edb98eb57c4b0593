"""A target to manifest, config and layer streams; one module a transport.

This package knows nothing of what a layer holds.
"""
