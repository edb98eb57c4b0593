"""Fixes of the problems of a Dockerfile, each proven by another check before it counts.

This package must not build or run anything; the command line alone writes the fixed files.
"""
