"""Fuzz one target until told to stop: `python -m fuzz.one TARGET [libFuzzer options] FOLDER`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["auditor"]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Hand the target over to libFuzzer, which ends the process."""
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
