"""Secrets and near misses in the grammar of languages, tools and files: `dialects.txt`, filled with fresh values."""

from __future__ import annotations

import base64
import random
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from auditor.rulebook.examples import fill

_PASSWORDS = (
    "db password",
    "smtp passwd",
    "admin pass",
    "keystore passphrase",
    "password",
    "mysql pwd",
    "ftp password",
)
_TOKENS = (
    "api token", "client secret", "auth token", "api key", "access key", "jwt secret", "acme token", "secret",
    "session secret", "encryption key", "refresh token", "bot token", "webhook secret", "acme api key", "token",
)  # fmt: skip
_KEYS = ("vendor key", "integration key", "billing key", "acme key", "mailer key")
_NAMES = {"password": _PASSWORDS, "token": _TOKENS, "key": _KEYS}
_VALUES = (
    "{hex:32}", "{hex:40}", "{base62:31}{digits:1}", "{base62:39}{digits:1}", "{base62:23}{digits:1}", "{alnum:32}",
    "{base64url:42}{digits:1}", "{uuid}", "{base64:43}=", "{hex:64}", "{base62:19}{digits:1}", "{alnum:40}",
)  # fmt: skip
_KEY_VALUES = tuple(value for value in _VALUES if value not in ("{uuid}", "{base62:19}{digits:1}"))
_WORDS = ("Winter", "harbor", "Falcon", "mango", "Ostrich", "granite", "Velvet", "pixel", "Quasar", "timber")
_LETTERS = string.ascii_letters + string.digits
_SIGNS = _LETTERS + "!@#%^*-_=+~"
_MARKS = str.maketrans("⏎⇥␛", "\n\t\x1b")
_STYLES = re.compile(r"\{(UPPER|snake|camel|Pascal|kebab|dotted)\}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """A file with one secret, or a near miss, whose `secret` is None. `row` is the template, for messages."""

    family: str
    path: str
    text: str
    secret: str | None
    row: str


def dialects(source: random.Random) -> Iterator[Dialect]:
    """Yield a file for each template, or one for each kind of name where the template has a name."""
    for row in Path(__file__).with_name("dialects.txt").read_text().splitlines():
        if row.startswith("#"):
            continue
        family, path, template = row.split("\t", 2)
        for kind in _NAMES if _STYLES.search(template) else ("password",):
            filled = _filled(template, kind, source).translate(_MARKS)
            before, mark, rest = filled.partition("«")
            secret, _, after = rest.partition("»")
            text = re.sub("[«»]", "", before + secret + after if mark else filled) + "\n"
            yield Dialect(family.lstrip("-"), path, text, secret if mark else None, row)


def _filled(template: str, kind: str, source: random.Random) -> str:
    words = source.choice(_NAMES[kind]).split()
    camel = words[0] + "".join(word.capitalize() for word in words[1:])
    styles = {
        "UPPER": "_".join(words).upper(), "snake": "_".join(words), "camel": camel,
        "Pascal": camel[0].upper() + camel[1:], "kebab": "-".join(words), "dotted": ".".join(words),
    }  # fmt: skip
    text = re.sub(r"\{(\w+)\}", lambda match: _made(kind, source).get(match[1], match[0]), template)
    text = _STYLES.sub(lambda match: styles[match[1]], text)
    text = re.sub(r"\{nopad:([^{}]*)\}", lambda match: _unpadded(match[1], source), text)
    return fill(text, source.getrandbits(40))


def _unpadded(template: str, source: random.Random) -> str:
    """Return a login in base64 without the padding that some clients leave out."""
    return fill("{base64of:" + template + "}", source.getrandbits(40)).rstrip("=")


def _made(kind: str, source: random.Random) -> dict[str, str]:
    """Return values of each shape: as people choose passwords, and as generators do, for quotes, shells, XML, URLs."""
    word = source.choice(_WORDS) + str(source.randrange(100, 9999))
    chosen = word + source.choice("!.-_+") + source.choice(("", "x", "Z9"))
    mixed = _drawn(source, _SIGNS, 16)
    binary = base64.b64encode(source.randbytes(31)).decode()
    values = _KEY_VALUES if kind == "key" else _VALUES
    token = fill(source.choice(values), source.getrandbits(40))
    return {
        "secret": source.choice((chosen, mixed, _drawn(source, _LETTERS, 14))) if kind == "password" else token,
        "secret_xml": source.choice((chosen, _drawn(source, _LETTERS, 14))) if kind == "password" else token,
        "bare": source.choice((chosen, _drawn(source, _LETTERS, 14))) if kind == "password" else token,
        "secret_pw_xml": chosen,
        "pw": chosen,
        "bare_pw": chosen,
        "mixed": mixed,
        "mixed_bare": _drawn(source, _LETTERS + "!@%^*-_=+~", 16),
        "pct": quote(word + "@" + source.choice("/:#?") + _drawn(source, _LETTERS, 4), safe=""),
        "at": f"{word}@{_drawn(source, _LETTERS, 4)}",
        "base64pct": quote(binary, safe=""),
    }  # fmt: skip


def _drawn(source: random.Random, alphabet: str, length: int) -> str:
    """Draw characters, of which the second is a digit: rules take a value without one for a word."""
    rest = "".join(source.choice(alphabet) for _ in range(length - 2))
    return source.choice(_LETTERS) + source.choice(string.digits) + rest
