"""Tells a real password or token from what only stands where one could: placeholders, code, hashes, words.

A rule marked `generic` guesses from context, so its matches come here. How strict the judgement is depends on the
file: in a file made for secrets (`.env`, `.netrc`) a word may be a password; in code it is a name; in prose and in the
files of a package that thousands installed only what looks drawn at random can be a secret, and nothing in its tests.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable

from auditor.detect.heuristics.file_class import FileClass, file_class
from auditor.detect.heuristics.words import NO_VALUES, OF_NAMES, is_word, parts, reads_like_words


def implausible(secret: str, line: str, path: str) -> str | None:
    """Return why a generic match is no secret, or None where it may be one.

    `line` is the line that holds the match; `path` the file's, or empty where the text comes from metadata.
    """
    where, line = file_class(path), _text_around(secret, line)
    for least, reason, holds in _TESTS:
        if where >= least and holds(secret, line):
            return reason
    return None


# What it looks like

_PLACEHOLDER = re.compile(
    r"(?i)^(?:<.*>|\[.*\]|\(.*\)|\{.*\}|%.*%|@[\w.-]+@|__.*__|your.*|"
    r"(?:my|the|an?|some|insert|enter|put|replace|add|fill|type|use|set|paste|provide|specify)[ _.-]"
    r"[a-z](?:[ _.-]?[a-z])*[ _.-]?|"  # each character in one way: a repeat of a repeat takes exponential time
    r".*(?:change[ _.-]?(?:me|this|it)(?![a-z])|replace[ _.-]?(?:me|this|with)|(?:goes|is)[ _.-]here|[ _.-]here$|"
    r"redacted|place-?holder|example|dummy|sample|foobar|lorem|fixme|not[ _.-]?set|x{5,}|\*{3,}|\.{3}|…|"
    r"deadbeef|cafebabe|"
    r"(?:my|your|some)[ _.-]?(?:super[ _.-]?)?(?:secret|password|passwd|pass|token|key|api)|"
    r"(?:secret|password|token|key)[ _.-]?(?:value|string|text|name|goes)).*)$"
)
_COMPOUND = re.compile(
    r"(?i)^(?:my|your|the|new|old|db|database|proxy|repo|user|root|admin|app|test|client|server|ftp|mail|smtp|ldap|some|demo|"
    r"super|top|very|store|key|keystore|truststore|mysql|postgres|redis|mongo|default|temp|local|dev|bind|master|api|git|web|"
    r"really|secure|strong|super|default|fake|dummy|sample)?[_.-]?(?:pass(?:word|wd|phrase|code)?|secret|token|key)s?\d?$"
)
_SEQUENCES = re.compile(r"(?i)0?12345\d*|abcd[a-z]*|qwerty\w*|asdf\w*|aaaa+|xxx+|0000+|1111+")
# What standards print: RFC 5849, 6749, 7519, 7523, 7617.
_PUBLISHED = re.compile(
    "2YotnFZFEjr1zCsicMWpAA|tGzv3JOkF0XG5Qx2TlKWIA|czZCaGRSa3F0MzpnWDFmQmF0M2JW|gX1fBatbtTVoNc|gX1fBat3bV|SplxlOBeZQQYbYS6WxSbIA|"
    "mF_9\\.B5f-4\\.1JqM|kd94hf93k423kf44|kkk9d7dh3k39sjv7|nnch734d00sl2jdk|pfkkdhi9sl3r4s00|ad180jjd733klru7|dpf43f3p2l4k3l03|"
    "QWxhZGRpbjpvcGVuIHNlc2FtZQ|SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c|dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk|"
    "45ghiukldjahdnhzdauz|0685bd9184jfhq22|lsdkfol23w54jlksdef|qwe089234lkjsdf|wJalrXUtnFEMI"
)
_REFERENCE = re.compile(
    r"^\\?\$[{(A-Za-z_]|\{[a-z_]\w*\}|\{\w+:\w+\}|\$\{[\w.:-]+|\$\([a-z]|\{\{|\}\}|<%|%>|#\{|%\([a-z_]+\)|^%[\w.-]+%$|"
    r"^!(?:Ref|Sub|GetAtt|vault)|^&[a-z_]+$|^ENC\[|"
    r"^(?:env|vault|secret|ssm|file|arn|op|awssm|gcpsm|kms|keyring|ref|data|var|local|module|cmd|exec|sm|pass|bws)[:.][\w/]|"
    r"(?i:os\.environ|getenv|process\.env|\bgetpass\b|environ\[|config\.get|system\.getproperty|prompt\()"
)
_CALL = re.compile(r"^[@!]?([A-Za-z_][\w.]*)\(")
_CHAIN = re.compile(r"^[&*!@$]?[A-Za-z_$][\w$]*(?:(?:\.|->|::|\?\.)[A-Za-z_$][\w$]*)*;?$")
_PATH = re.compile(
    r"^(?:~|\.{1,2})?/?(?:[\w.@+-]+/)+[\w.@+-]*$|^/[\w.@+-]+$|^[A-Za-z]:\\|^file:|"
    r"^[\w./-]+\.(?:pem|crt|cer|key|json|ya?ml|txt|conf|cfg|ini|py|js|ts|go|java|php|rb|html?|css|png|svg|sh|so|md|xml|"
    r"pub|p12|jks|env|gpg|asc|log|sock|service)$"
)
_URL = re.compile(r"(?i)^[a-z][a-z0-9+.-]*://[^@\s]*$|^[\w-]+(?:\.[\w-]+){1,4}:\d{2,5}(?:/|$)")
_UUID = re.compile(r"(?i)^\{?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}?$")
_HASH = re.compile(r"(?i)^(?:sha(?:1|224|256|384|512)|md5)[-:=][A-Za-z0-9+/=]+$")
_PUBLIC = re.compile(
    r"^(?:ssh-(?:rsa|ed25519|dss)|AAAA[BCE][0-9A-Za-z]|MII[BCDEFGHIJ][0-9A-Za-z+/]{40}|MFkw|MCow|LS0tLS1CRUdJTi(?:BDRVJU|BQVUJM))"
)
_DATE = re.compile(
    r"^\d{4}-\d\d-\d\d(?:[T ][\d:.Z+-]*)?$|^v?\d+(?:\.\d+){1,4}(?:[-+~][\w.+-]+)?$|^[\d.,:]+%?$|^0x[0-9A-Fa-f]{1,8}$"
)
_INTEGRITY = re.compile(
    r'(?i)"?(?:integrity|resolved|checksum|digest|sha(?:1|256|512)|md5|etag|commit|revision|gitHead|_?shasum|fingerprint)"?\s*[:=]'
)
_HASH_OR_KEY = re.compile(r"[0-9A-Fa-f]{32,128}|[\w+/=-]{40,}")
_NO_KEY = re.compile(
    r"(?:(?<![A-Za-z])|(?=[A-Z]))(?i:next|prev|page|paging|pagination|continuation|csrf|xsrf|request|change|client|sync|"
    r"cancel|action|idempotency|start(?:ing)?|end|previous|resume|cursor|task|marker|lock|ownership|site|verification|stop|"
    r"eos|bos|pad|unk|mask|sep|cls|special|image|audio|video|public|primary|foreign|unique|sort|partition|cache)"
    r"[ _-]?(?i:token|key)\w{0,12}[\"'\]]*\s*[:=>,(]+\s*[\"'`]?$|"
    r"(?i:token|key|secret|pass\w*)[ _-]?(?i:type|name|id|url|uri|file|path|hash|len|size|length)\W*$|"
    r"(?i:bypass|compass|encompass|surpass|trespass|by-pass)\w{0,8}\W*$"
)
_CONSTANT = re.compile(r"^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$")
_IDENTIFIER = re.compile(r"^[a-z]{1,12}(?:_[a-z]{1,12})+$|^[A-Z]+(?:_[A-Z]+)+$")
_CODE_CHARS = re.compile(r"[(){};]|=>|&&|\|\||==|\+=|->|::|\\x|\\u|\.\w+\.|\[")
_CONTROL = re.compile(r"[^\x20-\x7e\xa0-\ufffc\t\r\n\f]")
_MARKUP = re.compile(r"</?[a-z]|&[a-z]+;|&#[0-9x]")
_MAX_HOST = 256
"""Characters of an address that are looked at on each side of a password: a name of the DNS has 253 at most."""
_EXAMPLE_HOST = re.compile(
    r"(?i)^(?:[\w.-]*\.)?(?:example(?:\.\w+)?|host(?:name)?|server|domain|your[\w.-]*|my[\w-]*(?:host|server|domain|proxy)[\w.-]*|"
    r"foo|bar|test|site|some[\w-]*|proxy(?:host|server)?|a|b|h|x)(?:[:/?#\s\"'`,;)\]}<>]|\.(?:com|org|net|test|invalid|local(?:host)?)\b|$)"
)


def looks_random(secret: str) -> bool:
    """Say whether a text looks drawn at random: long, of mixed kinds of characters, and not made of words."""
    if _CONSTANT.match(secret):
        return False
    kinds = sum(any(test(char) for char in secret) for test in (str.islower, str.isupper, str.isdigit))
    if len(secret) < 16 or kinds < 2 or not any(map(str.isdigit, secret)) or reads_like_words(secret):
        return False
    if re.fullmatch(r"[0-9A-Fa-f-]+", secret):
        return len(secret) >= 20 and entropy(secret) >= 3.0
    return entropy(secret) >= 3.4


def entropy(text: str) -> float:
    """Return the Shannon entropy of the characters, in bits a character."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values()) if text else 0.0


def _placeholder(secret: str, _: str) -> bool:
    from detect_secrets.filters import heuristic

    bare = secret.strip().strip("\"'`")
    return (
        bare.lower() in NO_VALUES
        or bool(_PLACEHOLDER.match(bare) or _PUBLISHED.search(bare))
        or len(set(bare)) < 4
        or heuristic.is_templated_secret(bare)
        or heuristic.is_sequential_string(bare)
    )


def _reference(secret: str, _: str) -> bool:
    call = _CALL.match(secret)
    return bool(_REFERENCE.search(secret)) or (call is not None and reads_like_words(call[1]))


def _structured(secret: str, _: str) -> bool:
    if any(shape.match(secret) for shape in (_URL, _HASH, _PUBLIC, _DATE)):
        return True
    return bool(_PATH.match(secret)) and not looks_random(secret)


def _hash_line(secret: str, line: str) -> bool:
    return bool(_HASH_OR_KEY.fullmatch(secret)) and bool(_INTEGRITY.search(line))


def _text_around(secret: str, line: str) -> str:
    """Cut a line of binary data to the text that the secret stands in."""
    at = line.find(secret)
    if at < 0 or line.isprintable():
        return line
    before = _CONTROL.split(line[:at])[-1]
    return before + secret + _CONTROL.split(line[at + len(secret) :])[0]


def _binary(secret: str, _: str) -> bool:
    return bool(_CONTROL.search(secret))


def _markup(secret: str, _: str) -> bool:
    return bool(_MARKUP.search(secret))


def _sequence(secret: str, _: str) -> bool:
    return len(_SEQUENCES.sub("", secret)) <= len(secret) // 2


def _compound(secret: str, _: str) -> bool:
    return bool(_COMPOUND.match(secret))


def _named_otherwise(secret: str, line: str) -> bool:
    """The name says that the value is no secret: `nextToken`, `token_type`."""
    return bool(_NO_KEY.search(_before(secret, line)))


def _of_token(secret: str, line: str) -> bool:
    """Say whether the name before the value calls it a token, which a machine draws, and no password."""
    before = _before(secret, line)
    return bool(re.search(r"(?i)secret|token|key", before)) and not re.search(r"(?i)pass|pwd|pw\b", before)


def _before(secret: str, line: str) -> str:
    at = line.find(secret)
    return line[max(0, at - 80) : at] if at > 0 else ""


def _one_word(secret: str, _: str) -> bool:
    return secret.isalpha() and is_word(secret)


def _name(secret: str, line: str) -> bool:
    """An identifier made of words. A pass phrase is words too, but says nothing of passwords."""
    if not _words_only(secret, line):
        return False
    pieces = [part.lower() for part in parts(secret) if part.isalpha()]
    if _of_token(secret, line):
        return True
    return any(piece in OF_NAMES for piece in pieces) or (bool(_CHAIN.match(secret)) and len(pieces) > 1)


def _sentence(secret: str, line: str) -> bool:
    """The value is a word of a sentence: more words follow it, unquoted."""
    at = line.find(secret)
    if at <= 0 or line[at - 1] in "\"'`=:/" or not _words_only(secret, line):
        return False
    return bool(re.match(r"[.,;:]?[ \t]+[a-z]+[ \t.,;]", line[at + len(secret) :]))


def _example_address(secret: str, line: str) -> bool:
    """The credentials of an address that leads nowhere, or one whose user is a placeholder."""
    at = line.find(secret + "@")
    if at < 1 or line[at - 1] != ":":
        return False
    begin = at + len(secret) + 1
    host = line[begin : begin + _MAX_HOST]
    user = re.split(r"[/\s]", line[max(0, at - 1 - _MAX_HOST) : at - 1])[-1].lower()
    shown = user in ("user", "username", "login", "name", "usr", "foo", "alice", "bob", "joe", "john", "me", "u", "a")
    return bool(_EXAMPLE_HOST.match(host)) or (shown and not looks_random(secret) and _words_only(secret, line))


def _weak_token(secret: str, line: str) -> bool:
    """A token, unlike a password, is drawn by a machine."""
    return _of_token(secret, line) and (len(secret) < 6 or entropy(secret) < 2.25 or _words_only(secret, line))


def _type_name(secret: str, line: str) -> bool:
    """A bare `Base64URLString` where a token could stand is the name of a type; a weak password is in lower case."""
    if not secret.isalnum() or (secret.islower() and len(secret) > 8):
        return False
    return secret.isidentifier() and _of_token(secret, line) and _bare(secret, line) and reads_like_words(secret)


def _minified(secret: str, line: str) -> bool:
    """On a line as long as only programs write them, code and tables of texts stand without seams."""
    return len(line) > 1000 and (not looks_random(secret) or _bare(secret, line) or bool(_CODE_CHARS.search(secret)))


def _unquoted(secret: str, line: str) -> bool:
    """In code a value without quotes is an expression."""
    if not _bare(secret, line):
        return False
    return not looks_random(secret) or line[line.find(secret) - 1] in " \t" or "." in secret


def _bare(secret: str, line: str) -> bool:
    """Say whether the value stands outside quotes."""
    at = line.find(secret)
    if at < 1 or line[at - 1] in "\"'`:/@":
        return False
    return not any(line.count(quote, 0, at) % 2 for quote in "\"'`")


def _words_only(secret: str, _: str) -> bool:
    return not any(map(str.isdigit, secret)) and reads_like_words(secret)


def _code_text(secret: str, _: str) -> bool:
    return bool(_IDENTIFIER.match(secret) or (_CODE_CHARS.search(secret) and not looks_random(secret)))


def _not_random(secret: str, line: str) -> bool:
    if _UUID.match(secret) or not looks_random(secret):
        return True
    return _bare(secret, line) and bool(re.search(r"[$*:;]", secret))


_Test = Callable[[str, str], bool]
_TESTS: tuple[tuple[FileClass, str, _Test], ...] = (
    # The files of packages are many, so what settles most of them comes first.
    (FileClass.THIRD_PARTY_TESTS, "test data or documentation of a package", lambda _secret, _line: True),
    (FileClass.THIRD_PARTY, "not random enough for a package's file or for prose", _not_random),
    (FileClass.CREDENTIALS, "placeholder", _placeholder),
    (FileClass.CREDENTIALS, "reference", _reference),
    (FileClass.CREDENTIALS, "an address of examples", _example_address),
    (FileClass.CONFIG, "path, URL, date, hash or public key", _structured),
    (FileClass.CONFIG, "checksum", _hash_line),
    (FileClass.CONFIG, "binary data", _binary),
    (FileClass.CONFIG, "markup", _markup),
    (FileClass.CONFIG, "named otherwise", _named_otherwise),
    (FileClass.CONFIG, "a sequence", _sequence),
    (FileClass.CONFIG, "a name for a password", _compound),
    (FileClass.CONFIG, "a word", _one_word),
    (FileClass.CONFIG, "identifier", _name),
    (FileClass.CONFIG, "a word of a sentence", _sentence),
    (FileClass.CONFIG, "too simple for a token", _weak_token),
    (FileClass.CONFIG, "the name of a type", _type_name),
    (FileClass.CONFIG, "minified code", _minified),
    (FileClass.CODE, "expression", _unquoted),
    (FileClass.CODE, "words", _words_only),
    (FileClass.CODE, "code", _code_text),
)
