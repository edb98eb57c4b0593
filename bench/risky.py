"""Risky lines of all kinds, written without a look at the rules: `risky.txt`."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

from auditor.rulebook.examples import fill

_WORDS = ("Winter", "harbor", "Falcon", "mango", "Ostrich", "granite", "Velvet", "pixel", "Quasar", "timber")
_WEAK = ("monkey1987", "iloveyou2much", "sup3rman!", "tr0ub4dor", "summer2019", "blink182", "p4ssw0rd!x", "starwars77")
_SIGNS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789!@#%^&*()-_=+"


@dataclass(frozen=True, slots=True)
class Risky:
    """A secret on a line, from 1, of a file."""

    path: str
    line: int
    secret: str


def risky_files(source: random.Random) -> tuple[dict[str, str], list[Risky]]:
    """Return files of risky lines, with fresh values, and where the secrets stand in them."""
    files: dict[str, list[str]] = {}
    made = []
    for row in Path(__file__).with_name("risky.txt").read_text().splitlines():
        if row.startswith("#"):
            continue
        name, _, template = row.partition("\t")
        path = f"risky/{name}"
        before, secret, after = re.split("[«»]", _fresh(template, source))
        lines = files.setdefault(path, [])
        made.append(Risky(path, len(lines) + 1 + before.count("\n"), secret))
        lines += (before + secret + after).split("\n")
    return {path: "\n".join(lines) + "\n" for path, lines in files.items()}, made


def _fresh(template: str, source: random.Random) -> str:
    text = re.sub(r"\{pw\}", lambda _: _password(source), template.replace("⏎", "\n"))
    text = re.sub(r"\{mixed\}", lambda _: "".join(source.choice(_SIGNS) for _ in range(16)), text)
    text = re.sub(r"\{weak\}", lambda _: f"{source.choice(_WEAK)}{source.randrange(10, 99)}", text)
    return fill(text, source.getrandbits(40))


def _password(source: random.Random) -> str:
    end = source.choice(("", "x", "Z9"))
    return f"{source.choice(_WORDS)}{source.randrange(10, 9999)}{source.choice('!#.-_?+')}{end}"
