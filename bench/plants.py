"""Secrets to plant: of every rule, fresh, over several paths, encodings and fates."""

from __future__ import annotations

import base64
import gzip
import io
import random
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from auditor.detect.examples import fill, outline
from auditor.detect.proof import path_for
from auditor.detect.rules import Rule, load_file
from auditor.model import Confidence, State

FATES = (State.PRESENT, State.DELETED, State.OVERWRITTEN)
_FOLDERS = (
    "srv/app{n}/settings.conf",
    "home/u{n}/.env",
    "opt/app{n}/src/config.py",
    "var/lib/app{n}/state.json",
    "usr/local/etc/app{n}/app.yml",
)
_ABOVE = "# kept by the operations team\nmode = production\nworkers = 4\n"


def _zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conf/app.env", data)
    return out.getvalue()


# What it is packed in, and whether lines are still counted.
ENCODINGS: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
    "plain": (lambda data: data, True),
    "utf-16": (lambda data: b"\xff\xfe" + data.decode().encode("utf-16le"), True),
    "base64": (lambda data: b"data: " + base64.b64encode(data) + b"\n", False),
    "gzip": (lambda data: gzip.compress(data, mtime=0), True),
    "zip": (_zipped, True),
}


_WHOLE = re.compile(r"(?:\(\?[a-z]+\))?\\A")  # a pattern of a file as a whole


@dataclass(frozen=True, slots=True)
class Plant:
    """A secret, where it is put, and what has to be said of it. `line` is None where lines are not counted."""

    family: str
    rule: Rule
    secret: str
    text: str
    state: State
    encoding: str = "plain"
    path: str | None = None
    line: int | None = None
    above: str = _ABOVE

    @property
    def content(self) -> bytes:
        """The bytes of its file."""
        return ENCODINGS[self.encoding][0]((self.above + self.text.removesuffix("\n") + "\n").encode())

    @property
    def confidence(self) -> Confidence:
        """What the finding must at least be: rules that only hint are not held to more."""
        return min(self.rule.confidence, Confidence.MEDIUM, key=lambda confidence: confidence.rank)


def plants(files: Iterable[Path], source: random.Random) -> list[Plant]:
    """Return two plants or more of each rule: one that is plain and present, and others by turns."""
    made: list[Plant] = []
    for path in files:
        for rule in load_file(path):
            for turn, template in enumerate((rule.examples[0], *rule.examples[:2])):
                plant = _plant(path.stem, rule, template, turn, len(made), source)
                if plant:
                    made.append(plant)
    return made


def _plant(family: str, rule: Rule, template: str, turn: int, number: int, source: random.Random) -> Plant | None:
    text = fill(template, source.getrandbits(40))
    secret = _secret(rule, text)
    if outline(template) == template and turn:
        return None  # The kind of file itself is the secret: there is one of it.
    if turn == 2 and rule.is_token and "\n" not in text and "^" not in rule.pattern[:6]:
        return Plant(family, rule, secret, text, State.METADATA)
    state = source.choice(FATES) if turn else State.PRESENT
    encoding = source.choice(list(ENCODINGS)) if turn and rule.is_token else "plain"
    path = _path(rule, number)
    if turn and rule.paths and f"/p{number}/" not in path:
        return None  # A file of a fixed place is there once.
    above = "" if _WHOLE.match(rule.pattern) else _ABOVE
    counted = ENCODINGS[encoding][1] and "\0" not in text
    line = 1 + (above + text[: max(text.find(secret), 0)]).count("\n") if counted else None
    return Plant(family, rule, secret, text, state, encoding, path, line, above)


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
