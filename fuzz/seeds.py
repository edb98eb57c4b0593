"""What fuzzing begins with: a few well-formed inputs a target, made by the tests' builders."""

from __future__ import annotations

import struct
import tarfile
import zlib

from tests.extract.build import cpio, deb, rpm
from tests.images import digest, file, gzipped, image, layer, symlink, whiteout, zstd

_RULE = b"""- id: acme-token
  name: Acme token
  provider: acme
  severity: high
  confidence: high
  pattern: '\\bacme_[0-9a-z]{20}\\b'
  keywords: [acme_]
  entropy: 3.0
  paths: ["**/.acme"]
  examples: ['acme_{base36:20}']
  counterexamples: ['acme_short']
  verify: {url: "https://acme.example.com/me", headers: {Authorization: "Bearer {secret}"}, active: {status: 200}}
"""
_CONFIG = b"""images: [a, "b:*"]
dockerfiles: [Dockerfile]
fail_on: high
min_confidence: low
baseline: base.yaml
registries: {registry.example.com/team: {newest: 5, exclude: {paths: ["/opt/**"]}}}
exclude: {paths: ["/usr/**"], rules: [generic-password]}
ignore: [{path: /a, reason: test, expires: 2030-01-01}]
hook: {strict: true}
"""
_BASELINE = b"""schema: image-audit-baseline/1
findings:
- {id: abc, rule: x, path: /a, state: deleted, images: [a, b], added: 2026-01-02, reason: r, expires: 2030-01-01}
- {id: abd, rule: y, where: "config.Env[2]", state: metadata, images: []}
"""
_CHALLENGE = b'401\nWWW-Authenticate: Bearer realm="http://registry.invalid/token",service="s",scope="repository:team/app:pull"\n\n'
_NEXT = b'200\nLink: </v2/_catalog?n=1000&last=a>; rel="next"\n\n{"repositories": ["a", "b"]}'
_MANIFEST = b'{"mediaType": "application/vnd.oci.image.manifest.v1+json", "schemaVersion": 2}'
_STATED = b"200\nContent-Type: application/vnd.oci.image.manifest.v1+json\nDocker-Content-Digest: %s\n\n"
_ANSWERS = (
    (b"200", _NEXT, b'200\n\n{"repositories": ["c"]}', _STATED % digest(_MANIFEST).encode() + _MANIFEST,
     _STATED % digest(_MANIFEST).encode(), b'200\n\n{"tags": ["1", "2"]}'),
    (_CHALLENGE, _CHALLENGE, b'200\n\n{"token": "t"}', _NEXT, b"302\nLocation: //elsewhere.invalid/x\n\n", _CHALLENGE,
     b'404\n\n{"errors": [{"code": "C", "message": "m"}]}', b'401\nWWW-Authenticate: Basic realm="r"\n\n', b"200"),
)  # fmt: skip
_DOCKERFILE = b"""# syntax=docker/dockerfile:1
ARG V=1
FROM base:${V} AS build
COPY --from=x --chown=1:1 . /app
RUN <<EOF
echo $A > /b
EOF
ENV A=b C="d e"
RUN --mount=type=secret,id=t ["sh", "-c", "true"]
ADD https://u:p@example.com/a /a
"""


def seeds() -> dict[str, list[bytes]]:
    """Return the inputs of each target."""
    built = image(layer({"a": b"x"}), layer(whiteout("a")), config={"Env": ["A=b"], "Labels": {"l": "v"}})
    files = built.oci_files()
    documents = [files["index.json"], *(data for data in files.values() if data[:1] == b"{")]
    tars = [
        layer({"a": b"hello", "n" * 150: b"y"}, symlink("l", "a")),
        layer(file("a", b"x" * 600, pax={"SCHILY.xattr.user.a": "b", "mtime": "1.5"})),
        layer({"d/" + "n" * 200: b"y"}, form=tarfile.GNU_FORMAT),
        layer(file("s", b"1\n0\n5\n" + bytes(506) + b"hello", pax={
            "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "5", "GNU.sparse.name": "s",
        })),
    ]  # fmt: skip
    archives = [gzipped(tars[0]), zstd(tars[0]), deb({"a": b"x"}), rpm({"a": b"x"}), cpio({"a": b"x"}), tars[0]]
    return {
        "tar": tars,
        "manifest": [b"\0".join(documents)],
        "pack": [_pack()[8:]],
        "archive": [bytes([number]) + data for number in range(2) for data in archives],
        "rule": [_RULE],
        "config": [_CONFIG],
        "baseline": [_BASELINE],
        "dockerfile": [_DOCKERFILE],
        "ignore": [b"# c\n**/*.env\n!a/b.env\n[a-c]?/\\*x\n/d/\n"],
        "registry": [b"\0\0".join(answers) for answers in _ANSWERS],
    }


def _pack() -> bytes:
    """A blob, and a delta of it by its place."""
    base = bytes([0x35]) + zlib.compress(b"hello")
    delta = bytes([0x60 | 7, len(base)]) + zlib.compress(b"\x05\x06\x90\x05\x01!")
    return b"PACK" + struct.pack(">II", 2, 2) + base + delta + bytes(20)
