"""The OCI distribution client: authentication, catalog, blobs, push; and the HTTP stack of the whole program.

This package knows digests and references, and neither the structure of images nor the files in them.
"""
