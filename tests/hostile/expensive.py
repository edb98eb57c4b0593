"""Content that is valid and dear: keys, tokens, package databases, compiled code, bait. Each case grows with a number.

All of it is made when it is needed; no key and no token in it works.
"""

from __future__ import annotations

import base64
import hashlib
import marshal
import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType

from tests.extract.test_archives import zipped
from tests.hostile import key_material as keys
from tests.images import token
from tests.provenance.test_packages import rpm_database

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Case:
    """A layer of some size: `make(2 * small)` is about twice as much as `make(small)`."""

    name: str
    small: int
    make: Callable[[int], Files]


def password(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()[:20] + "Zq"


def settings(number: int) -> bytes:
    return f"[app]\npassword = '{password(number)}'\n".encode()


_BITS = (2048, 3072, 4096, 8192, 16384)
_PEMS: tuple[tuple[str, Callable[[int, int], bytes]], ...] = (
    ("RSA PRIVATE KEY", keys.rsa),
    ("PRIVATE KEY", keys.rsa_pkcs8),
    ("DSA PRIVATE KEY", keys.dsa),
    ("PRIVATE KEY", keys.dsa_pkcs8),
    ("PRIVATE KEY", keys.dh_pkcs8),
    ("OPENSSH PRIVATE KEY", keys.openssh),
    ("ENCRYPTED PRIVATE KEY", keys.rsa_pkcs8),
    ("EC PRIVATE KEY", lambda _, seed: keys.ec(seed)),
    ("PRIVATE KEY", lambda _, seed: keys.ec_pkcs8(seed)),
    ("PRIVATE KEY", lambda _, seed: keys.ed25519(seed)),
)


def rsa_keys(count: int) -> Files:
    return {f"srv/{n}.pem": keys.pem("RSA PRIVATE KEY", keys.rsa(8192, n)) for n in range(count)}


def keys_of_every_kind(count: int) -> Files:
    return {
        f"srv/{n}/{kind}-{bits}.pem": keys.pem(label, make(bits, n))
        for n in range(count)
        for kind, (label, make) in enumerate(_PEMS)
        for bits in _BITS
    }


def keys_without_armour(count: int) -> Files:
    """Keys as base64 in settings, and in one line of JSON."""
    body = {n: base64.b64encode(keys.rsa_pkcs8(_BITS[n % 5], n)) for n in range(count)}
    lines = {n: keys.pem("PRIVATE KEY", keys.rsa(4096, n)).replace(b"\n", b"\\n") for n in range(count)}
    return {f"srv/{n}.yaml": b'key: %s\njson: {"private_key": "%s"}\n' % (body[n], lines[n]) for n in range(count)}


def keystores(count: int) -> Files:
    """PKCS #12 and JKS around keys, OpenPGP's armour."""
    files = {}
    for n in range(count):
        inner = keys.rsa_pkcs8(8192, n)
        data = keys.sequence(keys.oid("2a864886f70d010701"), keys.tlv(0xA0, keys.tlv(0x04, inner)))
        files[f"srv/{n}.p12"] = keys.sequence(keys.integer(3), data)
        files[f"srv/{n}.jks"] = b"\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1\0\0\0\1\0\3key" + bytes(8) + inner
        files[f"srv/{n}.asc"] = keys.pem("PGP PRIVATE KEY BLOCK", b"\x95\x03\x98" + inner).replace(b"-\nl", b"-\n\nl")
    return files


def certificates(count: int) -> Files:
    chain = b"".join(keys.pem("CERTIFICATE", keys.certificate(4096, 30, n)) for n in range(10))
    return {f"srv/{n}/chain.pem": chain + keys.pem("PRIVATE KEY", keys.rsa_pkcs8(4096, n)) for n in range(count)}


def tokens(count: int) -> Files:
    """JSON Web Tokens as long as the rule takes them."""
    chance, files = random.Random(2), {}
    for n in range(count):
        head = b'{"alg":"HS256","kid":"%s"}' % chance.randbytes(300).hex().encode()
        body = b'{"sub":"%s"}' % chance.randbytes(1400).hex().encode()
        parts = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in (head, body, chance.randbytes(64)))
        files[f"srv/{n}.txt"] = (b".".join(parts) + b"\n") * 5
    return files


def dpkg(count: int) -> Files:
    files, status = {}, b""
    for n in range(count):
        files[f"opt/{n}/app.ini"] = settings(n)
        sums = b"".join(b"%032x  usr/share/p%d/f%d\n" % (n * j, n, j) for j in range(20))
        files[f"var/lib/dpkg/info/p{n}.md5sums"] = sums + b"%032x  opt/%d/app.ini\n" % (n, n)
        status += b"Package: p%d\nVersion: 1.%d\nConffiles:\n /etc/p%d %032x\n\n" % (n, n, n, n)
    return {**files, "var/lib/dpkg/status": status}


def dpkg_claims(count: int) -> Files:
    """Every package claims every file."""
    own = {f"opt/{n}/app.ini": settings(n) for n in range(count)}
    sums = b"".join(b"%032x  %s\n" % (n, path.encode()) for n, path in enumerate(own))
    return {**own, **{f"var/lib/dpkg/info/p{n}.md5sums": sums for n in range(20)}}


def apk(count: int) -> Files:
    own = {f"opt/{n}/app.ini": settings(n) for n in range(count)}
    records = (
        b"P:p%d\nV:1\nF:usr/share/p%d\n%sF:opt/%d\nR:app.ini\nZ:Q1AAAA\n\n"
        % (n, n, b"".join(b"R:f%d\nZ:Q1AAAA\n" % j for j in range(20)), n)
        for n in range(count)
    )
    return {**own, "lib/apk/db/installed": b"".join(records)}


def pypi(count: int) -> Files:
    site, files = "usr/local/lib/python3.12/site-packages", {}
    for n in range(count):
        files[f"{site}/p{n}/conf.env"] = settings(n)
        listed = b"".join(b"p%d/f%d.py,sha256=abc,9\n" % (n, j) for j in range(20))
        files[f"{site}/p{n}-1.{n}.dist-info/RECORD"] = listed + b"p%d/conf.env,sha256=abc,9\n" % n
    return files


def npm(count: int) -> Files:
    files = {}
    for n in range(count):
        files[f"srv/node_modules/p{n}/.env"] = settings(n)
        files[f"srv/node_modules/p{n}/package.json"] = b'{"name": "p%d", "version": "1.%d.0"}' % (n, n)
    return files


def rpm(count: int) -> Files:
    own = {f"opt/{n}/app.ini": settings(n) for n in range(count)}
    return {**own, "var/lib/rpm/rpmdb.sqlite": rpm_database([[path] for path in own])}


def classes(count: int) -> Files:
    """Small classes by the thousand, in a jar and beside it."""
    files = {f"srv/C{n}.class": java_class([b"password", password(n).encode()], 1) for n in range(count)}
    return {**files, "srv/app.jar": zipped(files)}


def java_class(texts: list[bytes], assigned: int) -> bytes:
    """A class of text constants whose last is put into the field that the first names, over and over."""
    pool = b"".join(b"\1" + struct.pack(">H", len(text)) + text for text in texts)
    string, pair, field = len(texts) + 1, len(texts) + 2, len(texts) + 3
    pool += b"\x08" + struct.pack(">H", len(texts))
    pool += b"\x0c" + struct.pack(">HH", 1, 1) + b"\x09" + struct.pack(">HH", 1, pair)
    head = b"\xca\xfe\xba\xbe\0\0\0\x34" + struct.pack(">H", field + 1) + pool
    code = (b"\x12" + bytes((string,)) + b"\xb5" + struct.pack(">H", field)) * assigned
    return head + bytes(6) + bytes(2) + bytes(4) + code


def one_constant_in_many_classes(count: int) -> Files:
    """60 KB that are assigned over and over."""
    return {"srv/C.class": java_class([b"password", b"x" * 60_000], count)}


def compiled(count: int) -> Files:
    """Small compiled modules by the thousand."""
    head = b"\xa7\r\r\n" + bytes(12)
    return {f"srv/m{n}.pyc": head + marshal.dumps(_code(n)) for n in range(count)}


def _code(number: int) -> CodeType:
    return compile(f"PASSWORD = {password(number)!r}\nconnect(secret={password(-number - 1)!r})", "m.py", "exec")


def one_constant_in_many_places(count: int) -> Files:
    """Compiled Python whose constants are one long text, referred to over and over."""
    constants = b"(" + struct.pack("<i", count) + b"\xf3" + struct.pack("<i", 9000) + b"x" * 9000
    constants += (b"r" + struct.pack("<i", 0)) * (count - 1)
    empty = b"s\0\0\0\0"
    body = b"c" + bytes(20) + empty + constants + b")\0)\0" + empty * 4 + bytes(4) + empty * 2
    return {"srv/m.pyc": b"\xa7\r\r\n" + bytes(12) + body}


_BAIT = {
    "keyword": b"apikey" + b"apwd" * 200 + b' = "x"',
    "keyword-quotes": b'pwd = "abc"; ' + b"pwd'" * 200,
    "blanks": b'pwd = "abcdef1234"' + (b" " * 40 + b"a") * 20,
    "reference": b'secret = "abcdef1234" ' + b"=a(" * 300,
    "cloudant": (b'["cloudant_apikey"]' + b" " * 39) * 15 + b"= " + b"a1" * 32,
    "ibm-cos-hmac": (b'["cos_secretkey"]' + b" " * 39) * 15 + b"= " + b"a1" * 24,
    "ibm-cloud-iam": (b'["ibm_cloud_iam_api_key"]' + b" " * 39) * 14 + b"= " + b"a1" * 22,
    "softlayer": (b'["softlayer_api_key"]' + b" " * 39) * 15 + b"= " + b"a1" * 32,
    "npm": b"//" * 400 + b"/:_authToken=npm_x",
    "openai": b"sk-" * 300 + b"a" * 20 + b"T3BlbkFJ" + b"b" * 20,
    "basic-auth": b"https://" + b"a:" * 100 + b"b1c2d3@host",
    "azure": b"AccountKey=" + b"a1B2" * 21 + b"a1==",
    "slack": b"xoxb-" * 200 + b"1234567890-1234567890-abcdef",
    "jwt": b"eyJ" + b"a1" * 400 + b".eyJ" + b"b2" * 50,
}


def bait(count: int) -> Files:
    """Lines on which the expressions of detect-secrets' plugins and filters go back and forth."""
    return {f"srv/{name}.conf": (line + b"\n") * count for name, line in _BAIT.items()}


def one_line(count: int) -> Files:
    """Matches on one line of a minified file."""
    return {"srv/app.json": b"{" + b",".join(b'"password":"%s"' % password(n).encode() for n in range(count)) + b"}"}


def small_matches(count: int) -> Files:
    return {"srv/tokens.txt": b"".join(b"%s\n" % token(n).encode() for n in range(count))}


def small_matches_in_a_zip(count: int) -> Files:
    return {"srv/a.zip": zipped(dict(small_matches(count)))}


def identical(count: int) -> Files:
    """One secret in many files, each in an archive too."""
    line = b"token = %s\n" % token(1).encode()
    return {f"srv/{n}.zip": zipped({"a.txt": line}, 0) + line for n in range(count)}


def deep_paths(count: int) -> Files:
    return {"/".join((str(n), *["d"] * 100, ".env")): settings(n % 50) for n in range(count)}


def wrapped(count: int) -> Files:
    """Blocks of base64, each of lines of another width."""
    text = base64.b64encode(b"user = app, password = none, host = localhost, " * 60)
    blocks = []
    for n in range(count):
        width = 40 + n % 900
        blocks.append(b"\n".join(text[at : at + width] for at in range(0, 3 * width, width)) + b"\n;\n")
    return {f"srv/{n}.txt": b"".join(blocks[n : n + 300]) for n in range(0, count, 300)}


def encodings(count: int) -> Files:
    inner = b'{"a": "%%41%%42%%43 \\u0061\\u0062\\n\\"pass\\": \\"%s\\""}' % password(1).encode()
    data = base64.b64encode(inner)
    return {f"srv/{n}.json": b'{"v": "%s", "w": "%s"}\n' % (data, inner.replace(b'"', b'\\"')) for n in range(count)}


def placeholders(count: int) -> Files:
    """Values that look like placeholders up to their last character."""
    return {f"srv/{n}.env": b"DB_PASSWORD=my_%s!\n" % (b"abcdefgh" * 10) for n in range(count)}


CASES = (
    Case("RSA keys of 8,192 bits", 6, rsa_keys),
    Case("keys of every kind and size", 2, keys_of_every_kind),
    Case("keys in base64 and on one line", 20, keys_without_armour),
    Case("keystores", 20, keystores),
    Case("deep certificates in chains", 5, certificates),
    Case("huge JSON Web Tokens", 8, tokens),
    Case("packages of dpkg", 300, dpkg),
    Case("packages of dpkg that claim every file", 300, dpkg_claims),
    Case("packages of apk", 200, apk),
    Case("packages of PyPI", 250, pypi),
    Case("packages of npm", 120, npm),
    Case("packages of rpm", 200, rpm),
    Case("classes", 150, classes),
    Case("one constant in many places of a class", 2000, one_constant_in_many_classes),
    Case("compiled modules", 150, compiled),
    Case("one constant in many places of a module", 4000, one_constant_in_many_places),
    Case("bait for plugins and filters", 10, bait),
    Case("matches on one line", 400, one_line),
    Case("many small matches", 400, small_matches),
    Case("many small matches in an archive", 400, small_matches_in_a_zip),
    Case("one secret in many archives", 120, identical),
    Case("deep paths", 200, deep_paths),
    Case("base64 of many widths", 600, wrapped),
    Case("encodings in encodings", 100, encodings),
    Case("placeholders to the last character", 200, placeholders),
)
