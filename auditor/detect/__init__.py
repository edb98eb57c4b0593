"""Bytes to matches: rules, matching engine, confirmation, heuristics.

This package knows nothing of images and layers.
"""
