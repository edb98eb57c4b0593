"""Sweeps of whole registries: find the images, scan each layer once, store the findings, publish and notify.

Subpackages, lowest first: `store`, `discovery`, `execution`, `service`; `dashboard` reads the store alone. They need
the extra `fleet`, and must not know the command line.
"""
