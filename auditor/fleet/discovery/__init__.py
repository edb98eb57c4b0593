"""Discovery of a registry's images: repositories, tags, and manifests, with as few requests as possible.

It must not know how layers are scanned, nor how sweeps are scheduled.
"""
