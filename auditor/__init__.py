"""Find the secrets that can still be dug out of a container image, and get rid of them."""

__version__ = "0.1.0"
