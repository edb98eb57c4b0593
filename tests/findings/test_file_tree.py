"""File trees: the effect of each layer on its files, sums of folders, secrets, masked names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.core.finding import State
from auditor.findings.file_tree import FileNode, FileTree, FolderNode
from auditor.layers.layer_changes import Change
from auditor.pipeline import Audit, Request, audit
from auditor.scan import Scanner
from tests.images import Built, file, folder, hardlink, image, layer, opaque, token, whiteout

Audited = Callable[[Built], Audit]


@pytest.fixture
def audited(tmp_path: Path, scanner: Scanner) -> Audited:
    return lambda built: audit(str(built.docker_archive(tmp_path / "image.tar")), scanner, Request())[0]


def files(tree: FileTree, path: str = "") -> dict[str, FileNode]:
    """All files of a tree by their masked path."""
    found = {}
    for node in tree.children(path, 1000).nodes:
        if isinstance(node, FileNode):
            found[node.path] = node
        else:
            found |= files(tree, node.path)
    return found


def changes(tree: FileTree) -> dict[str, Change]:
    return {path: node.change for path, node in files(tree).items()}


STACK = image(
    layer({"etc/passwd": "root", "opt/tool/a": "1" * 10, "opt/tool/b": "2" * 20, "srv/x": "3"}, folder("empty")),
    layer(file("etc/passwd", "rootroot"), whiteout("opt/tool"), {"new/file": "4" * 7}),
    layer(opaque("srv"), {"srv/y": "5", "etc/passwd/now-a-folder": "6"}, whiteout("new/file")),
    layer(file("twice", "first"), file("twice", "second!")),
)


def test_a_layer_adds_overwrites_and_deletes(audited: Audited) -> None:
    trees = audited(STACK).file_trees()
    assert changes(trees.layer(1)) == {
        "/etc/passwd": Change.OVERWRITTEN,
        "/new/file": Change.ADDED,
        "/opt/tool/a": Change.DELETED,
        "/opt/tool/b": Change.DELETED,
    }
    assert changes(trees.layer(2)) == {
        "/srv/y": Change.ADDED,
        "/srv/x": Change.DELETED,
        "/etc/passwd/now-a-folder": Change.ADDED,
        "/etc/passwd": Change.OVERWRITTEN,
        "/new/file": Change.DELETED,
    }


def test_a_file_has_its_version_and_the_layer_that_hides_it(audited: Audited) -> None:
    trees = audited(STACK).file_trees()
    own = files(trees.layer(0))["/opt/tool/b"]
    assert (own.change, own.size, own.state, own.hidden_in) == (Change.ADDED, 20, State.DELETED, 1)
    deleted = files(trees.layer(1))["/opt/tool/b"]
    assert deleted.version == own.version and deleted.version.layer == 0
    nodes = trees.layer(3).children("", 9).nodes
    assert [(node.size, node.hidden_in) for node in nodes if isinstance(node, FileNode)] == [(7, None), (5, 3)]


def test_sums_are_those_of_the_history(audited: Audited) -> None:
    found = audited(STACK)
    trees = found.file_trees()
    for number, stats in enumerate(found.stats):
        totals = trees.layer(number).totals
        own = (totals.counts[Change.OVERWRITTEN], totals.counts[Change.DELETED], totals.hidden_bytes)
        assert own == (stats.overwritten, stats.deleted, stats.hidden_bytes)
    added = [trees.layer(number).totals.counts[Change.ADDED] for number in (0, 1, 3)]
    assert added == [found.stats[number].added for number in (0, 1, 3)] == [4, 1, 1]
    assert trees.layer(1).totals.deleted_bytes == 30


def test_the_image_has_every_file_version_with_its_state(audited: Audited) -> None:
    tree = audited(STACK).file_trees().image()
    assert tree.totals.files == 10
    assert tree.totals.counts[Change.PRESENT] == 3
    assert files(tree)["/etc/passwd/now-a-folder"].change is Change.PRESENT


def test_secrets_come_first_and_count_once_a_folder(audited: Audited) -> None:
    secret = token(1)
    built = image(
        layer({"app/big": "x" * 9000, "app/a.env": f"T={secret}\n", "app/b.env": f"T={secret}\n", "usr/z": "y" * 99}),
        layer(hardlink("app/link.env", "app/a.env"), whiteout("app/b.env")),
    )
    found = audited(built)
    trees = found.file_trees()
    app, _ = trees.layer(0).children("", 9).nodes
    assert isinstance(app, FolderNode) and len(app.totals.secrets) == 1
    assert [node.name for node in trees.layer(0).children("app", 9).nodes] == ["a.env", "b.env", "big"]
    (own,) = files(trees.layer(0))["/app/a.env"].findings
    assert own.path == "/app/a.env"
    above = files(trees.layer(1))
    assert [finding.path for finding in above["/app/link.env"].findings] == ["/app/link.env"]
    assert [finding.state for finding in above["/app/b.env"].findings] == [State.DELETED]


def test_names_with_secrets_are_masked(audited: Audited) -> None:
    secret = token(2)
    tree = audited(image(layer(folder(f"keys/{secret}"), {f"srv/{secret}/a": "", "srv/b": ""}))).file_trees().layer(0)
    names = [node.name for node in (*tree.children("", 9).nodes, *tree.children("srv", 9).nodes)]
    assert secret not in repr(tree.children("", 9)) + repr(files(tree)) and len(names) == 4
    assert sum("ghp_****" in name for name in names) == 2
    assert len(tree.totals.secrets) == 1


def test_folders_with_one_folder_are_joined_and_the_rest_is_counted(audited: Audited) -> None:
    items = {f"usr/share/doc/f{number}": "x" * number for number in range(20)}
    tree = audited(image(layer(items, {"a": "", "b": ""}))).file_trees().layer(0)
    first, *_ = tree.children("", 9).nodes
    assert isinstance(first, FolderNode) and first.name == "usr/share/doc"
    children = tree.children(first.path, 3)
    assert [node.name for node in children.nodes] == ["f19", "f18", "f17"] and children.omitted == 17


def test_a_filter_keeps_files_by_a_text_of_their_path(audited: Audited) -> None:
    tree = audited(STACK).file_trees().image().filtered("TOOL/")
    assert set(files(tree)) == {"/opt/tool/a", "/opt/tool/b"}
    assert tree.totals.bytes == 30
    assert not tree.filtered("nowhere").children("", 9).nodes
