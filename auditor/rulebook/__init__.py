"""Rule authoring: check, prove, examples, generated pages.

This package knows nothing of images and layers.
"""
