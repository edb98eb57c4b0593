"""Registries: sweeps, store, dashboard, service; needs the extra `fleet`.

This package knows nothing of the command line.
"""
