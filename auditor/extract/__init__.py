"""Members of archives, packages, databases and git repositories, and decoded text.

This package knows nothing of rules, layers and images.
"""
