"""Secrets to plant: of every rule, fresh, over several paths, ways to hold a text, places and fates."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

from auditor.core.finding import Confidence, State
from auditor.detect.rules import Rule, load_file
from auditor.rulebook.example_check import path_for
from auditor.rulebook.examples import fill, outline
from bench.metadata import ONCE, PLACES
from bench.ways import REPOSITORIES, WAYS, Way

FATES = (State.PRESENT, State.DELETED, State.OVERWRITTEN)
_FOLDERS = (
    "srv/app{n}/settings.conf",
    "home/u{n}/.env",
    "opt/app{n}/src/config.py",
    "var/lib/app{n}/state.json",
    "usr/local/etc/app{n}/app.yml",
)
_ABOVE = "# kept by the operations team\nmode = production\nworkers = 4\n"
_WHOLE = re.compile(r"(?:\(\?[a-z]+\))?\\A")  # a pattern of a file as a whole


@dataclass(frozen=True, slots=True)
class Plant:
    """A secret, where it is put, and what has to be said of it.

    `how` is a way to hold a text, or a place in the metadata; `path` is None there, and in a repository's history one
    within the repository. `line` is None where lines are not counted.
    """

    family: str
    rule: Rule
    secret: str
    text: str
    state: State
    how: str = "plain"
    path: str | None = None
    line: int | None = None
    above: str = _ABOVE

    @property
    def way(self) -> Way:
        """How its file holds it."""
        return WAYS[self.how]

    @property
    def content(self) -> bytes:
        """The bytes of its file."""
        return self.way.pack((self.above + self.text.removesuffix("\n") + "\n").encode())

    @property
    def confidence(self) -> Confidence:
        """What the finding must at least be: rules that only hint are not held to more."""
        return min(self.rule.confidence, Confidence.MEDIUM, key=lambda confidence: confidence.rank)


def plants(files: Iterable[Path], source: random.Random) -> list[Plant]:
    """Return two plants or more of each rule: one that is plain and present, and others by turns."""
    made: list[Plant] = []
    places = chain(ONCE, (source.choice(PLACES) for _ in repeat(None)))
    for path in files:
        for rule in load_file(path):
            for turn, template in enumerate((rule.examples[0], *rule.examples[:2])):
                plant = _plant(path.stem, rule, template, turn, len(made), source, places)
                if plant:
                    made.append(plant)
    return made


def near_misses(files: Iterable[Path], source: random.Random) -> list[Plant]:
    """Return the counterexamples of each rule whose secret is known by its own shape, as files to be left alone."""
    return [
        Plant(path.stem, rule, "", fill(template, source.getrandbits(40)), State.PRESENT, path=f"{path.stem}/{number}")
        for path in files
        for rule in load_file(path)
        if rule.is_token
        for number, template in enumerate(rule.counterexamples)
    ]


def _plant(
    family: str, rule: Rule, template: str, turn: int, number: int, source: random.Random, places: Iterator[str]
) -> Plant | None:
    text = fill(template, source.getrandbits(40))
    secret = _secret(rule, text)
    if outline(template) == template and turn:
        return None  # The kind of file itself is the secret: there is one of it.
    if turn == 2 and rule.is_token and "\n" not in text and "^" not in rule.pattern[:6]:
        return Plant(family, rule, secret, text, State.METADATA, next(places))
    how = source.choice(list(WAYS)) if turn and rule.is_token and "\0" not in text else "plain"
    state = source.choice(FATES) if turn else State.PRESENT
    path = _path(rule, number) + WAYS[how].ending
    if turn and rule.paths and f"/p{number}/" not in path:
        return None  # A file of a fixed place is there once.
    if how in REPOSITORIES:
        state = State.DELETED if how == "git pack" else State.PRESENT
    above = "" if _WHOLE.match(rule.pattern) else _ABOVE
    counted = WAYS[how].counted and "\0" not in text
    line = 1 + (above + text[: max(text.find(secret), 0)]).count("\n") if counted else None
    return Plant(family, rule, secret, text, state, how, path, line, above)


def _secret(rule: Rule, text: str) -> str:
    """Return what the rule's pattern takes for the secret. What the rest of the detector makes of it is on trial."""
    match = re.search(rule.pattern.encode(), text.encode())
    if not match:
        return text
    group = "secret" if match.re.groupindex.get("secret") and match["secret"] is not None else 0
    return match[group].decode("utf-8", "replace")


def _path(rule: Rule, number: int) -> str:
    if not rule.paths:
        return _FOLDERS[number % len(_FOLDERS)].format(n=number)
    path = path_for(rule)
    return path.replace("srv/", f"srv/p{number}/", 1) if path.startswith("srv/") else path
