"""The targets of `make fuzz`, by hypothesis, and what fuzzing found."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.codec.tar import TarParser
from auditor.core.limits import DEFAULT
from fuzz.seeds import seeds
from fuzz.targets import TARGETS
from tests.conftest import Cli
from tests.hostile.case import END, entry, pax
from tests.images import token

SEEDS = seeds()


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_target_breaks(name: str, data: st.DataObject) -> None:
    text = bytearray(data.draw(st.sampled_from(SEEDS[name])))
    for at, new in data.draw(st.lists(st.tuples(st.integers(0, 8000), st.binary(max_size=8)), max_size=6)):
        text[at % len(text) : at % len(text) + len(new)] = new
    TARGETS[name](bytes(text[: data.draw(st.integers(1, len(text)))]))


@pytest.mark.parametrize("cut", [1536, 1600, 2048, 2100, 2560])
def test_a_lone_zero_block_at_the_end_of_a_piece_hides_no_entry(cut: int) -> None:
    tar = entry(b"a", b"x" * 600) + bytes(512) + entry(b"b", b"y") + END
    walker = TarParser(DEFAULT)
    paths = [
        header.path for at, end in ((0, cut), (cut, len(tar))) for header in walker.feed(memoryview(tar)[at:end], at)
    ]
    assert paths == ["a", "b"]


def test_the_end_of_a_tar_behind_extension_headers_is_its_end() -> None:
    longer = pax({b"path": b"n" * 300})
    for tar in (longer + END, longer + entry(b"a", b"x") + longer + bytes(512) + entry(b"b", b"y") + END):
        TARGETS["tar"](tar)
    walker = TarParser(DEFAULT)
    assert [header.path for header in walker.feed(memoryview(tar), 0)] == ["n" * 300, "b"]


@pytest.mark.parametrize("realm", ["http://[x/", "http://a:b/", "https://", "x"])
def test_a_token_server_at_no_address_is_said(realm: str) -> None:
    challenge = b'401\nWWW-Authenticate: Bearer realm="%s"\n\n' % realm.encode()
    TARGETS["registry"](b"\0\0".join([challenge] * 9))


def test_files_of_a_build_whose_names_are_no_text_are_shown(cli: Cli) -> None:
    (cli.folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (cli.folder / "\udcff").mkdir()
    (cli.folder / "\udcff/.env").write_text(f"TOKEN={token(3)}\n")
    for form in ("table", "json", "sarif"):
        done = cli("dockerfile", "Dockerfile", "--format", form)
        assert done.status == 1 and done.err == "" and ".env" in done.out, done.err


def test_a_heredoc_that_is_no_text_is_searched() -> None:
    TARGETS["dockerfile"](b"FROM scratch\nCOPY <<EOF /a\n\xff\xd0\nEOF\n")


@pytest.mark.parametrize("before", range(5))
def test_a_redirect_to_what_is_no_text_is_said_wherever_it_comes(before: int) -> None:
    TARGETS["registry"](b"\0\0".join([b"200"] * before + [b"302\nLocation: \xff\n\n"]))


LAUGHS = "registries:\n  r0: &r0 {newest: 1}\n" + "".join(
    f"  r{level}: &r{level} {{<<: [*r{level - 1}, *r{level - 1}]}}\n" for level in range(1, 60)
)


@pytest.mark.parametrize("text", ["<<: x", "<<: [x]", "images: &a {<<: *a}", "<<: &a [*a]", LAUGHS])
def test_merged_keys_that_make_no_sense_are_said_and_none_grows(text: str) -> None:
    TARGETS["config"](text.encode())
