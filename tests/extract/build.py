"""Archives for which Python has no writer: ar, cpio, rpm."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from tests.images import gzipped, layer


def ar(files: Mapping[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, data in files.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) & 1)
    return out


def deb(files: Mapping[str, bytes | str]) -> bytes:
    return ar(
        {
            "debian-binary": b"2.0\n",
            "control.tar.gz": gzipped(layer({"./control": "Package: planted\n"})),
            "data.tar.gz": gzipped(layer(files)),
        }
    )


def cpio(files: Mapping[str, bytes]) -> bytes:
    out = bytearray()
    for name, data in [*files.items(), ("TRAILER!!!", b"")]:
        named = name.encode() + b"\0"
        fields = (1, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(named), 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + named
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def rpm(files: Mapping[str, bytes], squeeze: object = gzipped) -> bytes:
    assert callable(squeeze)
    return rpm_header(b"\xed\xab\xee\xdb" + bytes(92)) + bytes(squeeze(cpio(files)))


def rpm_header(lead: bytes) -> bytes:
    def section(values: bytes) -> bytes:
        entry = struct.pack(">IIII", 1000, 6, 0, 1)
        return b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">II", 1, len(values)) + entry + values

    signature = section(b"sig\0")
    return lead + signature + bytes(-len(signature) % 8) + section(b"planted\0")


def java_class(strings: Sequence[str], names: Sequence[str] = (), calls: Mapping[str, str] = {}) -> bytes:
    """A Java class: its string constants, other texts, and calls of a method with a string: JVM specification, 4.1."""
    pool = list[bytes]()

    def added(constant: bytes) -> int:
        pool.append(constant)
        return len(pool)

    def text(value: str) -> int:
        return added(struct.pack(">BH", 1, len(value.encode())) + value.encode())

    def string(value: str) -> int:
        return added(struct.pack(">BH", 8, text(value)))

    for value in strings:
        string(value)
    for name in names:
        text(name)
    code = b""
    for method, value in calls.items():
        name_and_type = added(struct.pack(">BHH", 12, text(method), text("(Ljava/lang/String;)V")))
        called = added(struct.pack(">BHH", 10, added(struct.pack(">BH", 7, text("A"))), name_and_type))
        code += struct.pack(">BHBH", 0x13, string(value), 0xB6, called)
    head = b"\xca\xfe\xba\xbe\0\0\0\x34" + struct.pack(">H", len(pool) + 1)
    return head + b"".join(pool) + struct.pack(">HHHHH", 1, 0, 0, 0, 0) + code
