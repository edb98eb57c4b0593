"""Plausibility: heuristics that tell a real password or token from placeholders, code, hashes and words.

Keyword rules go by the words around a value, so their matches are judged here. Each heuristic has a name and rejects
one kind of value, in files of a minimum class: see README.md in this folder.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable

from auditor.core.dataclass import dataclass
from auditor.core.finding import Confidence
from auditor.detect.heuristics import patterns
from auditor.detect.heuristics.file_class import FileClass, file_class
from auditor.detect.heuristics.word_lists import (
    identifier_words,
    is_word,
    parts,
    placeholder_words,
    reads_like_random_letters,
    reads_like_words,
    weak_passwords,
)


@dataclass(frozen=True, slots=True)
class Heuristic:
    """A test that rejects one kind of value.

    `rejects(value, line)` gets the value and the line that holds it. It applies in files of `min_class` and higher.
    A `guessable` value may be a real password, and is reported with a low confidence.
    """

    name: str
    reason: str
    min_class: FileClass
    rejects: Callable[[str, str], bool]
    guessable: bool = False


def rejecting_heuristic(value: str, line: str, path: str) -> Heuristic | None:
    """Return the first heuristic that rejects a value; None where it is plausible as a secret.

    `line` is the line that holds the value; `path` that of the file, or "" for text of the metadata.
    """
    line = _printable_part(value, line)
    for heuristic in applied_heuristics(file_class(path)):
        if heuristic.rejects(value, line):
            return heuristic
    return None


def guessable_confidence(value: str, line: str, path: str) -> Confidence:
    """Return the confidence in a guessable value: medium for a password in a file made for credentials, else low."""
    made_for_it = file_class(path) is FileClass.CREDENTIALS and not _is_token_by_name(value, line)
    return Confidence.MEDIUM if made_for_it else Confidence.LOW


@functools.cache
def applied_heuristics(kind: FileClass) -> tuple[Heuristic, ...]:
    """Return the heuristics for files of a class, in the order of their application."""
    return tuple(heuristic for heuristic in HEURISTICS if kind >= heuristic.min_class)


def entropy(text: str) -> float:
    """Return the Shannon entropy of the characters, in bits a character."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values()) if text else 0.0


def looks_random(value: str) -> bool:
    """Tell whether a text looks drawn at random: long, of several kinds of characters, not made of words."""
    if patterns.CONSTANT.match(value):
        return False
    kinds = sum(any(test(char) for char in value) for test in (str.islower, str.isupper, str.isdigit))
    if len(value) < 16 or kinds < 2:
        return False
    if value.isalpha():
        return reads_like_random_letters(value) and entropy(value) >= 3.4
    if not any(map(str.isdigit, value)) or reads_like_words(value):
        return False
    if re.fullmatch(r"[0-9A-Fa-f-]+", value):
        return len(value) >= 20 and entropy(value) >= 3.0
    return entropy(value) >= 3.4


# Parts of a line


def _printable_part(value: str, line: str) -> str:
    """Cut a line of binary data to the printable text around the value."""
    at = line.find(value)
    if at < 0 or line.isprintable():
        return line
    before = patterns.CONTROL.split(line[:at])[-1]
    return before + value + patterns.CONTROL.split(line[at + len(value) :])[0]


def _text_before(value: str, line: str) -> str:
    at = line.find(value)
    return line[max(0, at - 80) : at] if at > 0 else ""


def _is_token_by_name(value: str, line: str) -> bool:
    """Tell whether the name before the value is that of a token, which is generated, not of a password."""
    before = _text_before(value, line)
    return bool(re.search(r"(?i)secret|token|key", before)) and not re.search(r"(?i)pass|pwd|pw\b", before)


def _is_unquoted(value: str, line: str) -> bool:
    at = line.find(value)
    if at < 1 or line[at - 1] in "\"'`:/@" or patterns.OTHER_QUOTE.search(line[max(0, at - 6) : at]):
        return False
    return not any(line.count(quote, 0, at) % 2 for quote in "\"'`")


# Heuristics


def _placeholder(value: str, _: str) -> bool:
    bare = value.strip().strip("\"'`")
    return (
        bare.lower() in placeholder_words()
        or bool(patterns.PLACEHOLDER.match(bare) or patterns.PUBLISHED.search(bare))
        or len(set(bare)) < 4
        or bool(patterns.TEMPLATE.fullmatch(bare))
        or any(bare.upper() in sequence for sequence in patterns.ALPHABETS)
    )


def _weak_password(value: str, _: str) -> bool:
    return value.strip().lower() in weak_passwords()


def _reference(value: str, _: str) -> bool:
    call = patterns.CALL.match(value)
    others = (patterns.FILE_NAME, patterns.FORM_RULES, patterns.COMMANDLET)
    if patterns.REFERENCE.search(value) or any(other.match(value) for other in others):
        return True
    return call is not None and reads_like_words(call[1])


def _example_address(value: str, line: str) -> bool:
    """Reject the password of a URL with an example host, or with a placeholder user and a word as password."""
    at = line.find(value + "@")
    if at < 1 or line[at - 1] != ":":
        return False
    begin = at + len(value) + 1
    host = line[begin : begin + patterns.MAX_HOST]
    if patterns.EXAMPLE_HOST.match(host):
        return True
    user = re.split(r"[/\s]", line[max(0, at - 1 - patterns.MAX_HOST) : at - 1])[-1].lower()
    return user in patterns.EXAMPLE_USERS and not looks_random(value) and _words(value, line)


def _structured(value: str, _: str) -> bool:
    if patterns.CHARACTER_CLASS.search(value):
        return True
    shapes = (
        patterns.URL,
        patterns.HASH,
        patterns.PUBLIC_KEY,
        patterns.DATE_OR_NUMBER,
        patterns.ALGORITHM,
        patterns.WORDS,
    )
    if any(shape.match(value) for shape in shapes):
        return True
    return bool(patterns.PATH.match(value)) and not looks_random(value)


def _digest(value: str, line: str) -> bool:
    return bool(patterns.HASH_OR_KEY.fullmatch(value)) and bool(patterns.DIGEST_NAME.search(line.lower()))


def _binary(value: str, _: str) -> bool:
    return bool(patterns.CONTROL.search(value))


def _markup(value: str, _: str) -> bool:
    return bool(patterns.MARKUP.search(value))


def _other_name(value: str, line: str) -> bool:
    before = _text_before(value, line)
    if patterns.GETTER.search(before) and not looks_random(value):
        return True
    return bool(patterns.OTHER_NAME.search(before) or patterns.AWS_NAME.search(before))


def _plain_key(value: str, line: str) -> bool:
    """Reject a fingerprint, and a value under the name of some key unless it is long and drawn at random."""
    before = _text_before(value, line)
    if patterns.FINGERPRINT.fullmatch(value) and patterns.FINGERPRINT_NAME.search(before):
        return True
    if not patterns.PLAIN_KEY.search(before):
        return False
    return len(value) < 20 or bool(patterns.UUID.match(value)) or not looks_random(value)


def _list_item(value: str, line: str) -> bool:
    """Reject a name that follows the name of a secret in a list, or the key that follows such a value."""
    before = _text_before(value, line)
    comma = patterns.LIST.search(before)
    if comma is None:
        return False
    if patterns.KEY_END.match(line, line.find(value) + len(value)):
        return True
    is_listed = "\n" in comma[0] or value.isupper()
    is_name = bool(patterns.NAME.match(value)) and reads_like_words(value)
    return (value.isalpha() and value.islower()) or (is_listed and is_name and not looks_random(value))


def _sequence(value: str, _: str) -> bool:
    return len(patterns.SEQUENCE.sub("", value)) <= len(value) // 2


def _password_name(value: str, _: str) -> bool:
    return bool(patterns.PASSWORD_NAME.match(value))


def _word(value: str, _: str) -> bool:
    return value.isalpha() and is_word(value)


def _identifier(value: str, line: str) -> bool:
    """Reject words that form a name. A pass phrase is made of words too, but of others."""
    if not _words(value, line):
        return False
    pieces = [part.lower() for part in parts(value) if part.isalpha()]
    if _is_token_by_name(value, line):
        return True
    if any(piece in identifier_words() for piece in pieces):
        return True
    return bool(patterns.ATTRIBUTE_CHAIN.match(value)) and len(pieces) > 1


def _sentence(value: str, line: str) -> bool:
    """Reject an unquoted word that more words follow."""
    at = line.find(value)
    if at <= 0 or line[at - 1] in "\"'`=:/" or not _words(value, line):
        return False
    return bool(re.match(r"[.,;:]?[ \t]+[a-z]+[ \t.,;]", line[at + len(value) :]))


def _weak_token(value: str, line: str) -> bool:
    if not _is_token_by_name(value, line):
        return False
    return len(value) < 6 or entropy(value) < 2.25 or _words(value, line) or _numbered_words(value)


def _type_name(value: str, line: str) -> bool:
    """Reject an unquoted `Base64URLString` in place of a token. A weak password is in lower case."""
    if not value.isalnum() or (value.islower() and len(value) > 8):
        return False
    return (
        value.isidentifier()
        and _is_token_by_name(value, line)
        and _is_unquoted(value, line)
        and reads_like_words(value)
    )


def _minified_code(value: str, line: str) -> bool:
    """Reject values on very long lines, where code and text tables follow one another without separators."""
    if len(line) <= 1000:
        return False
    return not looks_random(value) or _is_unquoted(value, line) or bool(patterns.CODE.search(value))


def _expression(value: str, line: str) -> bool:
    """Reject a value without quotes: in code it is an expression, but in a comment or note it may be a secret."""
    if not _is_unquoted(value, line):
        return False
    if not looks_random(value) or "." in value:
        return True
    at = line.find(value)
    return line[at - 1] in " \t" and not (
        patterns.NOTE.search(line[:at]) and patterns.LINE_END.match(line, at + len(value))
    )


def _words(value: str, _: str) -> bool:
    return not any(map(str.isdigit, value)) and reads_like_words(value)


def _numbered_words(value: str) -> bool:
    """Tell whether a value is a name of words and short numbers, such as `btn-primary-24`."""
    numbers = re.findall(r"\d+", value)
    is_short = max(map(len, numbers), default=0) <= 2 and len("".join(numbers)) <= 4
    is_name = bool(re.search(r"[-_./: ]|[a-z0-9][A-Z][a-z]", value)) and reads_like_words(value)
    return (is_short and is_name) or bool(patterns.NUMBERED_NAME.match(value))


def _code(value: str, _: str) -> bool:
    return bool(patterns.IDENTIFIER.match(value) or (patterns.CODE.search(value) and not looks_random(value)))


def _not_random(value: str, line: str) -> bool:
    if patterns.UUID.match(value) or not looks_random(value):
        return True
    return _is_unquoted(value, line) and bool(re.search(r"[$*:;]", value))


def _always(_value: str, _line: str) -> bool:
    return True


HEURISTICS = (
    # First the two that settle most values: packages have the most files.
    Heuristic(
        "third-party-tests", "test, documentation or download of a package", FileClass.THIRD_PARTY_TESTS, _always
    ),
    Heuristic("not-random", "not random enough for a package's file or for prose", FileClass.THIRD_PARTY, _not_random),
    Heuristic("placeholder", "a placeholder, or a password of documentation", FileClass.CREDENTIALS, _placeholder),
    Heuristic("reference", "a variable, template or lookup", FileClass.CREDENTIALS, _reference),
    Heuristic("example-address", "login of an example address", FileClass.CREDENTIALS, _example_address),
    Heuristic("structured", "a path, URL, date, number, hash or public key", FileClass.CONFIG, _structured),
    Heuristic("digest", "a digest by the name on its line", FileClass.CONFIG, _digest),
    Heuristic("binary", "binary data", FileClass.CONFIG, _binary),
    Heuristic("markup", "HTML or XML", FileClass.CONFIG, _markup),
    Heuristic("other-name", "its name says that it is no secret", FileClass.CONFIG, _other_name),
    Heuristic("plain-key", "a key that is not random", FileClass.CONFIG, _plain_key),
    Heuristic("identifier", "an identifier made of words", FileClass.CONFIG, _identifier),
    Heuristic("sentence", "a word of a sentence", FileClass.CONFIG, _sentence),
    Heuristic("weak-token", "too short or regular for a generated token", FileClass.CONFIG, _weak_token),
    Heuristic("type-name", "the name of a type", FileClass.CONFIG, _type_name),
    Heuristic("list-item", "a name in a list of names", FileClass.CONFIG, _list_item),
    Heuristic("minified-code", "minified code", FileClass.CONFIG, _minified_code),
    Heuristic("expression", "an expression: no quotes around it in code", FileClass.CODE, _expression),
    Heuristic("code", "code", FileClass.CODE, _code),
    # Then those of passwords that are easy to guess, but may be real.
    Heuristic(
        "weak-password", "a password that anybody would guess", FileClass.CREDENTIALS, _weak_password, guessable=True
    ),
    Heuristic("sequence", "a run of the keyboard or alphabet", FileClass.CREDENTIALS, _sequence, guessable=True),
    Heuristic("password-name", "a name for a password", FileClass.CREDENTIALS, _password_name, guessable=True),
    Heuristic("word", "a word", FileClass.CREDENTIALS, _word, guessable=True),
    Heuristic("words", "made of words", FileClass.CODE, _words, guessable=True),
)
"""Heuristics in the order of their application; the first that rejects a value decides."""
