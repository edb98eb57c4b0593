"""Name and version of the program; the build reads the version from here."""

PROGRAM = "image-audit"
__version__ = "0.1.0"
