"""`make bench-detect`: a lab image with secrets of every rule and with decoys, audited, and what was found of them.

    plants, risky lines, decoys ─► an image of three layers ─► auditor.audit ─► a table by family

Exit 1 where a planted secret is missed or placed wrongly, or a decoy is reported.
"""

from __future__ import annotations

import random
import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auditor.audit import Audit, Request, audit
from auditor.data import data_path
from auditor.detect.plugins import plugin_rules
from auditor.detect.rules import builtin_rules, rule_files, select
from auditor.model import Confidence, Finding, State
from auditor.scan import Scanner
from auditor.selection import Selection
from bench.decoys import decoys
from bench.plants import Plant, plants
from bench.risky import Risky, risky_files
from tests.images import Built, Item, image, layer, step, whiteout

_HIDDEN = (State.DELETED, State.OVERWRITTEN)


@dataclass(frozen=True, slots=True)
class Lab:
    """What is planted. Layer 0 is the base with the decoys, layer 1 adds every secret, layer 2 hides some."""

    plants: Sequence[Plant]
    risky: Sequence[Risky]
    built: Built
    metadata: dict[int, str]
    """The place in the metadata, by the number of a plant."""


def lab(seed: int) -> Lab:
    """Build the lab; the same seed gives the same image."""
    source = random.Random(seed)
    planted = plants(rule_files(data_path("rules")), source)
    files, risky = risky_files(source)
    risky_at = {f"risky/{path}": text for path, text in files.items()}
    held = {plant.path: plant.content for plant in planted if plant.path}
    metadata, history, env = _metadata(planted)
    built = image(
        layer({"etc/os-release": "ID=lab\n", **decoys(source)}),
        layer({**held, **risky_at}),
        layer(*_hiding(planted)),
        history=[step("ADD rootfs.tar /"), step("COPY . /"), step("RUN rm -rf build"), *history],
        config={"Env": env},
    )
    return Lab(planted, [Risky(f"risky/{one.path}", one.line, one.secret) for one in risky], built, metadata)


def _hiding(planted: Iterable[Plant]) -> list[Item | Mapping[str, bytes | str]]:
    items: list[Item | Mapping[str, bytes | str]] = []
    for plant in planted:
        if plant.path and plant.state is State.DELETED:
            items.append(whiteout(plant.path))
        elif plant.path and plant.state is State.OVERWRITTEN:
            items.append({plant.path: "gone\n"})
    return items


def _metadata(planted: Sequence[Plant]) -> tuple[dict[int, str], list[dict[str, object]], list[str]]:
    """Put plants that are in no file into the environment and the history by turns."""
    places: dict[int, str] = {}
    history: list[dict[str, object]] = []
    env = ["PATH=/usr/bin:/bin"]
    for number, plant in enumerate(planted):
        if plant.state is State.METADATA and len(places) % 2:
            places[number] = f"history[{len(history) + 3}].created_by"
            history.append(step(f"RUN /bin/sh -c setup {plant.text} # buildkit", empty=True))
        elif plant.state is State.METADATA:
            places[number] = f"config.Env[{len(env)}]"
            env.append(f"PLANT_{number}={plant.text}")
    return places, history, env


class Judge:
    """Compares what was planted with what was found."""

    def __init__(self, planted: Lab, result: Audit) -> None:
        self._lab = planted
        self._at: dict[str, list[Finding]] = {}
        for finding in result.findings:
            self._at.setdefault(finding.path or finding.where or "", []).append(finding)

    def found(self, number: int) -> Finding | None:
        """Return the finding of a plant."""
        plant = self._lab.plants[number]
        place = f"/{plant.path}" if plant.path else self._lab.metadata[number]
        same = [f for f in self._at.get(place, ()) if _same(f, plant.secret, plant.confidence)]
        return max(same, key=lambda f: f.rule == plant.rule.id, default=None)

    def placed(self, number: int, finding: Finding) -> bool:
        """Say whether state, layers and line of a finding are those of its plant."""
        plant = self._lab.plants[number]
        if plant.state is State.METADATA:
            return finding.state is State.METADATA
        hidden_in = 2 if plant.state in _HIDDEN else None
        right = (finding.state, finding.added_in, finding.hidden_in) == (plant.state, 1, hidden_in)
        return right and (plant.line is None or finding.line == plant.line)

    def missed_risky(self) -> list[Risky]:
        """Return the risky lines on which nothing was found at the default confidence."""
        return [
            one
            for one in self._lab.risky
            if not any(_same(f, one.secret, Confidence.MEDIUM) for f in self._at.get(f"/{one.path}", ()))
        ]

    def reported_decoys(self) -> list[Finding]:
        """Return the findings in decoys at the default confidence."""
        in_decoys = (f for place, items in self._at.items() if place.startswith("/srv/decoys/") for f in items)
        return [f for f in in_decoys if f.confidence.rank >= Confidence.MEDIUM.rank]


def _same(finding: Finding, secret: str, least: Confidence) -> bool:
    got = finding.secret.reveal()
    return (got in secret or secret in got) and finding.confidence.rank >= least.rank


def main() -> int:
    """Plant, audit, judge, print; 0 where all was found and placed and no decoy was reported."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else secrets.randbits(32)
    planted = lab(seed)
    scanner = Scanner(select((*builtin_rules(), *plugin_rules())))
    with tempfile.TemporaryDirectory() as folder:
        archive = planted.built.docker_archive(Path(folder) / "lab.tar")
        request = Request(selection=Selection(min_confidence=Confidence.LOW))
        (result,) = audit(f"docker-archive:{archive}", scanner, request)
    scanner.close()
    print(f"seed {seed}")
    return 1 if report(planted, Judge(planted, result)) else 0


def report(planted: Lab, judge: Judge) -> bool:
    """Print the table and what is wrong; say whether anything is."""
    counts: dict[str, Counter[str]] = {}
    wrong: list[str] = []
    for number, plant in enumerate(planted.plants):
        finding = judge.found(number)
        placed = finding is not None and judge.placed(number, finding)
        named = finding is not None and finding.rule == plant.rule.id
        counts.setdefault(plant.family, Counter()).update(planted=1, found=bool(finding), named=named, placed=placed)
        if not placed:
            what = "placed wrongly" if finding else "missed"
            wrong.append(f"{what}: {plant.rule.id}, {plant.state.value}, {plant.encoding}, {plant.path or 'metadata'}")
    decoyed = [f"decoy reported: {f.rule} in {f.path}:{f.line}" for f in judge.reported_decoys()]
    missed = [f"risky line missed: {one.path}:{one.line}" for one in judge.missed_risky()]
    _print_table(counts)
    print(f"\nrisky lines: {len(planted.risky) - len(missed)} of {len(planted.risky)}; decoys reported: {len(decoyed)}")
    print("\n".join([*wrong, *decoyed, *missed]))
    return bool(wrong or decoyed)


def _print_table(counts: dict[str, Counter[str]]) -> None:
    total: Counter[str] = sum(counts.values(), Counter())
    columns = ("planted", "found", "named", "placed")
    print(f"{'family':20}" + "".join(f"{name:>9}" for name in columns))
    for family, count in [*sorted(counts.items()), ("all", total)]:
        print(f"{family:20}" + "".join(f"{count[name]:9}" for name in columns))


if __name__ == "__main__":
    sys.exit(main())
