"""Little that becomes much: documents, names, links, layers, databases whose number or product has no end."""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.extract.build import ar
from tests.extract.test_archives import zipped
from tests.hostile.archives import saved_bytes
from tests.hostile.case import END, Build, Case, archive, entry, header, holding, image_of, made, pax
from tests.hostile.documents import altered, config, layout, rooted, with_config
from tests.hostile.layers import bomb, stored_with_diff_id
from tests.images import OCI, Built, descriptor, digest, file, gzipped, image, layer, layout_files, token, zstd

MIB = 1 << 20
_LAYER = layer({"a.txt": "hello\n"})
_BUILT = image(_LAYER)
_MANIFEST = OCI + "manifest.v1+json"


def squeezed(pieces: Iterable[bytes]) -> bytes:
    """A tar of headers, compressed while it is made."""
    engine = zlib.compressobj(1, wbits=31)
    return b"".join((*(engine.compress(piece) for piece in pieces), engine.compress(END), engine.flush()))


def layer_of(pieces: Callable[[], Iterable[bytes]]) -> Build:
    return made(lambda: stored_with_diff_id(squeezed(pieces())))


def links_to_secrets() -> Iterator[bytes]:
    """A file of many secrets, and many names for it."""
    yield entry(b"secrets", b"".join(b"token = %s\n" % token(number).encode() for number in range(20)))
    for number in range(2000):
        yield header(b"l%d" % number, kind=b"1", link=b"secrets")


def whiteouts() -> Iterator[bytes]:
    for number in range(300_000):
        yield header(b"d%d/.wh.f%d" % (number % 1000, number))


def opaque() -> Iterator[bytes]:
    for number in range(100_000):
        yield header(b"%s.wh..wh..opq" % (b"d/" * (number % 40)))


def long_paths() -> Iterator[bytes]:
    """Paths of some thousand characters each."""
    for number in range(100_000):
        yield pax({b"path": b"%d/" % number + b"n" * 4000}) + header(b"x")


def linked_members() -> bytes:
    """An archive of nothing but links."""
    return squeezed(header(b"%d" % number, kind=b"2", link=b"a" * 90) for number in range(200_100))


def labelled(value: Any) -> Build:
    return with_config(config(config={"Labels": value}))


def chained(depth: int, count: int) -> bytes:
    """Objects of one key in one another, over and over: what takes most memory for its bytes."""
    return b'{"config": {"Labels": [%s]}}' % b",".join([b'{"a":' * depth + b"[]" + b"}" * depth] * count)


def attested(count: int, statement: bytes) -> Build:
    """Attestations of one image, each of another statement."""
    blobs, root = _BUILT.blobs()
    roots = [root]
    for number in range(count):
        data = statement.replace(b"0" * 6, b"%06d" % number, 1)
        document = {"schemaVersion": 2, "mediaType": _MANIFEST, "layers": [descriptor(data, "application/json")]}
        manifest = json.dumps({**document, "number": number}).encode()
        blobs |= {digest(data): data, digest(manifest): manifest}
        about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": root["digest"]}
        roots.append(descriptor(manifest, _MANIFEST, annotations=about))
    return layout(layout_files(blobs, roots))


def late(make: Callable[[], Build]) -> Build:
    """An input whose making takes a while: it is made when it is needed."""
    return lambda folder: make()(folder)  # noqa: PLW0108 - not made before


def listing(count: int, layers: int) -> bytes:
    """A manifest.json of so many images, each with so many layers."""
    item = {"Config": "config.json", "RepoTags": ["a:1"], "Layers": ["layer.tar"] * layers}
    return json.dumps([item] * count).encode()


def many_layers(count: int) -> Build:
    """An OCI folder whose manifest lists one layer over and over."""
    built = Built((_LAYER,) * count, image(*(_LAYER,) * count).config)

    def build(folder: Path) -> str:
        return f"oci:{built.oci_folder(folder / 'layout')}"

    return build


def packages(count: int) -> bytes:
    return b"".join(b"Package: p%d\nVersion: 1\nConffiles:\n /etc/%d %032x\n\n" % (n, n, n) for n in range(count))


def rpm_of(payload: bytes) -> bytes:
    """An rpm of two empty headers and a payload."""
    return b"\xed\xab\xee\xdb" + bytes(92) + (b"\x8e\xad\xe8\x01" + bytes(12)) * 2 + payload


def much() -> bytes:
    """A statement of some megabytes."""
    return b'{"number": "000000", "text": ["' + b'", "'.join([b"x" * 40] * 90_000) + b'"]}'


def zeros() -> bytes:
    return gzip.compress(bytes(100 * MIB), 1)


CASES = (
    Case("2,000 names for 20 secrets", layer_of(links_to_secrets), 1, "(limit findings-image)", 350),
    Case("300,000 whiteouts", layer_of(whiteouts), 0, "", 250),
    Case("100,000 folders that are emptied", layer_of(opaque), 0, "", 250),
    Case("400 MB of paths", layer_of(long_paths), 2, "(limit paths-bytes)", 400),
    Case("an archive of links alone", made(linked_members), 2, "(limit image-members)", 250),
    Case(
        "a key of 8 MB above 50,000 texts",
        late(lambda: labelled({"k" * (8 << 20): {str(n): "x" for n in range(50_000)}})),
        0,
        "",
        300,
    ),
    Case(
        "keys of 100 KB in one another",
        late(lambda: labelled(json.loads(b'{"%s":' % (b"k" * 100_000) * 150 + b"1" + b"}" * 150))),
        0,
        "",
        300,
    ),
    Case("300,000 texts", late(lambda: labelled([f"text {n}" for n in range(300_000)])), 0, "(limit texts)", 300),
    Case("a text of 5 MB", late(lambda: labelled({"a": "x" * (5 << 20)})), 0, "(limit text-bytes)", 200),
    Case("450,000 empty lists", late(lambda: labelled([[]] * 225_000 + [{}] * 225_000)), 0, "", 400),
    Case("objects of one key, 150 deep, over and over", late(lambda: with_config(chained(150, 6000))), 0, "", 400),
    Case(
        "three million values",
        late(lambda: with_config(b"[" + b"0," * 3_000_000 + b"0]")),
        2,
        "(limit json-values)",
        250,
    ),
    Case("500 attestations of nothing", late(lambda: attested(500, b'{"number": "000000"}')), 0, "", 200),
    Case("attestations of 150 MB", late(lambda: attested(40, much())), 2, "(limit json-total)", 400),
    Case(
        "2,000 images in manifest.json",
        late(lambda: archive(saved_bytes(manifest=listing(2000, 1)))),
        2,
        "(limit manifests)",
    ),
    Case(
        "5,000 layers in manifest.json",
        late(lambda: archive(saved_bytes(manifest=listing(1, 5000)))),
        2,
        "(limit layers)",
    ),
    Case("3,000 times one layer", late(lambda: many_layers(3000)), -1, "", 400),
    Case(
        "60,000 layers in a manifest",
        late(lambda: altered(lambda d: d.update(layers=d["layers"] * 60_000))),
        2,
        "(limit layers)",
    ),
    Case(
        "1,500 manifests in index.json",
        late(lambda: rooted(*[descriptor(b"%d" % n, _MANIFEST) for n in range(1500)])),
        2,
        "",
    ),
    Case("a bomb of xz in a layer", made(bomb(lzma.compress, 3 << 30)), 2, "(limit layer-growth", 250),
    Case("a bomb of gzip in gzip", holding("a.gz", lambda: gzipped(zeros())), 0, "(limit growth)", 250),
    Case("a bomb of gzip in a zip", holding("a.zip", lambda: zipped({"a.gz": zeros()})), 0, "(limit growth)", 250),
    Case(
        "a bomb in a deb",
        holding(
            "a.deb",
            lambda: ar({"debian-binary": b"2.0\n", "data.tar.gz": gzip.compress(layer({"zeros": bytes(100 * MIB)}))}),
        ),
        0,
        "(limit growth)",
        350,
    ),
    Case(
        "a bomb in an rpm",
        holding("a.rpm", lambda: rpm_of(zstd(b"070701" + b"00000000" * 13 + bytes(100 * MIB)))),
        0,
        "",
        250,
    ),
    Case(
        "package databases of 80 MB",
        holding("var/lib/dpkg/status", partial(packages, 1_300_000)),
        0,
        "(limit database-bytes)",
        400,
    ),
    Case("300,000 packages", holding("var/lib/dpkg/status", partial(packages, 300_000)), 0, "", 400),
    Case(
        "an rpm database of noise",
        holding("var/lib/rpm/rpmdb.sqlite", b"SQLite format 3\0" + bytes(range(256)) * 99),
        0,
        "",
        150,
    ),
    Case("a RECORD of nonsense", holding("x.dist-info/RECORD", b"a,sha256=,\n,,,\n\xff,\0\n" * 9000), 0, "", 150),
    Case(
        "a path rule with 40,000 matches",
        late(
            lambda: image_of(
                layer(file("root/.netrc", "".join(f"machine m login l password pass{n}word\n" for n in range(40_000))))
            )
        ),
        -1,
        "(limit raw-hits)",
        400,
    ),
    Case(
        "a token over and over",
        late(lambda: image_of(layer({"a.txt": f"{token(5)}\n" * 25_000}))),
        1,
        "(limit raw-hits)",
        400,
    ),
)
