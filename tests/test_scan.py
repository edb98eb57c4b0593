"""Scanning a layer: where in the bytes a secret stands must not matter."""

from __future__ import annotations

import hashlib
import io
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.codec import windows
from auditor.codec.windows import AHEAD, WINDOW
from auditor.core import limits
from auditor.core.errors import Damaged
from auditor.detect.rules import Ruleset
from auditor.rulebook.examples import fill
from auditor.scan import LayerRecord, Scanner
from tests.images import COMPRESSIONS, file, layer, token


def scan(scanner: Scanner, data: bytes) -> LayerRecord:
    return scanner.scan_layer(io.BytesIO(data), "layer")


def found(record: LayerRecord) -> list[tuple[str, int | None, int]]:
    return [(record.listing.paths[m.entry], m.line, m.offset) for m in record.matches]


@settings(max_examples=60, deadline=None)
@given(st.integers(-3000, 3000), st.sampled_from([1, 2]))
def test_a_secret_anywhere_near_the_edge_of_a_window_is_found_once(shift: int, edge: int) -> None:
    secret = token(1)
    place = max(edge * WINDOW - AHEAD + shift, 0)
    body = (b"line\n" * (place // 5 + 1))[: place - 1] + b"\n" + secret.encode() + b"\n" + b"more\n" * 20_000
    record = scan(_shared(), layer(file("big.log", body)))
    assert found(record) == [("big.log", body.count(b"\n", 0, place) + 1, place)]


@pytest.mark.parametrize("shift", range(-50, 5, 6))
def test_a_password_on_the_edge_of_a_window_is_found_once_whatever_rules_hit(shift: int, scanner: Scanner) -> None:
    place = WINDOW - AHEAD - 512 + shift  # behind the header
    text = fill('db_password = "{base62:20}"\n', shift)
    body = (b"line\n" * (place // 5 + 1))[:place] + b"\n" + text.encode() + b"more\n" * 10_000
    assert [offset for _, _, offset in found(scan(scanner, layer(file("a.conf", body))))] == [place + 16]


_SCANNERS: list[Scanner] = []


def _shared() -> Scanner:
    return _SCANNERS[0]


@pytest.fixture(autouse=True)
def _keep(scanner: Scanner) -> None:
    _SCANNERS[:] = [scanner]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1024])
def test_a_secret_that_ends_its_file_is_found_whatever_the_padding(size: int, scanner: Scanner) -> None:
    secret = token(2).encode()
    for length in {size, max(512 - len(secret), 0)}:
        body = b" " * length + secret
        assert found(scan(scanner, layer(file("a", body), file("ghp_next", b"x")))) == [("a", 1, length)]


def test_a_secret_is_not_joined_over_two_files(scanner: Scanner) -> None:
    secret = token(3)
    assert found(scan(scanner, layer({"a": secret[:20], "b": secret[20:]}))) == []


def test_a_name_that_looks_like_a_secret_is_none(scanner: Scanner) -> None:
    assert found(scan(scanner, layer({token(4): b"x"}))) == []


def test_binary_data_has_no_lines(scanner: Scanner) -> None:
    assert found(scan(scanner, layer({"a": b"\0\n\n" + token(5).encode()}))) == [("a", None, 3)]


def test_many_findings_in_one_file_end_in_a_note(scanner: Scanner) -> None:
    body = "\n".join(token(seed) for seed in range(1200))
    record = scan(scanner, layer({"a": body}))
    assert len(record.matches) == 1000
    assert record.skipped == (("/a", "more than 1000 findings; the rest was left out (limit findings-file)"),)


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_digests_are_of_the_bytes_stored_and_of_the_tar(name: str, scanner: Scanner) -> None:
    data = layer({"a": b"x" * 5000})
    stored = COMPRESSIONS[name][0](data)
    record = scan(scanner, stored)
    assert record.digest == "sha256:" + hashlib.sha256(stored).hexdigest()
    assert record.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert (record.size, record.uncompressed, len(record.listing)) == (len(stored), len(data), 1)


def test_the_other_digest_algorithm(scanner: Scanner) -> None:
    record = scanner.scan_layer(io.BytesIO(layer()), "layer", "sha512")
    assert record.digest == "sha512:" + hashlib.sha512(layer()).hexdigest()


def test_a_blob_that_is_no_tar_is_one_file(scanner: Scanner) -> None:
    record = scan(scanner, b"# notes\n" + token(6).encode())
    assert not record.is_tar and [m.line for m in record.matches] == [2]


def test_an_empty_blob_is_an_empty_layer(scanner: Scanner) -> None:
    assert scan(scanner, b"").is_tar


def test_broken_compression_is_damaged_and_names_the_layer(scanner: Scanner) -> None:
    data = COMPRESSIONS["gzip"][0](layer({"a": b"x" * 100_000}))
    with pytest.raises(Damaged, match=r"^layer: gzip data is broken"):
        scan(scanner, data[:-20])


@pytest.mark.parametrize("last", [b"\0", b"A", b"/", b"_"])
def test_a_token_at_the_start_of_a_file_is_found_whatever_its_header_ends_with(scanner: Scanner, last: bytes) -> None:
    data = bytearray(layer(file("a", token(3, "EAAG{base62:176}")), form=tarfile.GNU_FORMAT))
    data[511:512] = last
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (match,) = scan(scanner, bytes(data)).matches
    assert (match.rule, match.offset) == ("facebook-access-token", 0)


def test_a_bomb_is_stopped(ruleset: Ruleset, cache: Path) -> None:
    few, bomb = limits.limits_of({"layer-bytes": 1 << 20}), COMPRESSIONS["zstd"][0](layer({"a": bytes(3 << 20)}))
    scanner = Scanner(ruleset, cache=cache, limits=few)
    with closing(scanner), pytest.raises(Damaged, match=r"more than 1048576 bytes \(limit layer-bytes\)"):
        scan(scanner, bomb)


@pytest.mark.parametrize(
    ("path", "head", "rules"),
    [
        ("srv/notes", b"", 2),
        ("srv/program", b"\x7fELF", 1),
        ("srv/array.npy", b"\x93NUMPY", 1),
        ("srv/pkgcache.bin", b"\xdc\x76\xfe\x98", 1),
        ("srv/unicode.dat", b"\0\x20\xda\x27", 1),
        ("var/lib/apt/lists/main_Packages", b"", 1),
    ],
)
def test_words_are_looked_for_in_text_alone_and_tokens_everywhere(
    scanner: Scanner, path: str, head: bytes, rules: int
) -> None:
    lines = f"\ntoken {token(4)}\npassword = {token(5, '{base62:18}')}\n".encode()
    record = scan(scanner, layer({path: head + b"." * (64 << 10) + lines}))
    assert len({match.rule for match in record.matches}) == rules


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5 * 1000), st.integers(1, 700))
def test_windows_hold_every_byte_and_own_every_place_once(length: int, step: int) -> None:
    data = bytes(n % 251 for n in range(length))

    class Trickle(io.RawIOBase):
        at = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            piece = data[self.at : self.at + min(len(buffer), step)]
            buffer[: len(piece)] = piece
            self.at += len(piece)
            return len(piece)

    old = windows.WINDOW, windows.AHEAD, windows.OVERLAP
    windows.WINDOW, windows.AHEAD, windows.OVERLAP = 512, 40, 64
    try:
        whole, owned = b"", 0
        for window in windows.windows(Trickle()):  # type: ignore[arg-type]
            assert bytes(window.view) == data[window.start : window.end]
            assert window.owned_from == owned
            owned, whole = window.owned_to, whole + bytes(window.fresh_view)
        assert whole == data and owned == length + 1
    finally:
        windows.WINDOW, windows.AHEAD, windows.OVERLAP = old


@pytest.mark.parametrize("head", [b"PK\3\4", b"\xca\xfe\xba\xbe\0\0\0\x34", b"JM\1\0"], ids=["zip", "class", "module"])
def test_text_behind_the_magic_of_an_archive_is_searched_for_words(scanner: Scanner, head: bytes) -> None:
    line = f"\npassword = {token(5, '{base62:18}')}\n".encode()
    assert scan(scanner, layer({"srv/a": head + line})).matches
