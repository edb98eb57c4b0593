"""Hand-made images, each for one way in which an engine may show other files than a reader of tars expects.

An image is a list of layers, lowest first; every file that is not a marker holds a token of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.engines.rawtar import Entry, gnu_long, pax, tar
from tests.images import token

_SECRET = b"a token is put here"
_XATTR = "SCHILY.xattr."
_CAPABILITY = {_XATTR + "security.capability": "\x01\0\0\x02\0\x20" + "\0" * 14}


def folder(name: str, **more: Any) -> Entry:
    return Entry(name.encode(), b"5", **{"mode": 0o755, **more})


def link(name: str, target: str, **more: Any) -> Entry:
    return Entry(name.encode(), b"2", link=target.encode(), **{"mode": 0o777, **more})


def hard(name: str, target: str, **more: Any) -> Entry:
    return Entry(name.encode(), b"1", link=target.encode(), **more)


def mark(name: str, **more: Any) -> Entry:
    """A whiteout or an opaque whiteout, by its own name."""
    return Entry(name.encode(), **more)


def file(name: str, **more: Any) -> Entry:
    """A file that gets a token of its own."""
    return Entry(name.encode(), data=_SECRET, **more)


def device(name: str, **more: Any) -> Entry:
    """A character device 0:0, which an overlay takes for a whiteout."""
    return Entry(name.encode(), b"3", **more)


def _numbered(layers: Sequence[Sequence[Entry | bytes]]) -> list[bytes]:
    """Put a token of its own into each file."""
    return [tar(*(_filled(entry, number * 1000 + at) for at, entry in enumerate(entries)))
            for number, entries in enumerate(layers)]  # fmt: skip


def _filled(entry: Entry | bytes, seed: int) -> Entry | bytes:
    if isinstance(entry, Entry) and entry.data == _SECRET:
        return replace(entry, data=f"token {token(seed)}\n".encode())
    return entry


_USR = (folder("usr"), folder("usr/bin"), folder("usr/lib64"))
_STACKS: dict[str, Sequence[Sequence[Entry | bytes]]] = {
    # Symbolic links as parents, within a layer.
    "a-link-as-parent": [[*_USR, link("lib64", "usr/lib64"), file("lib64/ld.so")]],
    "a-whiteout-of-the-real-path": [[*_USR, link("bin", "usr/bin"), file("bin/t")], [mark("usr/bin/.wh.t")]],
    "a-whiteout-through-a-link": [[folder("e"), file("e/a")], [folder("e"), link("l", "e"), mark("l/.wh.a")]],
    "an-opaque-one-through-a-link": [[folder("e"), file("e/a")], [folder("e"), link("l", "e"), mark("l/.wh..wh..opq")]],
    "an-absolute-link": [[*_USR, link("bin", "/usr/bin"), file("bin/t"), file("bin/u")], [mark("usr/bin/.wh.u")]],
    "a-link-with-parents": [[*_USR, folder("opt"), link("opt/b", "../usr/bin"), file("opt/b/t")]],
    "a-link-above-the-root": [[*_USR, link("bin", "../../../usr/bin"), file("bin/t")]],
    "a-link-to-the-root": [[folder("d"), link("d/r", "/"), file("d/r/t")]],
    "a-link-to-here": [[folder("d"), link("d/r", "."), file("d/r/r/r/t")]],
    "a-chain-of-links": [[*_USR, link("a", "b"), link("b", "c"), link("c", "usr/bin"), file("a/t")]],
    "a-link-through-a-link": [[*_USR, link("u", "usr"), link("b", "u/bin"), file("b/t")], [file("usr/bin/t")]],
    "a-folder-through-a-link": [[*_USR, link("u", "usr"), folder("u/bin/x", mode=0o700), file("usr/bin/x/t")]],
    "a-folder-named-twice": [
        [folder("d", mode=0o700, pax={_XATTR + "user.a": "1"}), link("l", "."), folder("l/d", uid=7, mtime=9)]
    ],
    "implied-folders-through-a-link": [[*_USR, link("u", "usr"), file("u/share/doc/t")]],
    "a-link-replaced-by-a-folder": [[*_USR, link("m", "."), link("b", "usr/bin"), folder("m/b"), file("b/t")]],
    "a-file-replaced-through-a-link": [[*_USR, link("b", "usr/bin"), file("usr/bin/t"), file("b/t")]],
    "a-file-replaced-then-deleted": [
        [*_USR, link("b", "usr/bin"), file("usr/bin/t"), file("b/t")], [mark("usr/bin/.wh.t")]
    ],
    "a-link-made-after-its-folder": [[*_USR, file("usr/bin/t"), link("b", "usr/bin"), file("b/u")]],
    "a-file-through-two-links": [[*_USR, link("x", "usr"), link("y", "x"), file("y/bin/t")], [mark("usr/bin/.wh.t")]],
    # Links of lower layers are not followed.
    "a-link-across-layers": [[*_USR, link("lib64", "usr/lib64"), file("usr/lib64/a")], [file("lib64/ld.so")]],
    "a-whiteout-across-a-link": [[*_USR, link("bin", "usr/bin"), file("usr/bin/t")], [mark("bin/.wh.t")]],
    "an-opaque-one-across-a-link": [[*_USR, link("bin", "usr/bin"), file("usr/bin/t")], [mark("bin/.wh..wh..opq")]],
    "a-folder-over-a-link": [[*_USR, link("bin", "usr/bin"), file("usr/bin/t")], [folder("bin"), file("bin/u")]],
    "a-link-over-a-folder": [[folder("d"), file("d/t")], [folder("e"), link("d", "e"), file("d/u")]],
    "a-link-over-a-file": [[file("t")], [link("t", "u"), file("u")]],
    # Hard links.
    "a-hard-link-through-a-link": [[folder("d"), file("d/a"), link("e", "d"), hard("h", "e/a")], [mark("d/.wh.a")]],
    "a-hard-link-named-through-a-link": [[folder("d"), file("a"), link("e", "d"), hard("e/h", "a")], [mark(".wh.a")]],
    "hard-links-through-links": [
        [folder("d"), folder("d/f"), file("d/f/a"), link("x", "d"), link("y", "x/f"), hard("h", "y/a"),
         hard("i", "x/f/a")],
        [mark("d/f/.wh.a"), mark(".wh.h")],
    ],
    "a-hard-link-to-a-link": [[link("a", "zz", uid=3), hard("b", "a", uid=9, mode=0o600, mtime=99)], [mark(".wh.a")]],
    "a-hard-link-to-a-link-as-parent": [[*_USR, link("a", "usr/bin"), hard("b", "a"), file("b/t")]],
    "a-hard-link-of-other-metadata": [
        [file("a", mode=0o600, mtime=5), hard("b", "a", mode=0o755, uid=7, mtime=77)], [mark(".wh.b")]
    ],
    "a-hard-link-to-a-device": [[device("x", device=(1, 3), mode=0o600), hard("y", "x", uid=5)], [mark(".wh.x")]],
    "hard-links-with-attributes": [
        [file("a", pax={_XATTR + "user.x": "1"}), hard("b", "a", pax={_XATTR + "user.y": "2"}),
         hard("c", "b", mode=0o600)],
        [mark(".wh.b")],
    ],
    "a-capability-that-a-link-takes": [[file("a", pax=_CAPABILITY), hard("b", "a")], [file("t")]],
    "a-capability-that-a-link-gives": [[file("a"), hard("b", "a", pax=_CAPABILITY)], [mark(".wh.b")]],
    "a-hard-link-whose-target-is-replaced": [[file("a"), link("m", "."), hard("h", "a"), file("m/a")], [mark(".wh.a")]],
    "a-dressed-hard-link": [[folder("d"), file("d/a"), hard("h", "./d//a"), hard("i", "/d/a"), hard("j", "../d/a")]],
    "a-hard-link-to-a-whiteout": [[file("a"), file("h")], [mark(".wh.a"), hard("h", "a")]],
    # Headers.
    "a-file-whose-name-ends-in-a-slash": [[file("a/b/")], [mark("a/.wh.b")]],
    "an-old-folder": [[Entry(b"d/", b"\0", mode=0o700), file("d/t")], [mark("d/.wh.t")]],
    "a-folder-without-a-slash": [[Entry(b"d", b"5", mode=0o700), file("d/t")]],
    "a-long-name-beats-pax": [[file("x", before=pax({"path": "of-pax"}) + gnu_long(b"of-gnu"))]],
    "a-long-name-beats-pax-in-any-order": [[file("x", before=gnu_long(b"of-gnu") + pax({"path": "of-pax"}))]],
    "a-long-link-beats-pax": [
        [folder("d"), file("d/t"), link("x", "o", before=gnu_long(b"d", b"K") + pax({"linkpath": "e"})), file("x/u")]
    ],
    "a-global-header-drops-pax": [[file("x", before=pax({"path": "of-pax"}) + pax({"comment": "c"}, b"g"))]],
    "a-global-header-drops-a-long-name": [[file("x", before=gnu_long(b"long") + pax({"comment": "c"}, b"g"))]],
    "a-global-path-is-not-heeded": [[file("x", before=pax({"path": "of-pax", "uid": "7"}, b"g")), file("y")]],
    "the-second-pax-header-counts": [[file("x", before=pax({"path": "p", "uid": "7"}) + pax({"gid": "8"}))]],
    "a-star-prefix": [[Entry(b"n", data=_SECRET, form="star", prefix=b"p/" + b"q" * 100)]],
    "a-ustar-prefix": [[Entry(b"n", data=_SECRET, prefix=b"p/" + b"q" * 100)]],
    "a-prefix-that-v7-does-not-have": [[Entry(b"n", data=_SECRET, form="v7", prefix=b"p")]],
    "an-empty-pax-value": [[file("x", before=pax({"path": "", "uid": "", "size": "", "mtime": ""}))]],
    "a-name-of-spaces": [[file(" "), file("a "), file(" a/ b")]],
    "numbers-after-zero-bytes": [[Entry(b"x", data=_SECRET, mode=0o640)]],
    "a-link-with-a-size": [[link("l", "t", pax={"size": "512"}), file("t")]],
    # Paths.
    "dressed-paths": [
        [file("./a"), file("/b"), file("c//d"), file("e/../f"), file("../g"), folder("./h/"), file("h/./i")]
    ],
    "dressed-whiteouts": [[file("a"), folder("d"), file("d/b")], [mark("./.wh.a"), mark("/d//x/../.wh.b")]],
    "dots-through-a-link": [[*_USR, link("b", "usr/bin"), file("b/../t")]],
    "the-root-by-its-name": [[folder("/", mode=0o700, uid=5), file("t")], [file("u"), mark(".wh.t")]],
    "the-root-of-the-top": [[file("t")], [folder("/", mode=0o700, uid=5), file("u"), mark(".wh.t")]],
    "a-file-of-no-name": [[file("./"), file("t")], [mark(".wh.t")]],
    "the-root-itself": [[folder("./", mode=0o700, uid=5), file("t")]],
    "names-that-are-not-utf-8": [[Entry(b"caf\xe9", data=_SECRET), Entry(b"d\xff/x", data=_SECRET)]],
    # Whiteouts.
    "a-whiteout-then-a-file": [[file("d")], [mark(".wh.d"), file("d")]],
    "a-whiteout-then-a-folder": [[folder("d"), file("d/a")], [mark(".wh.d"), folder("d"), file("d/b")]],
    "a-whiteout-then-a-link": [[folder("d"), file("d/a")], [mark(".wh.d"), link("d", "e"), folder("e"), file("d/b")]],
    "an-opaque-root": [[file("a"), folder("d"), file("d/x")], [mark(".wh..wh..opq"), file("b")]],
    "an-opaque-folder-before-and-after": [
        [folder("d"), file("d/old"), file("d/both")], [file("d/both"), mark("d/.wh..wh..opq"), file("d/new")]
    ],
    "an-opaque-file": [[folder("d"), file("d/x")], [mark(".wh.d"), mark("d/.wh..wh..opq")]],
    "markers-that-imply-folders": [[file("a")], [mark("c/d/.wh..wh..opq"), mark("e/f/.wh.q")]],
    "a-whiteout-of-nothing": [[file("a")], [mark(".wh.b"), mark("x/.wh.y")]],
    "a-whiteout-with-a-body": [[file("a"), file("b")], [mark(".wh.a", data=_SECRET), file("c")]],
    "a-folder-called-whiteout": [[file("a"), file("k")], [folder(".wh.k"), file(".wh.k/in")]],
    "a-link-called-whiteout": [[file("a")], [link(".wh.a", "q"), file("z")]],
    "leftovers-of-aufs": [
        [folder(".wh..wh.plnk"), file(".wh..wh.plnk/1.2"), mark(".wh..wh.aufs"), file("a")], [mark(".wh.a")]
    ],
    "a-hard-link-into-leftovers": [
        [folder(".wh..wh.plnk"), file(".wh..wh.plnk/1.2"), hard("a", ".wh..wh.plnk/1.2")], [mark(".wh.a")]
    ],
    "a-whiteout-of-a-whiteout": [[file("a")], [mark(".wh.a")], [mark(".wh..wh.a"), file("b")]],
    # What an overlay itself reads.
    "a-device-as-whiteout": [[file("a"), folder("d"), file("d/b")], [device("a"), device("d")]],
    "a-device-without-numbers": [[file("a")], [device("a", form="v7", device=(1, 3))]],
    "a-device-through-a-link": [[folder("d"), file("d/a")], [folder("d"), link("l", "d"), device("l/a")]],
    "an-opaque-attribute": [
        [folder("d"), file("d/a")], [folder("d", pax={_XATTR + "trusted.overlay.opaque": "y"}), file("d/b")]
    ],
    # Folders that no entry names.
    "implied-over-named": [[folder("h", mode=0o700, uid=1000, gid=1000)], [file("h/x")]],
    "implied-by-a-whiteout": [[folder("h", mode=0o700, uid=1000), file("h/x")], [mark("h/.wh.x")]],
    "implied-then-named": [[file("h/x")], [folder("h", mode=0o700, uid=1000)]],
    "implied-in-a-setgid-folder": [[folder("g", mode=0o2775, gid=50), file("g/a/b/x")], [mark("g/a/b/.wh.x")]],
    "a-setgid-folder-over-implied": [[file("g/a/x"), file("g/a/y")], [folder("g", mode=0o2775), mark("g/a/.wh.x")]],
    "a-setgid-folder-under-implied": [[folder("g", mode=0o2775)], [file("g/a/x"), file("g/t")], [mark("g/.wh.t")]],
    # Stacks.
    "a-file-in-the-middle": [[folder("d"), file("d/a")], [file("d")], [folder("d"), file("d/b")]],
    "deleted-and-added-again": [[file("a")], [mark(".wh.a")], [file("a")], [mark(".wh.a")]],
    "a-parent-deleted": [[folder("d"), folder("d/e"), file("d/e/a")], [mark(".wh.d")], [file("d/f")]],
    "a-folder-over-a-file": [[file("d")], [folder("d"), file("d/a")]],
    "only-touched": [[folder("d", mode=0o700), file("d/a")], [folder("d", mode=0o755)], [folder("d", uid=9)]],
    "many-layers": [[file("a"), file(f"b{number}")] for number in range(8)],
}  # fmt: skip
CASES = {name: _numbered(layers) for name, layers in _STACKS.items()}
