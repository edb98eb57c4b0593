"""Plan that excises hidden file versions from their layers and keeps all other layers. Reads listings only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auditor.core.entries import EntryKind, FileVersion
from auditor.layers.file_history import FileHistory
from auditor.layers.listing import WHITEOUT, Listing
from auditor.layers.tree import Tree
from auditor.rebuild.operations import (
    AddFile,
    AddLink,
    AddWhiteout,
    ExciseLayer,
    KeepLayer,
    LayerPlan,
    Operation,
    whiteout_of,
)


def excise(listings: Sequence[Listing], history: FileHistory, leaking: set[FileVersion]) -> tuple[LayerPlan, ...]:
    """Plan to remove all hidden names of the file versions `leaking`; layers without any are kept.

    A rewritten layer also loses the entries that it replaces itself: otherwise removing the last entry of a path would
    bring an earlier one back.
    """
    tree = Tree()
    plans: list[LayerPlan] = []
    targets = _targets(listings)
    hidden = _hidden_names(listings, history, leaking, targets)
    removed = {version for entries in hidden.values() for version in entries}
    for number, listing in enumerate(listings):
        replacements: dict[int, tuple[Operation, ...]] = {
            v.entry: _replacement_whiteout(tree, v, listing, history) for v in hidden.get(number, ())
        }
        replacements |= _moved_contents(number, listing, targets, removed, replacements)
        plans.append(ExciseLayer(number, replacements) if replacements else KeepLayer(number))
        tree.apply(number, listing)
    return tuple(plans)


def _targets(listings: Sequence[Listing]) -> dict[FileVersion, FileVersion | None]:
    """Map each hard link to the entry that holds its content."""
    if not any(kind == EntryKind.HARDLINK for listing in listings for kind in set(listing.kinds)):
        return {}
    tree = Tree()
    for number, listing in enumerate(listings):
        tree.apply(number, listing)
    return tree.targets


def _hidden_names(
    listings: Sequence[Listing],
    history: FileHistory,
    leaking: set[FileVersion],
    targets: Mapping[FileVersion, FileVersion | None],
) -> dict[int, set[FileVersion]]:
    """Return by layer the hidden names of the versions `leaking`, hard links included."""
    hidden: dict[int, set[FileVersion]] = {}
    for version in (*leaking, *(link for link, content in targets.items() if content in leaking)):
        if history.hidden_in(version.layer, version.entry) is not None:
            hidden.setdefault(version.layer, set()).add(version)
    return {number: found | _shadowed(number, listings[number], history) for number, found in hidden.items()}


def _shadowed(number: int, listing: Listing, history: FileHistory) -> set[FileVersion]:
    """Return the entries that a later entry of their own layer replaces. Symbolic links stay: paths may pass them."""
    stay = (EntryKind.WHITEOUT, EntryKind.SYMLINK)
    return {
        FileVersion(number, entry)
        for entry, kind in enumerate(listing.kinds)
        if history.hidden_in(number, entry) == number and kind not in stay
    }


def _replacement_whiteout(
    tree: Tree, version: FileVersion, listing: Listing, history: FileHistory
) -> tuple[Operation, ...]:
    """Return a whiteout where the removed file hid a folder of a lower layer, else nothing.

    A removed whiteout that had a body is written without it.
    """
    path, kind = listing.paths[version.entry], listing.kinds[version.entry]
    if kind == EntryKind.WHITEOUT:
        return (AddWhiteout(path),) if path.rpartition("/")[2].startswith(WHITEOUT) else ()
    lower = tree.find(path)
    is_shadowed = history.hidden_in(version.layer, version.entry) == version.layer
    if kind == EntryKind.DIR or is_shadowed or path in listing.whiteouts or lower is None or lower.children is None:
        return ()
    return (whiteout_of(path),)


def _moved_contents(
    number: int,
    listing: Listing,
    targets: Mapping[FileVersion, FileVersion | None],
    removed: set[FileVersion],
    replacements: Mapping[int, tuple[Operation, ...]],
) -> dict[int, tuple[Operation, ...]]:
    """Return operations for hard linked files that lose a name: the first remaining name of the layer gets the content.

    The other remaining names become links to it. All names of a file set its metadata, so each is written with all.
    """
    files: dict[FileVersion, list[FileVersion]] = {}
    for entry in sorted(listing.links):
        link = FileVersion(number, entry)
        if (content := targets.get(link)) is not None:
            files.setdefault(content, []).append(link)
    operations: dict[int, tuple[Operation, ...]] = {}
    for content, links in files.items():
        if removed.isdisjoint((content, *links)):
            continue
        metadata, own = (content, *links), content.layer == number
        names = [name for name in (metadata if own else links) if name.entry not in replacements]
        if not names:
            continue
        first_path = listing.paths[names[0].entry]
        if own:
            operations[content.entry] = (*replacements.get(content.entry, ()), AddFile(first_path, content, metadata))
            operations |= {names[0].entry: ()} if names[0] != content else {}
        else:
            operations[names[0].entry] = (AddFile(first_path, content, metadata),)
        operations |= {name.entry: (AddLink(name, first_path, metadata),) for name in names[1:]}
    return operations
