"""What became of each file version."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from auditor.core.entries import Deleted, FileVersion, Overwritten, VersionState, Visible
from auditor.core.limits import DEFAULT
from auditor.layers.file_history import FileHistory, _HigherLayers, implied_folders
from auditor.layers.layer_index import index_layer
from tests.filesystem import Model
from tests.images import Item, file, folder, hardlink, layer, opaque, symlink, whiteout


def trace(*layers: list[Item]) -> FileHistory:
    return FileHistory([index_layer(io.BytesIO(layer(*items)), "test", DEFAULT).listing for items in layers])


def fates(traced: FileHistory, path: str) -> list[VersionState]:
    return [
        traced.state(number, entry)
        for number, listing in enumerate(traced.layers)
        for entry, own in enumerate(listing.paths)
        if own == path
    ]


def test_a_whiteout_deletes_a_file_of_a_lower_layer() -> None:
    assert fates(trace([file("a")], [whiteout("a")]), "a") == [Deleted(1)]


def test_the_same_path_anew_overwrites() -> None:
    assert fates(trace([file("a", "1")], [], [file("a", "2")]), "a") == [Overwritten(2), Visible()]


def test_deleting_a_parent_deletes_all_below_it() -> None:
    traced = trace([file("a/b/c"), file("a/d")], [whiteout("a")])
    assert fates(traced, "a/b/c") == fates(traced, "a/d") == [Deleted(1)]


def test_a_parent_replaced_by_a_file_or_a_symlink_deletes_all_below_it() -> None:
    for by in (file("a"), symlink("a", "b")):
        assert fates(trace([file("a/b/c")], [by]), "a/b/c") == [Deleted(1)]


def test_an_opaque_folder_hides_what_lower_layers_put_there_and_not_its_own() -> None:
    traced = trace([folder("a"), file("a/old"), file("a/both")], [file("a/both"), opaque("a"), file("a/new")])
    assert fates(traced, "a") == [Visible()]
    assert fates(traced, "a/old") == [Deleted(1)]
    assert fates(traced, "a/both") == [Overwritten(1), Visible()]
    assert fates(traced, "a/new") == [Visible()]


def test_an_opaque_whiteout_at_the_root_hides_nothing() -> None:
    """Overlay file systems read the attribute of folders below the root alone."""
    assert fates(trace([file("a/b")], [opaque("")]), "a/b") == [Visible()]


def test_a_folder_where_the_layer_had_a_whiteout_shows_the_lower_one() -> None:
    below, above = [folder("d"), file("d/a")], [whiteout("d"), folder("d"), file("d/b")]
    assert fates(trace(below, above), "d/a") == [Visible()]


def test_what_a_layer_replaces_itself_does_not_act_on_lower_layers() -> None:
    below, above = [folder("d"), file("d/a")], [file("d"), folder("d")]
    assert fates(trace(below, above), "d/a") == [Visible()]


def test_entries_go_through_the_links_of_their_own_layer() -> None:
    traced = trace(
        [folder("usr/bin"), symlink("bin", "usr/bin"), file("bin/t")],
        [whiteout("usr/bin/t")],
    )
    assert fates(traced, "usr/bin/t") == [Deleted(1)] and not fates(traced, "bin/t")


def test_a_link_of_a_lower_layer_is_replaced_by_the_folder_an_entry_implies() -> None:
    traced = trace([folder("usr/bin"), symlink("bin", "usr/bin")], [file("bin/t")])
    assert fates(traced, "bin") == [Overwritten(1)] and fates(traced, "bin/t") == [Visible()]


def test_a_character_device_0_0_is_a_whiteout() -> None:
    traced = trace([file("a"), file("d/b")], [Item("a", type=b"3"), Item("d", type=b"3")])
    assert fates(traced, "a") == [Deleted(1), Deleted(1)] and fates(traced, "d/b") == [Deleted(1)]


def test_the_attribute_of_an_opaque_folder_hides_the_lower_ones() -> None:
    opaque_folder = folder("d", pax={"SCHILY.xattr.trusted.overlay.opaque": "y"})
    assert fates(trace([file("d/a")], [opaque_folder, file("d/b")]), "d/a") == [Deleted(1)]


def test_a_whiteout_with_a_body_holds_bytes_that_no_engine_shows() -> None:
    traced = trace([file("a")], [Item(".wh.a", b"body")])
    assert fates(traced, "a") == [Deleted(1)] and fates(traced, ".wh.a") == [Deleted(1)]


def test_a_path_deleted_and_added_again_is_two_versions() -> None:
    assert fates(trace([file("a")], [whiteout("a")], [file("a")]), "a") == [Deleted(1), Visible()]


def test_a_whiteout_beside_the_path_itself_hides_only_lower_layers() -> None:
    for items in ([whiteout("a"), file("a")], [file("a"), whiteout("a")]):
        assert fates(trace([file("a")], items), "a") == [Overwritten(1), Visible()]


def test_of_two_entries_in_one_layer_the_earlier_is_overwritten_by_its_own_layer() -> None:
    assert fates(trace([file("a", "1"), file("a", "2")]), "a") == [Overwritten(0), Visible()]


def test_a_moved_file_is_deleted_there_and_visible_here() -> None:
    traced = trace([file("a")], [whiteout("a"), file("b")])
    assert fates(traced, "a") == [Deleted(1)]
    assert fates(traced, "b") == [Visible()]


def test_a_folder_over_a_folder_merges() -> None:
    traced = trace([folder("a"), file("a/b")], [folder("a", mode=0o700)])
    assert fates(traced, "a") == [Visible(), Visible()]
    assert fates(traced, "a/b") == [Visible()]


def test_a_path_below_a_file_replaces_the_file_by_a_folder() -> None:
    traced = trace([file("a")], [file("a/b")])
    assert fates(traced, "a") == [Overwritten(1)]
    assert list(implied_folders(traced.visible())) == ["a"]


def test_the_nearest_layer_above_is_named() -> None:
    traced = trace([file("d/a")], [], [whiteout("d/a")], [whiteout("d")])
    assert fates(traced, "d/a") == [Deleted(2)]


def test_whiteouts_in_an_artifact_hide_nothing() -> None:
    listings = [
        index_layer(io.BytesIO(layer(*items)), "t", DEFAULT).listing for items in ([file("a")], [whiteout("a")])
    ]
    assert FileHistory(listings, stacked=False).state(0, 0) == Visible()


def test_a_hard_link_leads_to_its_own_layer_first_then_below() -> None:
    traced = trace([file("a", "0")], [file("a", "1"), hardlink("b", "a")], [hardlink("c", "a")])
    assert traced.content(FileVersion(1, 1)) == FileVersion(1, 0)
    assert traced.content(FileVersion(2, 0)) == FileVersion(1, 0)


def test_a_hard_link_to_nothing_or_to_itself_leads_nowhere() -> None:
    traced = trace([hardlink("a", "nowhere"), hardlink("b", "c"), hardlink("c", "b")])
    assert traced.content(FileVersion(0, 0)) is None
    assert traced.content(FileVersion(0, 2)) is None


def test_a_chain_of_hard_links_leads_to_its_file_however_long_it_is() -> None:
    traced = trace([file("f0", "x"), *(hardlink(f"f{n + 1}", f"f{n}") for n in range(500))])
    assert {traced.content(FileVersion(0, entry)) for entry in (500, 3, 499, 0)} == {FileVersion(0, 0)}


names = st.sampled_from(["a", "b", "c"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
items = st.one_of(
    paths.map(file),
    paths.map(folder),
    paths.map(lambda path: Item(path, type=b"6")),
    paths.map(whiteout),
    paths.map(opaque),
)


@settings(max_examples=400, deadline=None)
@example([[file("b/b")], [file("b/b/a"), file("b"), file("b/a")]])  # the folder b/b is gone before the layer ends
@given(st.lists(st.lists(items, max_size=6), max_size=5))
def test_every_fate_is_what_unpacking_the_layers_one_by_one_shows(stack: list[list[Item]]) -> None:
    model, traced = Model(), trace(*stack)
    writes = [model.apply(number, entries) for number, entries in enumerate(stack)]
    tree = traced.visible()
    assert set(tree) == {path for path, (_, write) in model.tree.items() if write > 0}
    # What a whiteout alone implies is an empty folder, which no entry names or needs.
    assert set(tree) | set(implied_folders(tree)) <= set(model.tree)
    for number, entries in enumerate(stack):
        kept = [write for write, item in zip(writes[number], entries, strict=True) if write > 0]
        files = [item.type != b"5" for item in entries if not item.path.rpartition("/")[2].startswith(".wh.")]
        for entry, (write, is_file) in enumerate(zip(kept, files, strict=True)):
            if is_file:
                assert traced.hidden_in(number, entry) == model.lost.get(write)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(items, max_size=4, unique_by=lambda item: item.path), max_size=5))
def test_entries_that_do_not_replace_each_other_have_the_states_of_the_ordered_walk(stack: list[list[Item]]) -> None:
    listings = trace(*stack).layers
    at_once = FileHistory(listings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_HigherLayers, "_add_independent", lambda *_: False)
        in_order = FileHistory(listings)
    for number, listing in enumerate(listings):
        states = [
            (at_once.hidden_by(number, entry), in_order.hidden_by(number, entry)) for entry in range(len(listing))
        ]
        assert all(own == other for own, other in states)
