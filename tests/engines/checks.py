"""What image-audit says of an image, held against what an engine shows of it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from auditor.core.limits import DEFAULT
from auditor.core.text import display_path
from auditor.layers.file_history import implied_folders
from auditor.layers.tree import Tree
from auditor.pipeline import Audit, Request, audit
from auditor.rebuild.extraction import overlay_root, walk_overlay
from auditor.rebuild.flatten import FlattenJob, flatten
from auditor.rebuild.readable_layers import FileSystem, ReadableLayers
from auditor.rebuild.source_images import ALL_FINDINGS
from auditor.scan import Scanner
from auditor.store.records import Records
from tests.engines.docker import Engine, Refused, Shown, archive
from tests.rebuild.unpack import layers_of

_TOKEN = re.compile(rb"ghp_[0-9A-Za-z]{36}")
WAYS = ("full", "minimal", "excise")
_FRESH = 1_000_000_000_000_000_000 * 1.75  # times of tests are older: a folder with a later one was only implied


@dataclass(frozen=True)
class Judge:
    """An engine, and the scanner that is judged by it."""

    engine: Engine
    scanner: Scanner

    def check(self, name: str, layers: Sequence[bytes]) -> bool:
        """Compare states, trees, attributes, and what is flattened. False where the engine refuses the image."""
        try:
            return self._check(name, layers)
        finally:
            self.engine.clear()

    def _check(self, name: str, layers: Sequence[bytes]) -> bool:
        prefixes = {f"{name}:{count}": layers[:count] for count in range(1, len(layers) + 1)}
        try:
            self.engine.load(archive(prefixes), tuple(prefixes))
        except Refused:
            return False
        trees = [self.engine.tree(prefix) for prefix in prefixes]
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "in.tar")
            source.write_bytes(archive({f"{name}:in": layers}))
            self._check_audit(source, layers, trees)
            self._check_flattened(source, name, trees[-1])
        return True

    def _check_audit(self, source: Path, layers: Sequence[bytes], trees: Sequence[Mapping[str, Shown]]) -> None:
        records = Records(self.scanner, None, keep_secrets=True)
        (audited,) = audit(str(source), self.scanner, Request(selection=ALL_FINDINGS), records)
        tokens = {(f.path, f.secret.reveal()) for f in audited.findings if f.path is not None}
        planted = {token.decode() for data in layers for token in _TOKEN.findall(data)}
        assert planted <= {token for _, token in tokens}
        for count, tree in enumerate(trees, 1):
            same(f"tokens of {count} layers", _visible(audited, count), _shown_tokens(tree))
        paths = set(trees[-1]) - {""}
        same("visible paths", _paths(audited), paths)
        same("planned paths", _planned(audited), paths)
        shown = {path: _comparable(one) for path, one in trees[-1].items() if path}
        same("attributes", _attributes(audited), shown)

    def _check_flattened(self, source: Path, name: str, tree: Mapping[str, Shown]) -> None:
        outputs = {}
        for way in WAYS:
            out = source.with_name(f"{way}.tar")
            flatten(FlattenJob(str(source), way), self.scanner, out)
            ((outputs[f"{name}:{way}"], _),) = layers_of(out.read_bytes())
        self.engine.load(archive(outputs), tuple(outputs))
        for output in outputs:
            after = {path: _comparable(one) for path, one in self.engine.tree(output).items()}
            same(output, after, {path: _comparable(one) for path, one in tree.items()})


def same(what: str, ours: Collection[object], engines: Collection[object]) -> None:
    """Raise AssertionError where two sets or mappings differ, with what only one of them has."""
    items = [set(one.items()) if isinstance(one, Mapping) else set(one) for one in (ours, engines)]
    only = [sorted(map(repr, one - other)) for one, other in (items, items[::-1])]
    assert items[0] == items[1], f"{what}: only here {only[0]}; only in the engine {only[1]}"


def _visible(audited: Audit, count: int) -> set[tuple[str, str]]:
    """Return the tokens that an image of the first layers shows, going by the findings."""
    return {
        (f.path[1:], f.secret.reveal())
        for f in audited.findings
        if f.path is not None and f.added_in is not None and f.added_in < count
        if f.hidden_in is None or f.hidden_in >= count
    }


def _shown_tokens(tree: Mapping[str, Shown]) -> set[tuple[str, str]]:
    return {
        (display_path(path)[1:], token.decode())
        for path, shown in tree.items()
        for token in _TOKEN.findall(shown.content)
    }


def _paths(audited: Audit) -> set[str]:
    visible = audited.file_history.visible()
    markers = {
        parent
        for listing in audited.file_history.layers
        for marker in (*listing.whiteouts, *(folder + "/" for folder in listing.opaque))
        for parent in _parents(marker)
    }
    return {*visible, *implied_folders(visible), *(markers & _planned(audited))}


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _planned(audited: Audit) -> set[str]:
    tree = Tree()
    for number, record in enumerate(audited.records):
        tree.apply(number, record.listing)
    return {path for path, _ in tree.walk()}


def _attributes(audited: Audit) -> dict[str, Shown]:
    """Return what the proof takes an image to show; contents are those of the test's own comparison."""
    parts = ReadableLayers(
        audited.image.target, list(audited.image.layers), [r.listing for r in audited.records], {}, DEFAULT
    )
    parts.read_headers(whole=False)
    side = FileSystem(parts, overlay_root(parts.extracted), ())
    shown = dict(walk_overlay(side.root))
    names: dict[int, list[str]] = {}
    for path, one in shown.items():
        names.setdefault(id(one.inode), []).append(path)
    found = {}
    for path, one in shown.items():
        meta, kind = side.metadata_of(one.inode), one.inode.kind
        content = b""
        if kind is not None and kind.name == "FILE" and one.inode.created_by is not None:
            listing, at = parts.listings[one.inode.created_by.layer], one.inode.created_by
            with parts.reader(at.layer) as reader:
                start = listing.offsets[at.entry]
                content = reader.exactly(start, start + listing.sizes[at.entry])
        prefix = "SCHILY.xattr."
        xattrs = {k.removeprefix(prefix): v.encode("utf-8", "surrogateescape") for k, v in meta.xattrs.items()}
        found[path] = Shown(
            "nothing" if kind is None else kind.name.lower(),
            meta.mode,
            meta.uid,
            meta.gid,
            -1 if not one.inode.metadata_entries else max(meta.mtime_ns, 0),
            one.inode.link or "",
            content,
            meta.device,
            tuple(sorted(names[id(one.inode)])) if kind is not None and kind.name != "DIR" else (path,),
            tuple(sorted((k, v) for k, v in xattrs.items() if not k.startswith("trusted.overlay."))),
        )
    return {path: _comparable(one) for path, one in found.items()}


def _comparable(shown: Shown) -> Shown:
    """Leave out what an engine does not take from the image: the time of implied folders, the mode of links."""
    if shown.kind == "symlink":
        return replace(shown, mode=0o777)
    if shown.kind == "dir" and (shown.mtime_ns > _FRESH or not shown.mtime_ns):
        return replace(shown, mtime_ns=-1)
    return shown
