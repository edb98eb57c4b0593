"""Name and version of the program; the build reads the version from here."""

PROGRAM = "image-audit"
__version__ = "0.1.0"


def install_hint(extra: str) -> str:
    """Return the sentence that names the command which installs an extra."""
    return f"Run in a clone of {PROGRAM}: pip install '.[{extra}]'"
