"""One OCI distribution client: HTTP, retry, authentication, address guard, push.

This package knows nothing of images and files in them.
"""
