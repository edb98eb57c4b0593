"""The words of code and prose, and how much a piece of text looks like one."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

# Written where a value is wanted, and none.
_NO_VALUES = """
adgangskode contraseña contrasena haslo hasło heslo jelszó kennwort kodeord lösenord parola parole passord passwort
salasana senha sifre şifre wachtwoord пароль 密码 密碼 パスワード 비밀번호
ascii base64 hex latin1 proxypass repopwd utf-8 utf8
admin admin123 administrator any api_key apikey array ask bar basic baz bearer blank bool boolean byte bytes
censored changeit char community compat credential credentials data default dict digest disabled double
empty enabled env example false file files float foo foobar guest hello hidden id incorrect input int
integer invalid key ldap letmein list login map masked missing mongo mongodb must-be-changed mysql name nan
nil none null number object optional oracle pass pass123 passcode passphrase passw0rd passwd password
password1 password123 plain postgres private prompt public pwd qux rabbitmq redacted redis removed required
return root s3cret sa scram-sha-256 secret secret123 secret_key secretkey secrets self sss stdin str string
systemd tbd test test123 testing testpass testpassword tests text this todo token tokens tomcat topsecret
true type undefined unknown unset user user123 user:pass user:password username username:password value
varchar void world wrong
"""
# Words of names, which a pass phrase would not be made of.
_OF_NAMES = """
and arg args auth change check config confirm credential credentials current default env error field file
form get handler has hash helper id input invalid is key keys label login manager message must name new not
old option options param params pass passwd password passwords path provider required reset secret secrets
service set settings should string text the token tokens type url user username users util validate value
var verify
"""
NO_VALUES = frozenset(_NO_VALUES.split())
OF_NAMES = frozenset(_OF_NAMES.split())
_PART = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^A-Za-z0-9]+")


@functools.cache
def words() -> frozenset[str]:
    """Return the words that many packages of Debian, PyPI and npm use, in lower case."""
    return frozenset(Path(__file__).with_name("words.txt").read_text("ascii").split())


def parts(text: str) -> list[str]:
    """Cut an identifier at its seams: `getUserID_2` gives get, User, ID, _ and 2."""
    return _PART.findall(text)


def is_word(part: str) -> bool:
    """Say whether letters are a known word, its plural, or a past or a running form of it."""
    word = part.lower()
    return len(word) < 3 or any(stem in words() for stem in _stems(word))


def reads_like_words(text: str) -> bool:
    """Say whether at least 3 of 4 letters belong to words, known ones or such as could be pronounced."""
    pieces = [part for part in parts(text) if part.isalpha()]
    letters = sum(map(len, pieces))
    known = sum(len(part) for part in pieces if len(part) > 2 and (is_word(part) or fluency(part) > -3.0))
    return letters > 0 and known / letters >= 0.75


@functools.lru_cache(4096)
def fluency(text: str) -> float:
    """Return the mean log-probability, in nats, of a letter given the one before it; -3.3 is pure chance."""
    letters = [char for char in text.lower() if "a" <= char <= "z"]
    if len(letters) < 2:
        return -3.3
    table = _bigrams()
    return sum(table[a + b] for a, b in pairwise(letters)) / (len(letters) - 1)


@functools.cache
def _bigrams() -> dict[str, float]:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    pairs = Counter(a + b for word in words() for a, b in pairwise(word))
    table = {}
    for first in alphabet:
        total = sum(pairs[first + second] + 0.5 for second in alphabet)
        for second in alphabet:
            table[first + second] = math.log((pairs[first + second] + 0.5) / total)
    return table


def _stems(word: str) -> tuple[str, ...]:
    return tuple(word.removesuffix(end) for end in ("", "s", "es", "d", "ed", "ing", "er", "ly"))
