"""One Vectorscan pass over a block for all rules: which rule matches, and where the match ends."""

from __future__ import annotations

import hashlib
import platform
import struct
import threading
from array import array
from importlib.metadata import version
from pathlib import Path
from typing import cast

import hyperscan

from auditor import __version__
from auditor.detect.paths import scratch_of
from auditor.detect.plugins import plugin_patterns
from auditor.detect.prefilter import Prefilter, prefilter
from auditor.detect.rules import Rule, Ruleset
from auditor.errors import RuleError
from auditor.store.folder import keep, read_kept


class Matcher:
    """A compiled ruleset, but for the rules that look only at certain paths.

    `hits` may be called from several threads at once and releases the interpreter lock.
    """

    def __init__(self, ruleset: Ruleset, cache: Path | None = None) -> None:
        """Compile, or take what `cache`, a folder, keeps of an earlier run. Raises RuleError."""
        kept = cache / f"rules-{_key(ruleset)}.vectorscan" if cache else None
        loaded = _load(read_kept(kept)) if kept else None
        if loaded is None:
            loaded = _compile(ruleset)
            if kept:
                keep(kept, _dump(*loaded))
        self._owner, self._database = loaded
        self._local = threading.local()

    def hits(self, block: memoryview | bytes) -> list[tuple[int, int]]:
        """Return (rule number, end) for each raw hit, in the order of their ends."""
        found: list[tuple[int, int]] = []
        owner = self._owner

        def note(expression: int, _start: int, end: int, _flags: int, _context: object) -> None:
            found.append((owner[expression], end))

        if self._owner and len(block):
            self._database.scan(
                cast(bytes, block), match_event_handler=note, scratch=scratch_of(self._local, self._database)
            )
        return found


def prefilters(rule: Rule) -> list[Prefilter]:
    """Return what to look for on behalf of a rule: one expression, or one for each of a plugin's."""
    patterns = [(rule.pattern, 0)] if rule.detector == "rules" else plugin_patterns(rule.id)
    try:
        return [prefilter(pattern, flags) for pattern, flags in patterns]
    except ValueError as exc:
        raise RuleError(f"rule {rule.id}: {exc}") from None


def _key(ruleset: Ruleset) -> str:
    """Name a compiled ruleset: it holds for one version of Vectorscan, of this program, and for one kind of CPU."""
    made_by = f"{version('hyperscan')} {__version__} {platform.machine()} {_cpu_flags()}"
    return hashlib.sha256(f"{ruleset.digest} {made_by}".encode()).hexdigest()[:32]


def _cpu_flags() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _compile(ruleset: Ruleset) -> tuple[array[int], hyperscan.Database]:
    """Return a database, and the rule number of each of its expressions."""
    owner, items = array("H"), list[Prefilter]()
    for number, rule in enumerate(ruleset.rules):
        for item in prefilters(rule) if not rule.paths else ():
            owner.append(number)
            items.append(item)
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    if items:
        try:
            database.compile(
                expressions=[item.expression for item in items],
                ids=list(range(len(items))),
                elements=len(items),
                flags=[hyperscan.HS_FLAG_CASELESS if item.caseless else 0 for item in items],
            )
        except hyperscan.error as exc:
            raise RuleError(_blame(ruleset, exc)) from exc
    return owner, database


def _dump(owner: array[int], database: hyperscan.Database) -> bytes:
    if not owner:
        return b""
    return struct.pack("<I", len(owner)) + owner.tobytes() + hyperscan.dumpb(database)


def _load(data: bytes | None) -> tuple[array[int], hyperscan.Database] | None:
    if not data:
        return None
    (count,) = struct.unpack_from("<I", data)
    owner = array("H", data[4 : 4 + 2 * count])
    try:
        return owner, hyperscan.loadb(data[4 + 2 * count :], hyperscan.HS_MODE_BLOCK)
    except hyperscan.error:  # of another version or CPU after all
        return None


def _blame(ruleset: Ruleset, exc: Exception) -> str:
    """Name the rule that Vectorscan refuses."""
    for rule in ruleset.rules:
        for item in prefilters(rule):
            one = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
            try:
                one.compile(expressions=[item.expression], ids=[0], elements=1, flags=[0])
            except hyperscan.error as cause:
                return f"rule {rule.id}: Vectorscan refuses the pattern: {cause}"
    return f"Vectorscan refuses the rules together: {exc}"
