"""`make bench-detect`: a lab image with secrets of every rule and with decoys, audited, and what was found of them.

    plants, risky lines, formats, decoys ─► an image of three layers ─► auditor.pipeline ─► tables

Exit 1 where a planted secret is missed or placed wrongly, or a decoy is reported.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path

from auditor.core.finding import Confidence
from auditor.detect.detect_secrets_plugins import plugin_rules
from auditor.detect.rules import builtin_rules, select
from auditor.findings.selection import Selection
from auditor.pipeline import Request, audit
from auditor.scan import Scanner
from auditor.store.records import Records
from bench.lab import Judge, Lab, lab
from tests.images import write_files

_COLUMNS = ("planted", "found", "named", "placed", "decoys", "alarms")
Counts = dict[str, Counter[str]]


def main() -> int:
    """Plant, audit, judge, print; 0 where all was found and placed and no decoy was reported."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else secrets.randbits(32)
    planted = lab(seed)
    scanner = Scanner(select((*builtin_rules(), *plugin_rules())))
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), planted.files)
        request = Request(selection=Selection(min_confidence=Confidence.LOW))
        results = audit(folder, scanner, request, Records(scanner, keep_secrets=True))
    scanner.close()
    print(f"seed {seed}")
    return 1 if report(planted, Judge(planted, results)) else 0


def report(planted: Lab, judge: Judge) -> bool:
    """Print the tables and what is wrong; say whether anything is."""
    families, ways, wrong = _judged(planted, judge)
    reported = judge.reported_misses()
    for miss in planted.misses:
        families[miss.family].update(decoys=1, alarms=miss in reported)
    alarms = [f"near miss reported: {miss.rule.id}, {miss.text}" for miss in reported]
    alarms += [f"decoy reported: {f.rule} in {f.path}:{f.line}" for f in judge.reported_decoys()]
    missed = [f"risky line missed: {one.path}:{one.line}" for one in judge.missed_risky()]
    others = [f"format missed: {one.provider}, {one.path}, found as {what}" for one, what in judge.missed_formats()]
    written, dialect_problems = _dialects(planted, judge)
    _print_table("dialect", written, ("planted", "found", "placed", "decoys", "alarms"))
    _print_table("family", families, _COLUMNS)
    _print_table("way or place", ways, _COLUMNS[:4])
    for name, lines, all_of in (("risky lines", missed, planted.risky), ("formats", others, planted.formats)):
        print(f"{name:24}{len(all_of) - len(lines)} of {len(all_of)}")
    print("\n".join([*wrong, *alarms, *missed, *others, *dialect_problems]))
    return bool(wrong or alarms or dialect_problems)


def _dialects(planted: Lab, judge: Judge) -> tuple[Counts, list[str]]:
    """Return counts by family of dialects, and the rows whose secret was missed or whose near miss was reported."""
    families: Counts = {}
    problems: list[str] = []
    for path, one in planted.dialects.items():
        findings = judge.found_in_dialect(path)
        counts = families.setdefault(one.family, Counter())
        if one.secret is None:
            counts.update(decoys=1, alarms=bool(findings))
        else:
            line = 1 + one.text[: one.text.find(one.secret)].count("\n")
            counts.update(planted=1, found=bool(findings), placed=any(f.line == line for f in findings))
        if bool(findings) is (one.secret is None):
            problems.append(f"dialect {'reported' if findings else 'missed'}: {one.row}")
    return families, problems


def _judged(planted: Lab, judge: Judge) -> tuple[Counts, Counts, list[str]]:
    """Return counts by family and by way, and what was missed or placed wrongly."""
    families: Counts = {}
    ways: Counts = {}
    wrong: list[str] = []
    for number, plant in enumerate(planted.plants):
        finding = judge.found(number)
        placed = finding is not None and judge.placed(number, finding)
        named = finding is not None and finding.rule == plant.rule.id
        for counts, key in ((families, plant.family), (ways, plant.how)):
            counts.setdefault(key, Counter()).update(planted=1, found=bool(finding), named=named, placed=placed)
        if not placed:
            what = "placed wrongly" if finding else "missed"
            wrong.append(f"{what}: {plant.rule.id}, {plant.state.value}, {plant.how}, {plant.path or 'metadata'}")
    return families, ways, wrong


def _print_table(title: str, counts: Counts, columns: tuple[str, ...]) -> None:
    total: Counter[str] = sum(counts.values(), Counter())
    print(f"{title:24}" + "".join(f"{name:>9}" for name in columns))
    for key, count in [*sorted(counts.items()), ("all", total)]:
        print(f"{key:24}" + "".join(f"{count[name]:9}" for name in columns))
    print()


if __name__ == "__main__":
    sys.exit(main())
